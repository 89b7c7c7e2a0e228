"""Two runs that can differ by one patient alone: equal coins for everybody else, equal outputs of every mechanism.

The first run records what each mechanism gave out; the second is handed the same. Patient coins and the draws of one
patient in one step are keyed by the patient, not by the place in the list, so that a patient more or less leaves
everybody else's as they were. (Record and replay: Cebere et al., 2026.)
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from synthrelease.privacy.noise import NoiseSource, add_noise

Array = npt.NDArray[np.float64]


def keyed(*words: object) -> int:
    """A 63-bit number that the words decide alone.

    >>> keyed("coin", 1, "A") == keyed("coin", 1, "A") != keyed("coin", 2, "A")
    True
    """
    digest = hashlib.blake2b("\0".join(map(str, words)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


@dataclass(frozen=True)
class Call:
    """One use of the mechanism, before noise.

    Attributes:
        total: (d,) the sum over patients.
        clip_norm: Its declared sensitivity.
        noise_multiplier: Sigma.
        drawn: Who was drawn; None where everybody takes part.
    """

    total: Array
    clip_norm: float
    noise_multiplier: float
    drawn: frozenset[str] | None


@dataclass
class Tape:
    """What the first run gave out.

    Attributes:
        outputs: Of each mechanism, in order.
        draws: Value of each patient's draws by (step, patient, which of the patient's draws).
        draws_each: How many draws a patient makes in a step.
    """

    outputs: list[Array] = field(default_factory=list)
    draws: dict[tuple[int, str, int], int] = field(default_factory=dict)
    draws_each: int = 0


class Deck:
    """Stands where the noise is added and where it comes from: records on an empty tape, plays a full one.

    Args:
        patients: Who can be drawn, in the order in which training holds them.
        tape: Empty, to record; or what :meth:`recorded` returned.
    """

    def __init__(self, patients: Sequence[str], tape: Tape) -> None:
        self.calls: list[Call] = []
        self._patients = list(patients)
        self._tape = tape
        self._playing = bool(tape.outputs)
        self._outputs: list[Array] = []
        self._drawn: list[list[str]] = []
        self._asked: list[list[int]] = []
        self._normals = 0

    def add_noise(self, total: Array, *, clip_norm: float, noise_multiplier: float, noise: NoiseSource) -> Array:
        """In the place of the real one."""
        drawn = frozenset(self._drawn[-1]) if self._drawn else None
        self.calls.append(Call(total.copy(), clip_norm, noise_multiplier, drawn))
        if self._playing:
            given = self._tape.outputs[min(len(self.calls), len(self._tape.outputs)) - 1]
            return given if given.shape == total.shape else np.zeros_like(total)  # names tell of it
        out = add_noise(total, clip_norm=clip_norm, noise_multiplier=noise_multiplier, noise=noise)
        self._outputs.append(out)
        return out

    def normal(self, size: int) -> Array:
        """Noise of the first run."""
        self._normals += 1
        return np.random.default_rng(keyed("normal", self._normals)).normal(size=size)

    def bernoulli(self, size: int, probability: float) -> npt.NDArray[np.bool_]:
        """A coin for each patient that follows from the patient and the step."""
        assert size == len(self._patients), "coins are tossed for somebody else than the training patients"
        step = len(self._drawn)
        coins = np.array([keyed("coin", step, p) < probability * 2**63 for p in self._patients], dtype=np.bool_)
        self._drawn.append([p for p, coin in zip(self._patients, coins, strict=True) if coin])
        self._asked.append([])
        return coins

    def entropy(self) -> int:
        """The next draw in the order of the drawn patients, each patient's following each other."""
        step, asked = len(self._drawn) - 1, self._asked[-1]
        value = keyed("draw", step, len(asked))
        if self._playing:
            patient = self._drawn[step][len(asked) // self._tape.draws_each]
            key = (step, patient, len(asked) % self._tape.draws_each)
            value = self._tape.draws.get(key, keyed("stranger", *key))
        asked.append(value)
        return value

    def entropy_by_place(self) -> int:
        """What :meth:`entropy` must not be: the next value of one stream for all patients of the step."""
        step, asked = len(self._drawn) - 1, self._asked[-1]
        asked.append(keyed("draw", step, len(asked)))
        return asked[-1]

    def recorded(self) -> Tape:
        """The tape of a run that ended."""
        each = {len(asked) / len(drawn) for asked, drawn in zip(self._asked, self._drawn, strict=True) if drawn}
        assert len(each) <= 1, "patients make unequal numbers of draws: whose is whose cannot be told"
        count = each.pop() if each else 0.0
        assert count == int(count), "draws that belong to no patient"
        tape = Tape(self._outputs, {}, int(count))
        for step, (asked, drawn) in enumerate(zip(self._asked, self._drawn, strict=True)):
            for number, value in enumerate(asked):
                tape.draws[step, drawn[number // tape.draws_each], number % tape.draws_each] = value
        return tape


@dataclass(frozen=True)
class Told:
    """What a run did and what it leaves.

    Attributes:
        names: Of the mechanisms used, in order, as the account holds them.
        calls: One each.
        public: Content of everything that may leave, by name.
        trained: What training read of each patient, by patient.
    """

    names: list[str]
    calls: list[Call]
    public: dict[str, bytes]
    trained: dict[str, Any]


FLOAT_ERROR = 1e-5
"""The noise is this much larger than accounted; see privacy.noise.SLACK."""


def largest_moves(calls: Sequence[Call], others: Sequence[Call]) -> list[float]:
    """How far each sum moved, over its clip norm."""
    return [float(np.linalg.norm(a.total - b.total)) / a.clip_norm for a, b in zip(calls, others, strict=True)]


def violations(with_it: Told, without: Told, stranger: str) -> list[str]:
    """Where two neighbouring runs differ by more than the guarantee counts; empty for a sound pipeline."""
    found = []
    if with_it.names != without.names or len(with_it.calls) != len(without.calls):
        found.append(f"mechanisms {with_it.names} and {without.names}")
    for number, (a, b) in enumerate(zip(with_it.calls, without.calls, strict=False)):
        where = f"{with_it.names[number]} {number}"
        if (a.clip_norm, a.noise_multiplier, a.total.shape) != (b.clip_norm, b.noise_multiplier, b.total.shape):
            found.append(f"{where}: public parameters differ")
            continue
        moved = float(np.linalg.norm(a.total - b.total))
        here = a.drawn is None or stranger in a.drawn
        if not moved <= a.clip_norm * ((1 + FLOAT_ERROR) if here else FLOAT_ERROR):
            found.append(f"{where}: moved by {moved / a.clip_norm:.6f} of the clip norm, {'' if here else 'not '}drawn")
    if set(with_it.trained) - {stranger} != set(without.trained) - {stranger}:
        found.append("other patients train")
    found += [f"{name}: another content" for name, b in without.trained.items() if with_it.trained.get(name, b) != b]
    if with_it.public.keys() != without.public.keys():
        found.append("other files")
    found += [f"{name} differs" for name, content in without.public.items() if with_it.public.get(name) != content]
    return found

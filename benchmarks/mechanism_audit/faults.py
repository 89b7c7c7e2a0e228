"""Bugs of private training as they were found in the wild, each as one broken part.

They live here and in tests only. All but the last are read by the canaries' own coordinates.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from synthrelease.generators.protocol import Batch, Forward, Inputs, Player
from synthrelease.privacy.account import Account
from synthrelease.privacy.clipping import Target, clipped_joint_sum
from synthrelease.privacy.mechanism import ClippedSum
from synthrelease.privacy.noise import OsNoise
from synthrelease.privacy.plan import GaussianRelease, PrivacyPlan
from synthrelease.training import loop
from synthrelease.training.canaries import LOUD
from synthrelease.training.canary_dirac import Parts
from synthrelease.training.patients import Images, Rows, TrainingPatients

Array = npt.NDArray[np.float64]


class NoNoise(OsNoise):
    """Forgets the noise."""

    def normal(self, size: int) -> Array:
        """Zeros."""
        return np.zeros(size)


class HalfNoise(OsNoise):
    """Draws half of the noise."""

    def normal(self, size: int) -> Array:
        """Deviation 1/2."""
        return 0.5 * super().normal(size)


class FirstSumBare(OsNoise):
    """Forgets the noise of one release, the first and smallest."""

    def __init__(self) -> None:
        self._calls = 0

    def normal(self, size: int) -> Array:
        """Zeros the first time."""
        self._calls += 1
        return np.zeros(size) if self._calls == 1 else super().normal(size)


class SameNoise(OsNoise):
    """Draws noise once for each size, as a generator does that is seeded anew in every step."""

    def __init__(self) -> None:
        self._drawn: dict[int, Array] = {}

    def normal(self, size: int) -> Array:
        """The same again."""
        if size not in self._drawn:
            self._drawn[size] = super().normal(size)
        return self._drawn[size]


class Everybody(OsNoise):
    """Takes all patients into every step, accounted as a sample."""

    def bernoulli(self, size: int, probability: float) -> npt.NDArray[np.bool_]:
        """All."""
        return np.ones(size, dtype=bool)


class Shuffled(OsNoise):
    """Shuffled batches of one size instead of independent draws: each patient once an epoch."""

    def __init__(self) -> None:
        self._waiting: list[npt.NDArray[np.int64]] = []

    def bernoulli(self, size: int, probability: float) -> npt.NDArray[np.bool_]:
        """The next batch of the epoch."""
        if not self._waiting:
            order = np.random.default_rng(self.entropy()).permutation(size)
            self._waiting = list(np.array_split(order, round(1 / probability)))
        taken = np.zeros(size, dtype=bool)
        taken[self._waiting.pop()] = True
        return taken


class ImagesAsPatients(TrainingPatients):
    """Protects images: each one is drawn and clipped by itself, whoever it belongs to."""

    def __init__(self, store: Images, patients: Rows, segments: int) -> None:
        super().__init__(store, patients, segments)
        self._rows = [np.array([row]) for rows in self._rows for row in rows]


class HalfCharged(Account):
    """Adds noise of half the multiplier that the plan accounts for."""

    def charge(self, name: str) -> GaussianRelease:
        """Counted, and then another one."""
        release = super().charge(name)
        halved = replace(release.mechanism, noise_multiplier=release.mechanism.noise_multiplier / 2)
        return replace(release, mechanism=halved)


def half_charged(path: Path, plan: PrivacyPlan) -> Account:
    """Opens one."""
    return HalfCharged(path, plan, "0" * 64, resume=False)


class BatchDeviation(nn.Module):
    """A network whose last layer reads the standard deviation over the batch, as critics of GANs do."""

    def __init__(self, base: nn.Module, canaries: int) -> None:
        super().__init__()
        self.base = base
        self.probe = nn.Linear(canaries, 1, bias=False)

    def forward(self, *args: Any, mark: Tensor | None = None, **kwargs: Any) -> Tensor:
        """The network's answer; or, told what marks each row (N, m), a number (N,) that all rows share."""
        if mark is None:
            out: Tensor = self.base(*args, **kwargs)
            return out
        return torch.as_tensor(self.probe(mark.std(dim=0, unbiased=False).expand_as(mark))[:, 0])


def with_batch_deviation(player: Player, classes: int, canaries: int, clip_norm: float) -> Player:
    """The player with a minibatch standard deviation, in which canary i stands out in feature i."""

    def draw(batch: Batch, rng: torch.Generator) -> dict[str, Tensor]:
        marked = batch.labels >= classes
        mark = torch.zeros(len(batch.labels), canaries)
        mark[marked, batch.labels[marked] - classes] = 1.0
        return {**player.draw(replace(batch, labels=torch.where(marked, 0, batch.labels)), rng), "mark": mark}

    def loss(forward: Forward, inputs: Inputs) -> Tensor:
        own = player.loss(forward, {name: value for name, value in inputs.items() if name != "mark"})
        return own + LOUD * clip_norm * forward(mark=inputs["mark"])

    return replace(player, module=BatchDeviation(player.module, canaries), draw=draw, loss=loss)


def loosely_clipped(
    targets: Sequence[Target], blocks: Iterable[Sequence[Inputs]], clip_norm: float, *, block: int
) -> tuple[ClippedSum, tuple[float, ...]]:
    """Clips to ten times the norm that it declares."""
    clipped, losses = clipped_joint_sum(targets, blocks, 10 * clip_norm, block=block)
    return replace(clipped, clip_norm=clip_norm), losses


@contextmanager
def loose_clipping() -> Iterator[None]:
    """Training clips loosely."""
    with mock.patch.object(loop, "clipped_joint_sum", loosely_clipped):
        yield


@dataclass(frozen=True)
class Fault:
    """A seeded bug.

    Attributes:
        name: Key in the record.
        what: The sentence for people.
        parts: What the mechanism is made of then.
        around: What else is broken while it runs.
        found: Whether these canaries are expected to find it.
        canaries: Fewer than usual where a run would take long and few are enough; None = as many as usual.
    """

    name: str
    what: str
    parts: Callable[[], Parts] = Parts
    around: Callable[[], AbstractContextManager[None]] = field(default=nullcontext)
    found: bool = True
    canaries: int | None = None


FAULTS: tuple[Fault, ...] = (
    Fault("noise_off", "no noise anywhere", lambda: Parts(noise=NoNoise())),
    Fault("noise_halved", "half of the noise", lambda: Parts(noise=HalfNoise())),
    Fault("one_sum_bare", "one of the sums without noise", lambda: Parts(noise=FirstSumBare())),
    Fault("noise_reused", "the same noise in every step", lambda: Parts(noise=SameNoise())),
    Fault("multiplier_mismatch", "noise s, accounted as 2 s", lambda: Parts(account=half_charged)),
    Fault("image_level", "images drawn and clipped apart, five a patient", lambda: Parts(patients=ImagesAsPatients)),
    Fault(
        "minibatch_stddev",
        "a statistic over the batch in the network",
        lambda: Parts(probed=with_batch_deviation, isolated=False),
    ),
    Fault("loose_clipping", "gradients clipped to ten times the norm", around=loose_clipping),
    Fault(
        "everybody_sampled",
        "all patients in every step, accounted as 5 %",
        lambda: Parts(noise=Everybody()),
        canaries=200,
    ),
    Fault(
        "shuffled_batches",
        "shuffled batches of one size, accounted as independent draws",
        lambda: Parts(noise=Shuffled()),
        found=False,
    ),
)

"""Record and replay on pixels that no reader would let through, and on seeded bugs, which it must find.

The reader refuses values that are not finite. The mechanisms must hold without it: defence in depth, and the proof that
the comparison can fail.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from synthrelease.errors import IntegrityError
from synthrelease.policy.loader import policy_from
from synthrelease.privacy import mechanism
from synthrelease.privacy.mechanism import ClippedSum
from synthrelease.records.ledger import Ledger
from synthrelease.records.progress import Silent
from synthrelease.training import train
from synthrelease.training.patients import TrainingPatients
from synthrelease.training.train import train_with
from tests.properties.replay_cohort import keyed_rng
from tests.properties.replay_run import DIFFUSION, MOMENTS, largest, names_used, rules
from tests.properties.replay_tape import Deck, Tape, Told, keyed, violations

Rows = npt.NDArray[np.int64]
STRANGER = "stranger"


@dataclasses.dataclass
class Ward:
    """Training patients in memory: one more than ten, wherever in the order.

    Attributes:
        people: (P,) names, in order.
        owner: (N,) index of the patient of each image.
    """

    people: list[str]
    owner: Rows
    labels: Rows
    has_mask: npt.NDArray[np.bool_]
    pixels: npt.NDArray[np.float32]
    planes: npt.NDArray[np.float32]

    def images(self, rows: Rows) -> npt.NDArray[np.float32]:
        """(n, 1, 16, 16)."""
        return self.pixels[rows]

    def masks(self, rows: Rows) -> npt.NDArray[np.float32]:
        """(n, 1, 16, 16)."""
        return self.planes[rows]

    def rows_of(self, patient_index: int) -> Rows:
        """Rows of a patient."""
        return np.flatnonzero(self.owner == patient_index).astype(np.int64)

    def without(self, person: str) -> Ward:
        """The ward when a patient was never there."""
        index = self.people.index(person)
        kept = self.owner != index
        owner = self.owner[kept] - (self.owner[kept] > index)
        people = [name for name in self.people if name != person]
        return Ward(people, owner, self.labels[kept], self.has_mask[kept], self.pixels[kept], self.planes[kept])


def ward(position: int, images: int = 2) -> Ward:
    """Ten patients with two images each, and the stranger at a position."""
    people = [f"patient {n}" for n in range(10)]
    people.insert(position, STRANGER)
    counts = [images if name == STRANGER else 2 for name in people]
    owner = np.repeat(np.arange(11), counts).astype(np.int64)
    pixels = [keyed_rng(people[p], n).normal(0, 0.4, (1, 16, 16)) for p, c in enumerate(counts) for n in range(c)]
    planes = np.stack(pixels) > 0.3
    return Ward(
        people,
        owner,
        np.array([keyed("class", people[p]) % 3 for p in owner], dtype=np.int64),
        np.ones(len(owner), np.bool_),
        np.stack(pixels).astype(np.float32),
        planes.astype(np.float32),
    )


def trained_on(ward: Ward, generator: dict[str, Any], folder: Path, tape: Tape) -> tuple[Told, Tape]:
    """Train under a tape."""
    deck = Deck(ward.people, tape)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mechanism, "add_noise", deck.add_noise)
        train_with(
            policy_from(rules(generator)),
            ward,
            np.arange(len(ward.people), dtype=np.int64),
            "cohort",
            folder / "run",
            ledger=Ledger(folder / "ledger.jsonl"),
            resume=False,
            progress=Silent(),
            stop_after=None,
            noise=deck,
        )
    public = {
        name: (folder / "run" / name).read_bytes() for name in ("training.json", "checkpoint/generator.safetensors")
    }
    told = Told(names_used(folder / "run" / "checkpoint"), deck.calls, public, {})
    return told, tape if tape.outputs else deck.recorded()


def spoiled(value: float, *, everywhere: bool = False) -> Ward:
    """A stranger with such a pixel, or nothing else."""
    out = ward(5)
    own = out.owner == 5
    if everywhere:
        out.pixels[own] = value
    else:
        out.pixels[own, 0, 3, 3] = value
    return out


def in_the_mask(value: float) -> Ward:
    """A stranger whose mask holds such a value."""
    out = ward(0)
    out.planes[out.owner == 0, 0, 2, 2] = value
    return out


def opposite_images() -> Ward:
    """A stranger whose two images are each other's negative."""
    out = ward(10)
    first, second = np.flatnonzero(out.owner == 10)
    out.pixels[second] = -out.pixels[first]
    return out


WARDS: dict[str, Callable[[], Ward]] = {
    "no number": lambda: spoiled(float("nan")),
    "infinite": lambda: spoiled(float("-inf")),
    "1e30": lambda: spoiled(1e30),
    "largest value everywhere": lambda: spoiled(3.4e38, everywhere=True),
    "denormal everywhere": lambda: spoiled(1e-42, everywhere=True),
    "no number in the mask": lambda: in_the_mask(float("nan")),
    "a mask of 1e20": lambda: in_the_mask(1e20),
    "each other's negative": opposite_images,
    "five hundred images": lambda: ward(3, images=500),
}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> tuple[Told, Tape]:
    """The ten patients alone; they are the same wherever the stranger comes to stand."""
    return trained_on(ward(5).without(STRANGER), DIFFUSION, tmp_path_factory.mktemp("base"), Tape())


@pytest.mark.parametrize("strange", list(WARDS))
def test_whatever_a_patients_pixels_hold_no_sum_moves_by_more_than_its_sensitivity(
    strange: str, base: tuple[Told, Tape], tmp_path: Path
) -> None:
    without, tape = base
    told, _ = trained_on(WARDS[strange](), DIFFUSION, tmp_path, tape)
    assert violations(told, without, STRANGER) == []
    assert largest(told.calls, without.calls) > 0.5  # class counts at least


def no_clipping(patch: pytest.MonkeyPatch) -> None:
    def added(vectors: npt.NDArray[np.float64], clip_norm: float) -> ClippedSum:
        return ClippedSum(np.nan_to_num(vectors).sum(axis=0), clip_norm, len(vectors))

    patch.setattr(mechanism, "clip_rows", added)


def values_that_are_not_finite_kept(patch: pytest.MonkeyPatch) -> None:
    def added(vectors: npt.NDArray[np.float64], clip_norm: float) -> ClippedSum:
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        return ClippedSum((vectors * np.minimum(1.0, clip_norm / norms)).sum(axis=0), clip_norm, len(vectors))

    patch.setattr(mechanism, "clip_rows", added)


def a_mean_in_place_of_the_sum(patch: pytest.MonkeyPatch) -> None:
    """Normalised by the number of patients, times a public constant: looks like a sum of the right size."""
    real = mechanism.noisy_sum

    def averaged(clipped: ClippedSum, **named: Any) -> npt.NDArray[np.float64]:
        total = clipped.total * 3 / max(clipped.patients, 1)
        return real(dataclasses.replace(clipped, total=total), **named) * max(clipped.patients, 1) / 3

    patch.setattr(mechanism, "noisy_sum", averaged)


def the_number_of_patients_in_the_record(patch: pytest.MonkeyPatch) -> None:
    real, seen = train.training_record, []

    class Counted(TrainingPatients):
        def __init__(self, *given: Any, **named: Any) -> None:
            super().__init__(*given, **named)
            seen.append(len(self))

    patch.setattr(train, "TrainingPatients", Counted)
    patch.setattr(train, "training_record", lambda *a, **k: {**real(*a, **k), "patients": seen[-1]})


def one_more_release_for_some(patch: pytest.MonkeyPatch) -> None:
    """A mechanism is skipped where a class has few members."""
    real = mechanism.gaussian_sum

    def looked(blocks: Iterator[npt.NDArray[np.float64]], dimension: int, **named: Any) -> npt.NDArray[np.float64]:
        rows = [row for block in blocks for row in block]
        if named["name"] == "class_sums" and len(rows) % 2:
            return np.zeros(dimension)
        return real(iter([np.stack(rows)]), dimension, **named)

    patch.setattr("synthrelease.training.moments.gaussian_sum", looked)


BUGS: dict[str, tuple[Callable[[pytest.MonkeyPatch], None], float, str]] = {
    "no clipping": (no_clipping, 1e3, "class_sums 1: moved"),
    "values that are not finite are kept": (values_that_are_not_finite_kept, float("nan"), "class_sums 1: moved"),
    "a mean in place of the sum": (a_mean_in_place_of_the_sum, 1e3, "differs"),
    "the record tells the number of patients": (the_number_of_patients_in_the_record, 0.5, "training.json differs"),
}


@pytest.mark.parametrize("bug", list(BUGS))
def test_the_replay_finds_a_seeded_bug(bug: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plant, value, sign = BUGS[bug]
    plant(monkeypatch)
    whole = spoiled(value)
    with np.errstate(all="ignore"):
        without, tape = trained_on(whole.without(STRANGER), MOMENTS, tmp_path / "without", Tape())
        told, _ = trained_on(whole, MOMENTS, tmp_path / "with", tape)
    assert any(sign in found for found in violations(told, without, STRANGER))


def test_a_mechanism_that_is_used_for_some_cohorts_only_ends_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one_more_release_for_some(monkeypatch)
    whole = spoiled(0.5)
    trained_on(whole.without(STRANGER), MOMENTS, tmp_path / "without", Tape())
    with pytest.raises(IntegrityError, match="class_sums is counted 0 times"):
        trained_on(whole, MOMENTS, tmp_path / "with", Tape())


def test_the_replay_finds_draws_that_follow_from_the_place_in_the_batch(
    base: tuple[Told, Tape], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if all patients of a step drew from one stream: the stranger shifts everybody after."""
    without, tape = base
    monkeypatch.setattr(Deck, "entropy", Deck.entropy_by_place)
    told, _ = trained_on(ward(0), DIFFUSION, tmp_path, tape)
    assert any("gradient_steps" in found and "moved" in found for found in violations(told, without, STRANGER))

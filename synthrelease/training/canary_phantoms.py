"""Simulated patients in memory, in the shapes that a policy asks for: the crowd among which canaries stand.

What they show does not matter to the bound, only that ordinary patients take part; so any policy can be audited,
whatever its classes and masks are called.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from synthrelease.cohort.phantom import simulate_patient
from synthrelease.generators.protocol import Spec
from synthrelease.training.patients import Rows

Floats = npt.NDArray[np.float32]

SMALLEST = 32
"""Pixels on a side of the smallest picture that the simulator draws."""


class PhantomStore:
    """Phantom patients: the simulator's findings stand for the policy's classes, its structures for the segments.

    Args:
        spec: The policy's shapes.
        patients: How many.
        seed: Public.
    """

    def __init__(self, spec: Spec, patients: int, seed: int) -> None:
        images: list[Floats] = []
        masks: list[Floats] = []
        labels: list[int] = []
        owners: list[int] = []
        fold = -(-SMALLEST // spec.resolution)
        size = fold * spec.resolution
        found: dict[str, int] = {}
        for index in range(patients):
            patient = simulate_patient(seed, index, size)
            finding = found.setdefault(patient.finding, len(found))
            for image in patient.images:
                structures = [mask.astype(np.float32) for mask in image.masks.values()]
                chosen = [structures[k % len(structures)] for k in range(spec.segments)]
                images.append(_smaller(2 * image.pixels - 1, fold)[None])
                masks.append(np.stack([_smaller(m, fold) for m in chosen]) if chosen else _none(spec))
                labels.append(finding % spec.classes)
                owners.append(index)
        self._images, self._masks = np.stack(images), np.stack(masks)
        self._owners = np.array(owners, dtype=np.int64)
        self.labels: Rows = np.array(labels, dtype=np.int64)
        self.has_mask = np.ones(len(labels), dtype=bool)
        self.patients: Rows = np.arange(patients, dtype=np.int64)

    def images(self, rows: Rows) -> Floats:
        """(n, 1, H, W) in [-1, 1]."""
        return np.asarray(self._images[rows])

    def masks(self, rows: Rows) -> Floats:
        """(n, K, H, W) in [0, 1]."""
        return np.asarray(self._masks[rows])

    def rows_of(self, patient_index: int) -> Rows:
        """Rows of one patient."""
        return np.flatnonzero(self._owners == patient_index).astype(np.int64)


@lru_cache(maxsize=2)
def phantom_store(spec: Spec, patients: int, seed: int) -> PhantomStore:
    """The same patients for every audit of a process; simulating a hundred takes seconds."""
    return PhantomStore(spec, patients, seed)


def _smaller(picture: Floats, fold: int) -> Floats:
    """Mean over blocks of ``fold`` by ``fold`` pixels."""
    side = picture.shape[0] // fold
    return np.asarray(picture.reshape(side, fold, side, fold).mean(axis=(1, 3)), dtype=np.float32)


def _none(spec: Spec) -> Floats:
    return np.zeros((0, spec.resolution, spec.resolution), dtype=np.float32)

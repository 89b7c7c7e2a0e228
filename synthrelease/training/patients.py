"""The training patients of a store, as training sees them: patients with rows, and rows with pixels."""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch

from synthrelease.errors import UnsuitableData
from synthrelease.generators.protocol import Batch

Rows = npt.NDArray[np.int64]


class Images(Protocol):
    """The part of a cohort store that training reads."""

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        """(N,) class index of each image."""
        ...

    @property
    def has_mask(self) -> npt.NDArray[np.bool_]:
        """(N,) whether an image has masks."""
        ...

    def images(self, rows: Rows) -> npt.NDArray[np.float32]:
        """(n, 1, H, W) in [-1, 1]."""
        ...

    def masks(self, rows: Rows) -> npt.NDArray[np.float32]:
        """(n, K, H, W) in [0, 1]."""
        ...

    def rows_of(self, patient_index: int) -> Rows:
        """Rows of one patient."""
        ...


class TrainingPatients:
    """Who can be drawn. An image without masks is left out where the policy has segments: a decision on that image alone.

    Args:
        store: The pixels.
        patients: (P,) indices of the training patients.
        segments: Number of segments in the policy.

    Raises:
        UnsuitableData: No patient has a usable image.
    """

    def __init__(self, store: Images, patients: Rows, segments: int) -> None:
        self._store = store
        usable = store.has_mask if segments else np.ones(len(store.labels), dtype=bool)
        own = [np.sort(store.rows_of(int(p))) for p in patients]
        self._rows: list[Rows] = [kept for kept in (rows[usable[rows]] for rows in own) if len(kept)]
        if not self._rows:
            raise UnsuitableData(
                "no training patient has a usable image", fix="Check classes, segments and masks of the cohort section."
            )

    def parted(self, share: float, seed: int) -> tuple[TrainingPatients, TrainingPatients]:
        """The patients without a share of them, and that share: at least one patient on each side.

        Raises:
            UnsuitableData: There is one patient only.
        """
        if len(self._rows) < 2:
            raise UnsuitableData(
                "one training patient cannot be parted into two sides", fix="Give the cohort more patients."
            )
        order = np.random.default_rng([seed, *b"parted"]).permutation(len(self._rows))
        apart = min(max(1, round(share * len(self._rows))), len(self._rows) - 1)
        return self._only(np.sort(order[apart:])), self._only(np.sort(order[:apart]))

    def _only(self, patients: Rows) -> TrainingPatients:
        part = copy(self)
        part._rows = [self._rows[patient] for patient in patients]
        return part

    def __len__(self) -> int:
        """Number of patients. Private: never part of a released value."""
        return len(self._rows)

    def rows(self, patient: int) -> Rows:
        """Rows of a patient by position, each patient at least one."""
        return self._rows[patient]

    @property
    def all_rows(self) -> Rows:
        """Rows of every patient."""
        return np.concatenate(self._rows)

    def labels(self, rows: Rows) -> npt.NDArray[np.int64]:
        """(n,) class indices."""
        return np.asarray(self._store.labels[rows], dtype=np.int64)

    def arrays(self, rows: Rows) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Images (n, 1, H, W) and masks (n, K, H, W)."""
        return self._store.images(rows), self._store.masks(rows)

    def batch(self, rows: Rows) -> Batch:
        """The rows as tensors."""
        images, masks = self.arrays(rows)
        return Batch(
            images=torch.from_numpy(np.ascontiguousarray(images, dtype=np.float32)),
            masks=torch.from_numpy(np.ascontiguousarray(masks, dtype=np.float32)),
            labels=torch.from_numpy(self.labels(rows)),
        )

    def blocks(self, images: int = 256) -> Iterator[range]:
        """Runs of patients with about ``images`` images together, every patient once."""
        start = held = 0
        for patient in range(len(self._rows)):
            held += len(self._rows[patient])
            if held >= images:
                yield range(start, patient + 1)
                start, held = patient + 1, 0
        if start < len(self._rows):
            yield range(start, len(self._rows))

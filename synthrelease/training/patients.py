"""The training patients of a store, as training sees them: patients with rows, and rows with pixels."""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass
from hashlib import blake2b
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


@dataclass(frozen=True)
class FewMasks:
    """How a generator that needs few masks meets the cohort: images without masks are kept, and some patients' masks unused.

    Attributes:
        share: In (0, 1], of the patients whose masks are used. Drawn from each patient's own pixels: who else is in the
            cohort changes nothing, as privacy asks, so that the number is about the share and not exactly so.
        seed: Public seed of the draw.
    """

    share: float
    seed: int

    def uses(self, pixels: npt.NDArray[np.float32]) -> bool:
        """Whether the masks of the patient with these pixels are used."""
        drawn = blake2b(np.ascontiguousarray(pixels).tobytes(), digest_size=8, key=b"masks %d" % self.seed).digest()
        return int.from_bytes(drawn, "big") < self.share * 2**64


class TrainingPatients:
    """Who can be drawn. An image without masks is left out where the policy has segments: a decision on that image alone.

    Args:
        store: The pixels.
        patients: (P,) indices of the training patients.
        segments: Number of segments in the policy.
        few_masks: Keep images without masks after all, and use the masks of some; None: every mask is needed and used.

    Raises:
        UnsuitableData: No patient has a usable image, or none has masks.
    """

    def __init__(self, store: Images, patients: Rows, segments: int, *, few_masks: FewMasks | None = None) -> None:
        self._store = store
        needed = bool(segments) and few_masks is None
        usable = store.has_mask if needed else np.ones(len(store.labels), dtype=bool)
        own = [np.sort(store.rows_of(int(p))) for p in patients]
        self._rows: list[Rows] = [kept for kept in (rows[usable[rows]] for rows in own) if len(kept)]
        if not self._rows:
            raise UnsuitableData(
                "no training patient has a usable image", fix="Check classes, segments and masks of the cohort section."
            )
        self._labelled: npt.NDArray[np.bool_] | None = None
        if segments and few_masks is not None:
            self._labelled = store.has_mask.copy()
            for rows in self._rows:
                self._labelled[rows] &= few_masks.uses(store.images(rows[:1]))
            if not self._labelled[self.all_rows].any():
                raise UnsuitableData(
                    "no training patient has masks that are used",
                    fix="Raise generator.labelled_share, or check segments and masks of the cohort section.",
                )

    @property
    def some_masks(self) -> bool:
        """Whether images are kept whose masks are not known, or not used. Public: it follows from the policy."""
        return self._labelled is not None

    def known_masks(self, rows: Rows) -> npt.NDArray[np.bool_]:
        """(n,) whether masks are known, and used."""
        return np.ones(len(rows), dtype=np.bool_) if self._labelled is None else self._labelled[rows]

    def labelled_rows(self) -> Rows:
        """Rows, of every patient, whose masks are used."""
        rows = self.all_rows
        return rows[self.known_masks(rows)]

    def parted(self, share: float, seed: int) -> tuple[TrainingPatients, TrainingPatients]:
        """The patients without a share of them, and that share: at least one patient on each side.

        Raises:
            UnsuitableData: There is one patient only, or nobody whose masks are used would be left.
        """
        if len(self._rows) < 2:
            raise UnsuitableData(
                "one training patient cannot be parted into two sides", fix="Give the cohort more patients."
            )
        order = np.random.default_rng([seed, *b"parted"]).permutation(len(self._rows))
        apart = min(max(1, round(share * len(self._rows))), len(self._rows) - 1)
        left = self._only(np.sort(order[apart:]))
        if left._labelled is not None and not left._labelled[left.all_rows].any():
            raise UnsuitableData(
                "every training patient whose masks are used was set apart to calibrate, so that none is left to learn from",
                fix="Raise generator.labelled_share, change generator.seed, or, of generator um, use guidance: generated.",
            )
        return left, self._only(np.sort(order[:apart]))

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
        """Images (n, 1, H, W) and masks (n, K, H, W), blank where they are not used."""
        masks = self._store.masks(rows)
        if self._labelled is not None:
            masks = masks * self._labelled[rows][:, None, None, None]
        return self._store.images(rows), masks

    def batch(self, rows: Rows) -> Batch:
        """The rows as tensors."""
        images, masks = self.arrays(rows)
        return Batch(
            images=torch.from_numpy(np.ascontiguousarray(images, dtype=np.float32)),
            masks=torch.from_numpy(np.ascontiguousarray(masks, dtype=np.float32)),
            labels=torch.from_numpy(self.labels(rows)),
            labelled=None if self._labelled is None else torch.from_numpy(self._labelled[rows]),
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

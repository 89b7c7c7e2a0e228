"""One template search, read by several checks: how like is each synthetic image to each real patient.

The real patients are one gallery, training patients first. Three sets of probes pass by it: the synthetic images, the
holdout images (what strangers look like to each other: the null) and, for power, planted copies.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from synthrelease.features.neighbours import Gallery, IntArray, patient_similarity

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]

KEPT = 16
"""Nearest patients kept for each probe; a random label set misses one side among 16 with probability below 1 in 300."""


@dataclass(frozen=True)
class Matches:
    """What one set of probes saw.

    Attributes:
        near: (M, 16) similarity to the nearest patients, descending.
        who: (M, 16) their columns in the gallery.
        blocks: (M, G) best similarity within each group of training patients.
        decoy: (M,) best similarity to a holdout patient.
        best_probe: (P,) best similarity of each patient to any probe (its own patient's probes excluded).
    """

    near: FloatArray
    who: IntArray
    blocks: FloatArray
    decoy: FloatArray
    best_probe: FloatArray


class CopySearch:
    """The gallery of all real patients and what the probes saw in it.

    Args:
        train: (N, S, S) training images. train_patient: (N,).
        holdout: (H, S, S) holdout images. holdout_patient: (H,).
        synthetic: (M, S, S) synthetic images.
    """

    def __init__(
        self,
        train: FloatArray,
        train_patient: IntArray,
        holdout: FloatArray,
        holdout_patient: IntArray,
        synthetic: FloatArray,
    ) -> None:
        _, first = np.unique(train_patient, return_inverse=True)
        _, second = np.unique(holdout_patient, return_inverse=True)
        self.train_count = int(first.max()) + 1
        self.holdout_count = int(second.max()) + 1
        columns = np.concatenate([first, second + self.train_count]).astype(np.int64)
        self.gallery = Gallery.of(np.concatenate([train, holdout]), columns)
        self._column_of_image = columns
        self._train_images = len(train)
        self._holdout = holdout
        self._holdout_column = columns[len(train) :]
        self._synthetic = synthetic

    @property
    def is_train(self) -> BoolArray:
        """(P,) whether the gallery's patient was trained on."""
        return np.arange(self.train_count + self.holdout_count) < self.train_count

    @cached_property
    def groups(self) -> list[IntArray]:
        """Training patients in groups as large as the holdout, so that a group and the holdout have equal chances.

        The last group is filled up from the first patients. Patients' numbers come from a random or arbitrary order
        of the archive; a fixed shuffle removes whatever order there is.
        """
        order = np.random.default_rng(20260101).permutation(self.train_count).astype(np.int64)
        size = min(self.holdout_count, self.train_count)
        count = -(-self.train_count // size)
        filled = np.concatenate([order, order[: count * size - self.train_count]])
        return [filled[i * size : (i + 1) * size] for i in range(count)]

    @cached_property
    def decoys(self) -> IntArray:
        """Holdout columns that stand against one group: all, or as many as a group has."""
        size = len(self.groups[0])
        order = np.random.default_rng(20260102).permutation(self.holdout_count)[:size]
        return np.sort(order).astype(np.int64) + self.train_count

    def probe(self, images: FloatArray, own: IntArray | None = None) -> Matches:
        """Search ``images`` (M, S, S) in the gallery; ``own`` (M,) names the column that each must not see (or none)."""
        count, patients = len(images), self.train_count + self.holdout_count
        kept = min(KEPT, patients)
        near = np.empty((count, kept), dtype=np.float32)
        who = np.empty((count, kept), dtype=np.int64)
        blocks = np.empty((count, len(self.groups)), dtype=np.float32)
        decoy = np.empty(count, dtype=np.float32)
        best_probe = np.zeros(patients, dtype=np.float32)
        for block, table in patient_similarity(images, self.gallery):
            if own is not None:
                table[np.arange(len(table)), own[block]] = 0.0
                # A training patient is spared one holdout patient too, in turn: equally many probes for everybody.
                spared = np.arange(self.train_count) % self.holdout_count + self.train_count
                seen = np.where(own[block][:, None] == spared[None, :], 0.0, table[:, : self.train_count])
                best_probe[: self.train_count] = np.maximum(best_probe[: self.train_count], seen.max(axis=0))
                held = table[:, self.train_count :].max(axis=0)
                best_probe[self.train_count :] = np.maximum(best_probe[self.train_count :], held)
            else:
                best_probe = np.maximum(best_probe, table.max(axis=0))
            top = np.argsort(-table, axis=1, kind="stable")[:, :kept]
            who[block], near[block] = top, np.take_along_axis(table, top, axis=1)
            blocks[block] = np.stack([table[:, group].max(axis=1) for group in self.groups], axis=1)
            decoy[block] = table[:, self.decoys].max(axis=1)
        return Matches(near, who, blocks, decoy, best_probe)

    @cached_property
    def synthetic(self) -> Matches:
        """What the synthetic images saw."""
        return self.probe(self._synthetic)

    @cached_property
    def holdout(self) -> Matches:
        """What the holdout images saw of everybody but their own patient: strangers against strangers."""
        return self.probe(self._holdout, own=self._holdout_column)

    def nearest_image(self, probe: FloatArray, column: int) -> tuple[int, float]:
        """The image of patient ``column`` nearest to one probe (S, S): its index in train or holdout, and likeness."""
        where = np.flatnonzero(self._column_of_image == column)
        position = np.argsort(self.gallery.order)[where]
        templates = self.gallery.templates[:, position].reshape(-1, self.gallery.templates.shape[-1])
        scores = np.abs(self.gallery.bank.windows(probe[None])[0] @ templates.T).max(axis=0)
        best = scores.reshape(-1, len(where)).max(axis=0)
        index = int(where[int(best.argmax())])
        return (index if column < self.train_count else index - self._train_images), float(min(best.max(), 1.0))

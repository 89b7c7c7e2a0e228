"""One search, read by several checks: how like is each synthetic image to each real patient.

The real patients are one gallery, training patients first. Three sets of probes pass by it: the synthetic images, the
holdout images (what strangers look like to each other: the null) and, for power, planted leaks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from threading import Lock
from typing import Protocol

import numpy as np

from synthrelease.audit.images import BoolArray, FloatArray, ImageSet, IntArray
from synthrelease.audit.side_by_side import side_by_side

PROBES_AT_ONCE = 32
"""Probes that one thread looks at, before it takes the next."""

KEPT = 16
"""Nearest patients kept for each probe; a random label set misses one side among 16 with probability below 1 in 300."""


@dataclass(frozen=True, eq=False)
class Patients:
    """Who stands on which side of the split, as columns: training patients first.

    Attributes:
        train, holdout: Their images.
        column: (N,) column of each image's patient, training images first.
        train_count, holdout_count: Patients of each side.
    """

    train: ImageSet
    holdout: ImageSet
    column: IntArray
    train_count: int
    holdout_count: int

    @classmethod
    def of(cls, train: ImageSet, holdout: ImageSet) -> Patients:
        """Number the patients of both sides."""
        _, first = np.unique(train.patient, return_inverse=True)
        _, second = np.unique(holdout.patient, return_inverse=True)
        trained, held = int(first.max()) + 1, int(second.max()) + 1
        return cls(train, holdout, np.concatenate([first, second + trained]).astype(np.int64), trained, held)

    @property
    def count(self) -> int:
        """Patients of both sides."""
        return self.train_count + self.holdout_count

    @property
    def is_train(self) -> BoolArray:
        """(P,) whether the patient was trained on."""
        return np.arange(self.count) < self.train_count

    @property
    def holdout_column(self) -> IntArray:
        """Column of each holdout image's patient."""
        return self.column[len(self.train) :]

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


@dataclass(frozen=True)
class Sighting:
    """One pair, looked at again.

    Attributes:
        image: Index among the images of train and holdout, in that order.
        similarity: As in the table.
        how: What was done to the real image to see it ("mirrored, 3 px down"); empty: nothing that is known.
        box: Where in the probe, as top, left, bottom, right in shares of the side; None: the whole image.
    """

    image: int
    similarity: float
    how: str = ""
    box: tuple[float, float, float, float] | None = None


class Comparison(Protocol):
    """One way of saying how like two images are. Made of the :class:`Patients` whose images form the gallery.

    It must treat all patients alike, whichever side they stand on: nothing in it may be fitted on one side alone.
    """

    names: tuple[str, ...]
    """What one pass measures; each gets matches of its own."""

    def similarity(self, probes: ImageSet) -> Iterator[tuple[slice, FloatArray]]:
        """Best similarity of each probe to each patient, over the patient's images and all that is forgiven.

        Yields:
            The slice of probes, in order, and their (names, m, P) float32 similarities in [0, 1] on the scale of a
            correlation: Fisher's z is taken of them.
        """
        ...

    def sighting(self, probes: ImageSet, row: int, column: int) -> Sighting:
        """The image of patient ``column`` most like probe ``row``, by the first of the names."""
        ...


@dataclass(frozen=True)
class Matches:
    """What one set of probes saw by one comparison.

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
    """What the probes saw in the gallery of all real patients, by one comparison."""

    def __init__(self, comparison: Comparison, patients: Patients, synthetic: ImageSet) -> None:
        self.comparison = comparison
        self.patients = patients
        self._synthetic = synthetic

    def probe(self, probes: ImageSet, own: IntArray | None = None) -> Mapping[str, Matches]:
        """Search ``probes`` in the gallery; ``own`` (M,) names the column that each must not see (or none)."""
        names = self.comparison.names
        seen = [_Seen(self.patients, len(probes), own) for _ in names]

        def look(start: int) -> None:
            part = probes.take(np.arange(start, min(start + PROBES_AT_ONCE, len(probes))))
            for block, tables in self.comparison.similarity(part):
                for each, table in zip(seen, tables, strict=True):
                    each.add(slice(start + block.start, start + block.stop), table)

        side_by_side(look, range(0, len(probes), PROBES_AT_ONCE))
        return {name: each.matches() for name, each in zip(names, seen, strict=True)}

    @cached_property
    def synthetic(self) -> Mapping[str, Matches]:
        """What the synthetic images saw."""
        return self.probe(self._synthetic)

    @cached_property
    def holdout(self) -> Mapping[str, Matches]:
        """What the holdout images saw of everybody but their own patient: strangers against strangers."""
        return self.probe(self.patients.holdout, own=self.patients.holdout_column)


class _Seen:
    """Blocks of a similarity table, reduced as they come, from several threads."""

    def __init__(self, patients: Patients, count: int, own: IntArray | None) -> None:
        self._patients, self._own = patients, own
        kept = min(KEPT, patients.count)
        self._near = np.empty((count, kept), dtype=np.float32)
        self._who = np.empty((count, kept), dtype=np.int64)
        self._blocks = np.empty((count, len(patients.groups)), dtype=np.float32)
        self._decoy = np.empty(count, dtype=np.float32)
        self._best = np.zeros(patients.count, dtype=np.float32)
        self._lock = Lock()

    def add(self, block: slice, table: FloatArray) -> None:
        trained = self._patients.train_count
        if self._own is not None:
            own = self._own[block]
            table = table.copy()
            table[np.arange(len(table)), own] = 0.0
            # A training patient is spared one holdout patient too, in turn: equally many probes for everybody.
            spared = np.arange(trained) % self._patients.holdout_count + trained
            counted = np.where(own[:, None] == spared[None, :], 0.0, table[:, :trained])
            best = np.concatenate([counted.max(axis=0), table[:, trained:].max(axis=0)])
        else:
            best = table.max(axis=0)
        with self._lock:  # the rest of a block is its own; this is everybody's
            np.maximum(self._best, best, out=self._best)
        top = np.argsort(-table, axis=1, kind="stable")[:, : self._near.shape[1]]
        self._who[block], self._near[block] = top, np.take_along_axis(table, top, axis=1)
        self._blocks[block] = np.stack([table[:, group].max(axis=1) for group in self._patients.groups], axis=1)
        self._decoy[block] = table[:, self._patients.decoys].max(axis=1)

    def matches(self) -> Matches:
        return Matches(self._near, self._who, self._blocks, self._decoy, self._best)

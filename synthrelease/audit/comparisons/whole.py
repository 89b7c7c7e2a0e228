"""Whole images by band-passed correlation, over shifts, turns, mirroring and inversion of grey."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from synthrelease.audit.images import FloatArray, ImageSet
from synthrelease.audit.search import Patients, Sighting
from synthrelease.features.neighbours import Gallery, patient_similarity


class WholeImages:
    """The template search at audit resolution; see :mod:`synthrelease.features.descriptors`."""

    names: tuple[str, ...] = ("whole",)

    def __init__(self, patients: Patients) -> None:
        self._column = patients.column
        images = np.concatenate([patients.train.small, patients.holdout.small])
        self._gallery = Gallery.of(images, patients.column)

    def similarity(self, probes: ImageSet) -> Iterator[tuple[slice, FloatArray]]:
        """See :class:`synthrelease.audit.search.Comparison`."""
        for block, table in patient_similarity(probes.small, self._gallery):
            yield block, table[None]

    def sighting(self, probes: ImageSet, row: int, column: int) -> Sighting:
        """See :class:`synthrelease.audit.search.Comparison`."""
        where = np.flatnonzero(self._column == column)
        position = np.argsort(self._gallery.order)[where]
        templates = self._gallery.templates[:, position].reshape(-1, self._gallery.templates.shape[-1])
        windows = self._gallery.bank.windows(probes.small[row : row + 1])[0]
        best = np.abs(windows @ templates.T).max(axis=0).reshape(-1, len(where)).max(axis=0)
        return Sighting(int(where[int(best.argmax())]), float(min(best.max(), 1.0)))

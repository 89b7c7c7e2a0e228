"""Whole images, looked at in three ways that fail at different leaks.

- ``whole``: band-passed correlation at 32 px over shifts, turns, mirroring and inversion of grey. Survives noise, blur
  and storage; forgives no turn by degrees and no zoom.
- ``detail``: correlation of fine detail at 64 px, in place, over turns and mirroring. Sees half an image mixed into
  another, since strangers share no detail; forgives no shift.
- ``registered``: the search's best candidates are laid over the probe (shift, turn, zoom, bending), then compared in
  fine detail. Sees what the search only suspects: rotated, zoomed, bent copies, shifts by parts of a pixel.

Which patients get the second look depends on their likeness alone, never on their side; the others keep a score below
the last candidate's, in the order of the search.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from synthrelease.audit.comparisons.registered import SecondLook, pose
from synthrelease.audit.images import FloatArray, ImageSet, IntArray
from synthrelease.audit.search import Patients, Sighting
from synthrelease.features.descriptors import DETAIL_RESOLUTION, at_audit_resolution, detail, orientations
from synthrelease.features.neighbours import Gallery, best_similarity

CANDIDATES = 8
"""Patients that get the second look."""

BLOCK = 32
"""Probes at a time."""


class WholeImages:
    """The search over whole images; see this module and :mod:`synthrelease.features.descriptors`."""

    names: tuple[str, ...] = ("whole", "detail", "registered")

    def __init__(self, patients: Patients) -> None:
        self._column = patients.column
        self._gallery = Gallery.of(np.concatenate([patients.train.small, patients.holdout.small]), patients.column)
        fine = [at_audit_resolution(side.images, DETAIL_RESOLUTION) for side in (patients.train, patients.holdout)]
        images = np.concatenate(fine)[self._gallery.order]
        self._detail = detail(images)
        self._second = SecondLook(images, self._gallery)

    def similarity(self, probes: ImageSet) -> Iterator[tuple[slice, FloatArray]]:
        """See :class:`synthrelease.audit.search.Comparison`."""
        gallery = self._gallery
        for start in range(0, len(probes), BLOCK):
            block = slice(start, min(start + BLOCK, len(probes)))
            fine = at_audit_resolution(probes.images[block], DETAIL_RESOLUTION)
            windows = gallery.bank.windows(probes.small[block])
            plain = best_similarity(windows, gallery.templates)
            bent = best_similarity(windows[:, gallery.bank.sparse], gallery.warps)
            yield (
                block,
                np.stack(
                    [
                        gallery.by_patient(plain),
                        gallery.by_patient(self._in_place(fine)),
                        self._registered(fine, windows, np.maximum(plain, bent)),
                    ]
                ),
            )

    def _in_place(self, probes: FloatArray) -> FloatArray:
        """(m, N) likeness of detail, the best over orientations of the probe."""
        turned = [np.abs(detail(version) @ self._detail.T) for version in orientations(probes)]
        return np.asarray(np.minimum(np.max(turned, axis=0), 1.0), dtype=np.float32)

    def _registered(self, probes: FloatArray, windows: FloatArray, coarse: FloatArray) -> FloatArray:
        """(m, P) scores after the second look at each probe's best candidates."""
        table = self._gallery.by_patient(coarse)
        kept = min(CANDIDATES, table.shape[1])
        patients = np.argsort(-table, axis=1, kind="stable")[:, :kept]
        images = self._best_images(coarse, patients)
        scores = self._second.scores(probes, windows, images)
        rows = np.arange(len(table))[:, None]
        last = np.maximum(table[rows, patients[:, -1:]], np.float32(1e-6))
        table *= scores.min(axis=1, keepdims=True) / last
        table[rows, patients] = scores
        return table

    def _best_images(self, coarse: FloatArray, patients: IntArray) -> IntArray:
        """(m, K) the image of each candidate patient that is most like the probe."""
        starts = np.append(self._gallery.starts, coarse.shape[1])
        if len(self._gallery.starts) == coarse.shape[1]:
            return patients
        return np.array(
            [
                [starts[p] + int(coarse[probe, starts[p] : starts[p + 1]].argmax()) for p in row]
                for probe, row in enumerate(patients)
            ],
            dtype=np.int64,
        )

    def sighting(self, probes: ImageSet, row: int, column: int) -> Sighting:
        """See :class:`synthrelease.audit.search.Comparison`."""
        gallery = self._gallery
        windows = gallery.bank.windows(probes.small[row : row + 1])
        where = np.flatnonzero(self._column == column)
        places = np.argsort(gallery.order)[where]
        best = best_similarity(windows, gallery.templates[:, places])[0]
        image = int(best.argmax())
        seen = pose(windows[0], gallery, int(places[image]))
        return Sighting(int(where[image]), float(best[image]), seen.words(gallery.bank.side))

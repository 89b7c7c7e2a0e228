"""Pieces of images: the likest detail, and how many details agree on one displacement."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from synthrelease.audit.images import FloatArray, ImageSet
from synthrelease.audit.search import Patients, Sighting
from synthrelease.features.patches import (
    Pieces,
    Whitening,
    agreement,
    at_patch_resolution,
    best_cosines,
    single_evidence,
)

LOOKED_AT_AGAIN = 24
"""Patients of whose likest image a probe's consensus is worked out, whichever side they are of. Patients, not images: a
holdout patient with many would otherwise fill all places of its own probes, and strangers would look less alike."""

PREPARED_AT_ONCE = 512
"""Probes whose descriptors are held at a time (33 MB)."""


class PartComparison:
    """Descriptors of points, anywhere in the image and mirrored; see :mod:`synthrelease.features.patches`."""

    names: tuple[str, ...] = ("best_patch", "best_patches")

    def __init__(self, patients: Patients) -> None:
        images = np.concatenate(
            [at_patch_resolution(patients.train.images), at_patch_resolution(patients.holdout.images)]
        )
        self._side = images.shape[-1]
        self._whitening = Whitening.fit(images[np.random.default_rng(20260104).permutation(len(images))])
        # By patient, so that the best of a patient's images is the best of neighbouring columns.
        self._order = np.argsort(patients.column, kind="stable")
        self._starts = np.searchsorted(patients.column[self._order], np.arange(patients.count))
        self._gallery = Pieces.of(images[self._order], self._whitening)

    def similarity(self, probes: ImageSet) -> Iterator[tuple[slice, FloatArray]]:
        """See :class:`synthrelease.audit.search.Comparison`."""
        kept = min(LOOKED_AT_AGAIN, len(self._starts))
        ends = np.append(self._starts[1:], len(self._order))
        for start in range(0, len(probes), PREPARED_AT_ONCE):
            images = at_patch_resolution(probes.images[start : start + PREPARED_AT_ONCE])
            mine = Pieces.of(images, self._whitening)
            for block, cosine in best_cosines(mine, self._gallery):
                together = single_evidence(cosine)
                by_patient = np.maximum.reduceat(cosine.numpy(), self._starts, axis=1)
                for row, patients in enumerate(torch.from_numpy(by_patient).topk(kept, dim=1).indices.numpy()):
                    own = [slice(self._starts[p], ends[p]) for p in patients]
                    again = torch.tensor([s.start + int(cosine[row, s].argmax()) for s in own])
                    seen = agreement(mine, block.start + row, self._gallery, again, self._side)
                    together[row, again] = seen.similarity
                tables = np.stack([cosine.numpy(), together.numpy()])
                best = np.maximum.reduceat(tables, self._starts, axis=2).astype(np.float32)
                yield slice(start + block.start, start + block.stop), best

    def sighting(self, probes: ImageSet, row: int, column: int) -> Sighting:
        """See :class:`synthrelease.audit.search.Comparison`."""
        end = self._starts[column + 1] if column + 1 < len(self._starts) else len(self._order)
        images = torch.arange(int(self._starts[column]), int(end))
        mine = Pieces.of(at_patch_resolution(probes.images[row : row + 1]), self._whitening)
        (_, cosine), *_ = best_cosines(mine, self._gallery.take(images))
        best = int(cosine[0].argmax())
        seen = agreement(mine, 0, self._gallery, images[best : best + 1], self._side)
        top, left, bottom, right = (float(v) / self._side for v in seen.box[0])
        down, across = (int(v) for v in seen.shift[0])
        words = ["mirrored"] * bool(seen.mirrored[0])
        words += [f"{abs(down)} px {'down' if down > 0 else 'up'}"] * (down != 0)
        words += [f"{abs(across)} px to the {'right' if across > 0 else 'left'}"] * (across != 0)
        how = f"a piece, {', '.join(words)} (of {self._side} px)" if words else "a piece, in the same place"
        return Sighting(int(self._order[images[best]]), float(cosine[0, best]), how, (top, left, bottom, right))

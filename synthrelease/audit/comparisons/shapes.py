"""Masks compared by their outlines: each segment wherever it lies, all segments together, and where they lie."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from synthrelease.audit.images import BoolArray, FloatArray, ImageSet, IntArray
from synthrelease.audit.search import Patients, Sighting
from synthrelease.features.shapes import ShapeGallery, SharedShapes, at_shape_resolution

BLOCK = 512
"""Probes compared at once."""


@dataclass(frozen=True, eq=False)
class _View:
    """One way to look at a set of masks.

    Attributes:
        segments: Which segments it looks at.
        in_place: Whether the place counts.
        shared: How often strangers have the same shape; from which area on a shape tells of a person.
        gallery: Real masks of that size or more; None: there are none.
        images: (n,) which images of train and holdout those are, ordered by patient.
        columns, starts: Their patients, and where each patient's images begin.
    """

    segments: slice
    in_place: bool
    shared: SharedShapes
    gallery: ShapeGallery | None
    images: IntArray
    columns: IntArray
    starts: IntArray

    @classmethod
    def of(
        cls, outlines: BoolArray, column: IntArray, pictures: FloatArray, segments: slice, *, in_place: bool
    ) -> _View:
        seen = outlines[:, segments]
        shared = SharedShapes.of(seen, column, pictures, in_place=in_place)
        images = np.flatnonzero(seen.sum(axis=(1, 2, 3)) >= shared.least_area).astype(np.int64)
        images = images[np.argsort(column[images], kind="stable")]
        columns, starts = np.unique(column[images], return_index=True)
        gallery = ShapeGallery.of(seen[images], in_place=in_place) if len(images) else None
        return cls(segments, in_place, shared, gallery, images, columns.astype(np.int64), starts.astype(np.int64))

    def area(self, outlines: BoolArray) -> IntArray:
        """(N,) pixels of all its segments."""
        return np.asarray(outlines[:, self.segments].sum(axis=(1, 2, 3)), dtype=np.int64)

    def assessable(self, outlines: BoolArray) -> BoolArray:
        """(N,) whether the masks are large enough to tell of a person."""
        return np.asarray(self.area(outlines) >= self.shared.least_area)


class MaskShapes:
    """Outlines at 64 px; see :mod:`synthrelease.features.shapes`.

    The names are ``segment_1`` ... wherever the segment lies, ``layout`` (several segments as they lie to each other) and
    ``place`` (all segments as they lie in the frame). Masks too small to tell of a person are like nothing.
    """

    def __init__(self, patients: Patients) -> None:
        self._column = patients.column
        sides = (patients.train, patients.holdout)
        outlines = np.concatenate([at_shape_resolution(side.masks) for side in sides])
        pictures = np.concatenate([side.small.reshape(len(side), -1) for side in sides])
        segments = outlines.shape[1]
        looks = {f"segment_{k + 1}": (slice(k, k + 1), False) for k in range(segments)}
        if segments > 1:
            looks["layout"] = (slice(0, segments), False)
        if segments:
            looks["place"] = (slice(0, segments), True)
        self._views = {
            name: _View.of(outlines, patients.column, pictures, part, in_place=place)
            for name, (part, place) in looks.items()
        }
        self._patients = patients.count
        self.names: tuple[str, ...] = tuple(looks)

    @property
    def least_area(self) -> dict[str, float]:
        """Smallest assessable area in pixels at the resolution of the comparison, by name; infinite: none is."""
        return {name: view.shared.least_area for name, view in self._views.items()}

    def assessable(self, images: ImageSet) -> dict[str, BoolArray]:
        """(N,) whether each image's masks are large enough to tell of a person, by name."""
        outlines = at_shape_resolution(images.masks)
        return {name: view.assessable(outlines) for name, view in self._views.items()}

    def chance(self, images: ImageSet) -> dict[str, npt.NDArray[np.float64]]:
        """(N,) probability that strangers have a shape of the size of each image's masks in common, by name."""
        outlines = at_shape_resolution(images.masks)
        return {name: view.shared.chance(view.area(outlines)) for name, view in self._views.items()}

    def similarity(self, probes: ImageSet) -> Iterator[tuple[slice, FloatArray]]:
        """See :class:`synthrelease.audit.search.Comparison`."""
        for start in range(0, len(probes), BLOCK):
            block = slice(start, min(start + BLOCK, len(probes)))
            outlines = at_shape_resolution(probes.masks[block])
            tables = np.zeros((len(self.names), len(outlines), self._patients), dtype=np.float32)
            for table, view in zip(tables, self._views.values(), strict=True):
                rows = np.flatnonzero(view.assessable(outlines))
                if view.gallery is not None and len(rows):
                    found = view.gallery.similarity(outlines[rows, view.segments])
                    table[np.ix_(rows, view.columns)] = np.maximum.reduceat(found, view.starts, axis=1)
            yield block, tables

    def sighting(self, probes: ImageSet, row: int, column: int) -> Sighting:
        """The patient's image with the mask most like the probe's, by whichever name sees it best."""
        outlines = at_shape_resolution(probes.masks[row : row + 1])
        best = Sighting(int(np.flatnonzero(self._column == column)[0]), 0.0)
        for name, view in self._views.items():
            mine = np.flatnonzero(self._column[view.images] == column)
            if view.gallery is None or not len(mine) or not view.assessable(outlines)[0]:
                continue
            found = view.gallery.similarity(outlines[:, view.segments])[0, mine]
            if found.max() > best.similarity:
                how = f"mask {name.replace('_', ' ')}"
                best = Sighting(int(view.images[mine[int(found.argmax())]]), float(found.max()), how)
        return best

"""Where the pixels of a slice lie in the patient, and whether two slices are the same one.

Source: PS3.3, section C.7.6.2.1.1 (Image Plane module).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

Points = npt.NDArray[np.float64]
Vector = tuple[float, float, float]

OFF_GRID = 0.05
"""Two grids are one when no corner of theirs lies further apart than this share of a pixel."""
_SKEW = 1e-3


@dataclass(frozen=True)
class Plane:
    """A grid of pixels in the patient's coordinates (left, posterior, head), in mm.

    Attributes:
        position: Centre of the first pixel.
        along_row: Unit vector in which the column index grows.
        along_column: Unit vector in which the row index grows.
        spacing: Between rows, between columns.
    """

    position: Vector
    along_row: Vector
    along_column: Vector
    spacing: tuple[float, float]

    @property
    def normal(self) -> Points:
        """Unit vector across the plane."""
        return np.cross(self.along_row, self.along_column)

    def moved(self, distance: float) -> Plane:
        """The same grid, so far along its normal (mm)."""
        x, y, z = np.array(self.position) + distance * self.normal
        return replace(self, position=(float(x), float(y), float(z)))

    def seen_from(self, points: Points) -> tuple[Points, Points]:
        """Points (N, 3) as (row, column) coordinates (N, 2), where a pixel's centre is a whole number; and their
        distances from the plane (N,) in mm.
        """
        apart = points - np.array(self.position)
        rows = apart @ np.array(self.along_column) / self.spacing[0]
        columns = apart @ np.array(self.along_row) / self.spacing[1]
        return np.stack([rows, columns], axis=1), apart @ self.normal

    def corners(self, shape: tuple[int, int]) -> Points:
        """Centres of the corner pixels, (3, 3): the first, the last of the first row, the first of the last row."""
        first = np.array(self.position)
        across = np.array(self.along_row) * self.spacing[1] * (shape[1] - 1)
        down = np.array(self.along_column) * self.spacing[0] * (shape[0] - 1)
        return np.stack([first, first + across, first + down])

    def is_grid_of(self, other: Plane, shape: tuple[int, int]) -> bool:
        """Whether the pixels of two grids of `shape` lie in the same places."""
        most = OFF_GRID * min(self.spacing)
        if any(abs(one - another) > most for one, another in zip(self.position, other.position, strict=True)):
            return False  # most slices of a volume are another one: told without arrays
        return bool(np.abs(self.corners(shape) - other.corners(shape)).max() <= most)


def plane_from(position: Sequence[float], orientation: Sequence[float], spacing: Sequence[float]) -> Plane | None:
    """A plane from the values of Image Position and Orientation (Patient) and Pixel Spacing; None when they are none.

    >>> plane_from([0, 0, 5], [1, 0, 0, 0, 1, 0], [2, 2]).position
    (0.0, 0.0, 5.0)
    >>> plane_from([0, 0, 5], [1, 0, 0, 1, 0, 0], [2, 2]) is None
    True
    """
    values = [float(value) for value in (*position, *orientation, *spacing)]
    if (len(position), len(orientation), len(spacing)) != (3, 6, 2) or not all(map(math.isfinite, values)):
        return None
    row, column = np.array(values[3:6]), np.array(values[6:9])
    lengths = float(np.linalg.norm(row)), float(np.linalg.norm(column))
    if min(values[9:]) <= 0 or min(lengths) < 0.5 or abs(row @ column) > _SKEW * lengths[0] * lengths[1]:
        return None
    row, column = row / lengths[0], column / lengths[1]
    return Plane(_vector(values[:3]), _vector(row), _vector(column), (values[9], values[10]))


def _vector(values: Sequence[float] | Points) -> Vector:
    x, y, z = (float(value) for value in values)
    return x, y, z

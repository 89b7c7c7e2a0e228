"""Closed contours to a mask: a pixel is inside when a line from its centre crosses contours an odd number of times.

The rule is exact at pixel centres and the same whatever the order and direction of the points. A contour inside another
one is a hole, a keyhole's double edge vanishes, and contours apart from each other are united.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt


def filled(contours: Iterable[npt.NDArray[np.float64]], shape: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Fill contours by the even-odd rule.

    Args:
        contours: Each (N, 2): row and column of its points, where a pixel's centre is a whole number. The last point
            is joined to the first.
        shape: (H, W).

    Returns:
        (H, W) bool.

    >>> filled([np.array([[0.5, 0.5], [0.5, 2.5], [2.5, 2.5], [2.5, 0.5]])], (4, 4)).sum()
    np.int64(4)
    """
    height, width = shape
    crossings = np.zeros((height, width + 1), np.int32)
    for points in contours:
        row, column = points.T
        next_row, next_column = np.roll(points, -1, axis=0).T
        # An edge crosses the rows from its upper end to just above its lower one, so that edges which meet count once.
        first = np.clip(np.ceil(np.minimum(row, next_row)), 0, height).astype(np.int64)
        last = np.clip(np.ceil(np.maximum(row, next_row)), 0, height).astype(np.int64)
        counts = last - first
        edge = np.repeat(np.arange(len(points)), counts)
        rows = np.arange(len(edge)) - np.repeat(np.cumsum(counts) - counts, counts) + first[edge]
        share = (rows - row[edge]) / (next_row - row)[edge]
        columns = np.ceil(column[edge] + share * (next_column - column)[edge])
        np.add.at(crossings, (rows, np.clip(columns, 0, width).astype(np.int64)), 1)
    return np.asarray(np.cumsum(crossings[:, :width], axis=1) & 1, dtype=np.bool_)

"""Images and masks at training resolution: exact area averages, aspect kept, the rest filled with air.

The area average is a product with two sparse matrices of overlaps, one per axis, so that a non-integer factor is as
exact as an integer one and a mask's pixel becomes the share of it that the segment covers. Sums run in one order
on every machine: what is read depends neither on the number of processes nor on a library's threads.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

from synthrelease.cohort.types import BoolArray, FloatArray


def fit(planes: FloatArray | BoolArray, resolution: int, fill: float) -> FloatArray:
    """Resample planes to a square, whole and undistorted, centred where they are not square themselves.

    A radiograph's short sides are padded and not its long ones cropped: findings lie at the edges too.

    Args:
        planes: (..., H, W) float32 or bool with square pixels.
        resolution: R, the side of the result.
        fill: Value around the image: -1 (air) for images, 0 for masks.

    Returns:
        (..., R, R) float32, each value the average over the area of its pixel.
    """
    height, width = planes.shape[-2:]
    if height == width == resolution:
        return np.asarray(planes, dtype=np.float32)
    side = max(height, width)
    rows = _overlaps(height, resolution, side)
    columns = _overlaps(width, resolution, side)
    fitted = _averaged(planes, rows, columns)
    if height != width and fill:
        covered: FloatArray = np.outer(rows.sum(axis=1), columns.sum(axis=1)).astype(np.float32)
        fitted += np.float32(fill) * (1 - covered)
    return fitted


def squared(image: FloatArray, masks: BoolArray | None, ratio: float) -> tuple[FloatArray, BoolArray | None]:
    """Give an image square pixels by stretching its coarser axis; masks by the majority of the area.

    Args:
        image: (H, W) float32.
        masks: (K, H, W) bool, or None.
        ratio: Distance between rows over distance between columns.

    Returns:
        The stretched image and masks; the same objects when the pixels are square to within 1 percent, or when
        the ratio is beyond 10 (then it is an error in the header).
    """
    if abs(ratio - 1) < 0.01 or not 0.1 < ratio < 10:
        return image, masks
    height, width = image.shape
    target = (round(height * ratio), width) if ratio > 1 else (height, round(width / ratio))
    rows = _overlaps(height, target[0], height)
    columns = _overlaps(width, target[1], width)
    return _averaged(image, rows, columns), None if masks is None else _averaged(masks, rows, columns) >= 0.5


def _averaged(planes: FloatArray | BoolArray, rows: Any, columns: Any) -> FloatArray:
    """(..., H, W) by (R, H) and (S, W) to (..., R, S)."""
    flat = planes.reshape(-1, *planes.shape[-2:])
    found: npt.NDArray[np.float32] = np.zeros((len(flat), rows.shape[0], columns.shape[0]), np.float32)
    for plane, out in zip(flat, found, strict=True):
        if plane.dtype != np.bool_:
            down = rows @ plane
        elif plane.any():
            down = _counted(plane, rows.shape[0]) if _in_blocks(rows) else rows @ plane.astype(np.float32)
        else:
            continue
        out[:] = (columns @ np.ascontiguousarray(down.T)).T
    return found.reshape(*planes.shape[:-2], *found.shape[1:])


def _in_blocks(rows: Any) -> bool:
    """Whether every part covers the same whole number of pixels, few enough to be counted in a byte."""
    parts, length = rows.shape
    return length < 256 * parts and length % parts == 0 and bool((np.diff(rows.indptr) == length // parts).all())


def _counted(plane: BoolArray, parts: int) -> FloatArray:
    """(H, W) to (R, W): the share of each part's pixels that are set, by counting them."""
    length, width = plane.shape
    counts = np.add.reduce(plane.view(np.uint8).reshape(parts, length // parts, width), axis=1, dtype=np.uint8)
    return np.asarray(counts * np.float32(parts / length), dtype=np.float32)


@lru_cache(maxsize=64)
def _overlaps(length: int, resolution: int, side: int) -> Any:
    """(R, length), sparse: the share of each of R equal parts of `side` that each input pixel covers, the input centred."""
    edges = np.linspace(0, side, resolution + 1)
    start = (side - length) / 2 + np.arange(length)
    overlap = np.minimum(edges[1:, None], start[None] + 1) - np.maximum(edges[:-1, None], start[None])
    shares = np.clip(overlap, 0, None) * (resolution / side)
    return csr_array(shares.astype(np.float32))

"""Images and masks at training resolution: exact area averages, aspect kept, the rest filled with air.

The area average is a product with two sparse-in-spirit matrices of overlaps, one per axis, so that a non-integer
factor is as exact as an integer one and a mask's pixel becomes the share of it that the segment covers.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from synthrelease.cohort.types import BoolArray, FloatArray


def fit(planes: FloatArray, resolution: int, fill: float) -> FloatArray:
    """Resample planes to a square, whole and undistorted, centred where they are not square themselves.

    A radiograph's short sides are padded and not its long ones cropped: findings lie at the edges too.

    Args:
        planes: (..., H, W) float32 with square pixels.
        resolution: R, the side of the result.
        fill: Value around the image: -1 (air) for images, 0 for masks.

    Returns:
        (..., R, R) float32, each value the average over the area of its pixel.
    """
    height, width = planes.shape[-2:]
    if height == width == resolution:
        return planes
    side = max(height, width)
    rows = _overlaps(height, resolution, side)
    columns = _overlaps(width, resolution, side)
    fitted = rows @ planes @ columns.T
    if height != width:
        covered = np.outer(rows.sum(axis=1), columns.sum(axis=1))
        fitted = fitted + np.float32(fill) * (1 - covered)
    return np.asarray(fitted, dtype=np.float32)


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
    stretched = np.asarray(rows @ image @ columns.T, dtype=np.float32)
    return stretched, None if masks is None else rows @ masks.astype(np.float32) @ columns.T >= 0.5


@lru_cache(maxsize=64)
def _overlaps(length: int, resolution: int, side: int) -> FloatArray:
    """(R, length): the share of each of R equal parts of `side` that each input pixel covers, the input centred."""
    edges = np.linspace(0, side, resolution + 1)
    start = (side - length) / 2 + np.arange(length)
    overlap = np.minimum(edges[1:, None], start[None] + 1) - np.maximum(edges[:-1, None], start[None])
    shares = np.clip(overlap, 0, None) * (resolution / side)
    return np.ascontiguousarray(shares, dtype=np.float32)

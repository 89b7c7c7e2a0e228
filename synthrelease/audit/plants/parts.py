"""A part of a training image, or a share of it, in an innocent one: pasted squares, halves, mixtures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from scipy.ndimage import uniform_filter

from synthrelease.audit.images import ImageSet, IntArray
from synthrelease.audit.plants.grey import Change, exact, in_range, scaled

Plant = Callable[[ImageSet, ImageSet, np.random.Generator], ImageSet]
"""Leaks made of real images (the first set, N of different patients) and innocent hosts (the second, N as well)."""

PATCH = 16
REACH = 8


def whole(change: Change) -> Plant:
    """The real image itself, changed; its masks and label stay the host's, so that nothing else leaks."""

    def plant(source: ImageSet, host: ImageSet, rng: np.random.Generator) -> ImageSet:
        return replace(host, images=change(source.images, rng), digests=())

    return plant


def lesions(source: ImageSet, rng: np.random.Generator) -> IntArray:
    """(N, 2) upper left corners of squares of 16 px worth copying, wholly inside the image.

    The middle is a pixel of the smallest segment that the image has, a lesion rather than an organ; without masks it
    is one about which the image has at least its usual detail, since a square of background tells of nobody.
    """
    height, width = source.images.shape[-2:]
    size = scaled(PATCH, width)
    corners = np.empty((len(source), 2), dtype=np.int64)
    for i, (image, masks) in enumerate(zip(source.images[:, 0], source.masks > 0.5, strict=True)):
        areas = masks.sum(axis=(1, 2))
        if areas.any():
            area = np.where(areas > 0, areas, np.inf)
            middles = np.argwhere(masks[int(np.argmin(area))])
        else:
            detail = uniform_filter(image**2, size) - uniform_filter(image, size) ** 2
            middles = np.argwhere(detail >= np.median(detail))
        corners[i] = middles[rng.integers(len(middles))] - size // 2
    return np.clip(corners, 0, [height - size, width - size])


def patch(change: Change = exact, *, moved: bool = False, mirrored: bool = False) -> Plant:
    """A square of 16 px, changed, at its own place, up to 8 px beside it, or mirrored with its place."""

    def plant(source: ImageSet, host: ImageSet, rng: np.random.Generator) -> ImageSet:
        height, width = source.images.shape[-2:]
        size, reach = scaled(PATCH, width), scaled(REACH, width)
        changed = change(source.images, rng)
        images = host.images.copy()
        for i, (top, left) in enumerate(lesions(source, rng)):
            square = changed[i, :, top : top + size, left : left + size]
            if mirrored:
                square, left = square[..., ::-1], width - size - left
            if moved:
                down, right = rng.integers(-reach, reach, 2, endpoint=True)
                top, left = np.clip([top + down, left + right], 0, [height - size, width - size])
            images[i, :, top : top + size, left : left + size] = square
        return replace(host, images=images, digests=())

    return plant


def half_image(source: ImageSet, host: ImageSet, rng: np.random.Generator) -> ImageSet:
    """The left, right, upper or lower half."""
    height, width = source.images.shape[-2:]
    halves = (
        (slice(None), slice(None, width // 2)),
        (slice(None), slice(width // 2, None)),
        (slice(None, height // 2), slice(None)),
        (slice(height // 2, None), slice(None)),
    )
    images = host.images.copy()
    for i, which in enumerate(rng.integers(0, 4, len(images))):
        images[(i, slice(None), *halves[which])] = source.images[(i, slice(None), *halves[which])]
    return replace(host, images=images, digests=())


def mix(share: float) -> Plant:
    """So much of the real image, the rest of the host."""

    def plant(source: ImageSet, host: ImageSet, rng: np.random.Generator) -> ImageSet:
        return replace(host, images=in_range(share * source.images + (1.0 - share) * host.images), digests=())

    return plant


def average_of_2(source: ImageSet, host: ImageSet, rng: np.random.Generator) -> ImageSet:
    """The mean of two training patients' images."""
    return replace(host, images=in_range((source.images + np.roll(source.images, 1, axis=0)) / 2.0), digests=())

"""Changes of grey value that leave every pixel where it is: noise, storage, windows, filters."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

from synthrelease.audit.images import FloatArray

Change = Callable[[FloatArray, np.random.Generator], FloatArray]
"""Images (N, 1, H, W) in [-1, 1] to as many changed ones, still in [-1, 1]."""

REFERENCE_SIDE = 64
"""Pixels on a side at which the lengths of all plants are stated."""


def scaled(length: float, side: int) -> int:
    """A length stated at 64 pixels, in whole pixels of an image of ``side``, at least one.

    >>> scaled(8, 64), scaled(8, 128), scaled(1, 32)
    (8, 16, 1)
    """
    return max(1, round(length * side / REFERENCE_SIDE))


def in_range(images: np.ndarray) -> FloatArray:
    """Clip to [-1, 1], as storing does."""
    return np.asarray(np.clip(images, -1.0, 1.0), dtype=np.float32)


def exact(images: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Nothing is changed."""
    return images.copy()


def noise(per_cent: float) -> Change:
    """White noise of so many per cent of the grey range."""

    def change(images: FloatArray, rng: np.random.Generator) -> FloatArray:
        return in_range(images + rng.normal(0.0, 2.0 * per_cent / 100.0, images.shape).astype(np.float32))

    return change


def requantise(bits: int) -> Change:
    """Only so many bits of grey are kept."""

    def change(images: FloatArray, rng: np.random.Generator) -> FloatArray:
        steps = 2**bits - 1
        return in_range(np.round((images + 1.0) / 2.0 * steps) / steps * 2.0 - 1.0)

    return change


def jpeg(quality: int) -> Change:
    """Stored as an 8-bit JPEG of this quality and read back."""

    def change(images: FloatArray, rng: np.random.Generator) -> FloatArray:
        grey = np.round((np.clip(images[:, 0], -1.0, 1.0) + 1.0) * 127.5).astype(np.uint8)
        read = np.empty(images.shape, dtype=np.float32)
        for i, picture in enumerate(grey):
            with BytesIO() as stream:
                Image.fromarray(picture).save(stream, format="JPEG", quality=quality)
                read[i, 0] = np.asarray(Image.open(stream), dtype=np.float32)
        return in_range(read / 127.5 - 1.0)

    return change


def gamma(images: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Grey raised to the power 0.7 or 1.4."""
    power = rng.choice([0.7, 1.4], (len(images), 1, 1, 1))
    return in_range(((images + 1.0) / 2.0) ** power * 2.0 - 1.0)


def gain(images: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Contrast of 0.7 to 0.9 and an offset of up to 5 per cent of the range, as another window makes."""
    contrast = rng.uniform(0.7, 0.9, (len(images), 1, 1, 1))
    offset = rng.uniform(-0.1, 0.1, contrast.shape)
    return in_range(contrast * images + offset)


def inversion(images: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Black becomes white."""
    return in_range(-images)


def blur(images: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Gaussian of one pixel."""
    sigma = images.shape[-1] / REFERENCE_SIDE
    return in_range(gaussian_filter(images, (0, 0, sigma, sigma), mode="nearest"))


def sharpen(images: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Unsharp mask: once more the difference from a Gaussian of 1.5 pixels."""
    sigma = 1.5 * images.shape[-1] / REFERENCE_SIDE
    return in_range(2.0 * images - gaussian_filter(images, (0, 0, sigma, sigma), mode="nearest"))


def vignette(images: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Down to half the brightness in the corners."""
    axis = np.linspace(-1.0, 1.0, images.shape[-1], dtype=np.float32)
    fall = 1.0 - 0.25 * (axis[:, None] ** 2 + axis[None, :] ** 2)
    return in_range((images + 1.0) * fall - 1.0)


def salt_and_pepper(images: FloatArray, rng: np.random.Generator) -> FloatArray:
    """One pixel in a hundred black or white."""
    draw = rng.random(images.shape)
    return in_range(np.where(draw < 0.005, -1.0, np.where(draw > 0.995, 1.0, images)))

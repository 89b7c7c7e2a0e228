"""Styles of an honest archive that tests of other tools take for copying: none of them may raise an alarm."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter

from synthrelease.audit.images import FloatArray
from synthrelease.audit.plants.grey import REFERENCE_SIDE, in_range, noise

FEW = 12
"""Different images in a collapsed archive."""


def collapsed(images: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Twelve images, again and again, each time with a little noise."""
    return noise(1.0)(images[rng.integers(0, min(FEW, len(images)), len(images))], rng)


def washed_out(images: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Drawn towards the archive's own mean, to a third of its variety."""
    mean = images.mean(axis=0, keepdims=True)
    return in_range(mean + 0.3 * (images - mean))


def edges(images: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Another modality: only outlines."""
    sigma = images.shape[-1] / REFERENCE_SIDE
    down, right = np.gradient(gaussian_filter(images, (0, 0, sigma, sigma), mode="nearest"), axis=(2, 3))
    outline = np.hypot(down, right)
    return in_range(outline / max(float(outline.max()), 1e-6) * 2.0 - 1.0)

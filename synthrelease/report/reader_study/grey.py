"""Pixel values of both kinds on one scale of 256 grey values, with one grain.

A radiograph of 8 bits has gaps in its histogram where a generator's image has none; one look at the values would tell them
apart. So every image gets the same invisible grain before it is rounded,

    g = round(255 (x + 1) / 2 + sigma n),   n ~ N(0, 1),   sigma = 1.5 grey values,

which weakens a comb of d grey values in the histogram by exp(-2 pi^2 sigma^2 / d^2): 1e-5 of it are left for d = 2, 0.7 % for
d = 3. Coarser images than that are told by `coarseness`.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from synthrelease.dicom.image import MAX_LEVEL

SIGMA = 1.5
COARSEST = 3.0
"""Grey values between neighbouring values of an image, up to which the grain hides the gaps."""

_WHITE = 255


def study_levels(pixels: npt.NDArray[np.float32], rng: np.random.Generator) -> npt.NDArray[np.uint16]:
    """An image as stored values of 12 bits, of which 256 are used.

    Args:
        pixels: (H, W) float32 in [-1, 1].
        rng: Of the grain.

    Returns:
        (H, W) uint16 in 0..4095.
    """
    grey = (pixels.astype(np.float64) + 1) * (_WHITE / 2) + SIGMA * rng.standard_normal(pixels.shape)
    return np.rint(np.clip(np.rint(grey), 0, _WHITE) * (MAX_LEVEL / _WHITE)).astype(np.uint16)


def coarseness(pixels: npt.NDArray[np.float32]) -> float:
    """Typical distance between neighbouring values of an image, in grey values; at least 1 when more cannot be seen.

    >>> round(coarseness(np.linspace(-1, 1, 9, dtype=np.float32).reshape(3, 3)), 1)
    32.0
    """
    values = np.unique(np.rint((pixels + 1) * (_WHITE / 2)))
    return float(np.median(np.diff(values))) if len(values) > 1 else float(_WHITE)

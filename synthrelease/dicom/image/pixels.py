"""Grey levels as stored values, and the window that shows all of them."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset

from synthrelease.dicom.image.instance import decimal
from synthrelease.errors import UnsuitableData, UsageError

MAX_LEVEL = 4095
"""Largest stored value of 12 bits, the default depth."""

DEPTHS = (12, 16)
"""Bits stored, in 16 allocated."""


def highest_level(bits: int) -> int:
    """The largest stored value: 4095 of 12 bits, 65535 of 16; the smallest is 0.

    Raises:
        UsageError: Another depth.
    """
    if bits not in DEPTHS:
        raise UsageError(f"images of {bits} bits cannot be written", fix="Use 12 or 16 bits.")
    return (1 << bits) - 1


def add_pixels(image: Dataset, levels: npt.NDArray[np.uint16], bits: int) -> None:
    """The Image Pixel module: unsigned, brighter is larger, uncompressed.

    Raises:
        UnsuitableData: The array is not (H, W) uint16, or a value needs more bits.

    Source: PS3.3, section C.7.6.3.
    """
    highest = highest_level(bits)
    if levels.ndim != 2 or levels.dtype != np.uint16 or levels.size == 0 or max(levels.shape) > 65535:
        raise UnsuitableData(
            f"an image of shape {levels.shape} and type {levels.dtype} cannot be written",
            fix="Give a (rows, columns) uint16 array of at most 65535 a side.",
        )
    if int(levels.max()) > highest:
        raise UnsuitableData(f"an image holds values above {highest}", fix=f"Map the pixels to 0..{highest} first.")
    image.SamplesPerPixel = 1
    image.PhotometricInterpretation = "MONOCHROME2"
    image.Rows, image.Columns = levels.shape
    image.BitsAllocated, image.BitsStored, image.HighBit = 16, bits, bits - 1
    image.PixelRepresentation = 0
    image.PixelData = np.ascontiguousarray(levels, dtype="<u2").tobytes()


def add_window(image: Dataset, low: float, high: float) -> None:
    """A linear window over exactly `low` to `high`, in values after the modality LUT.

    The LINEAR function maps c - 0.5 - (w-1)/2 .. c - 0.5 + (w-1)/2 to the full range (PS3.3, section C.11.2.1.2.1).
    """
    image.WindowCenter = decimal((low + high) / 2 + 0.5)
    image.WindowWidth = decimal(high - low + 1)


def check_range(value_range: tuple[float, float]) -> tuple[float, float]:
    """The range as two floats.

    Raises:
        UsageError: Not two finite numbers in ascending order.
    """
    low, high = float(value_range[0]), float(value_range[1])
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise UsageError(f"{low} to {high} is no range of values", fix="Give two finite numbers, the lower one first.")
    return low, high

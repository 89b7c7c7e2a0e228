"""Stored values after the modality LUT, the range that their bits allow, and where they only fill the frame.

Source: PS3.3, sections C.7.5.1.1.2 (Pixel Padding Value), C.7.6.16.2.9 (Pixel Value Transformation) and C.11.1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from synthrelease.dicom.frames import VALUE_TRANSFORMATION, Frame
from synthrelease.dicom.header import Header
from synthrelease.dicom.stored import form_of
from synthrelease.dicom.voi import lookup_table


@dataclass(frozen=True)
class Described:
    """A frame after the modality LUT.

    Attributes:
        pixels: (H, W) float32.
        value_range: Lowest and highest value that the stored bits allow.
        sound: Whether slope and intercept were usable as they are.
    """

    pixels: npt.NDArray[np.float32]
    value_range: tuple[float, float]
    sound: bool


def described_values(frame: Frame, stored: npt.NDArray[Any]) -> Described | None:
    """Apply the modality LUT, a table or a line; None when values come out that are not finite.

    Raises:
        ValueError: The table is broken.
    """
    form = form_of(frame.root)
    low, high = (
        (-(2.0 ** (form.stored - 1)), 2.0 ** (form.stored - 1) - 1) if form.signed else (0.0, 2.0**form.stored - 1)
    )
    tables = frame.root.items(0x00283000)
    if tables:
        table = lookup_table(tables[0], signed=form.signed)
        if table is None:
            raise ValueError("a broken table")
        return Described(table.of(stored).astype(np.float32), (0.0, 2.0**table.bits - 1), True)
    slope, intercept, sound = _rescale(frame)
    pixels = stored.astype(np.float32)
    with np.errstate(all="ignore"):
        if (slope, intercept) != (1.0, 0.0):
            pixels *= np.float32(slope)
            pixels += np.float32(intercept)
        low, high = sorted((low * slope + intercept, high * slope + intercept))
        if not np.isfinite(np.array([low, high], np.float32)).all() and not np.isfinite(pixels).all():
            return None
    return Described(pixels, (low, high), sound)


def _rescale(frame: Frame) -> tuple[float, float, bool]:
    """Slope, intercept, and whether both were usable; a slope that is empty or 0 would erase the image."""
    sound = True
    values = []
    for tag, neutral in ((0x00281053, 1.0), (0x00281052, 0.0)):
        level = frame.holding(VALUE_TRANSFORMATION, tag)
        value = neutral
        if tag in level:
            value = next(iter(level.decimals(tag)), math.nan)
            if not math.isfinite(value) or (neutral == 1.0 and value == 0):
                value, sound = neutral, False
        values.append(value)
    return values[0], values[1], sound


def padding_of(header: Header, stored: npt.NDArray[Any]) -> npt.NDArray[np.bool_] | None:
    """Where pixels lie outside the imaged field, (H, W); None when there is no such pixel."""
    values = [value for tag in (0x00280120, 0x00280121) for value in header.shorts(tag)[:1]]
    if not header.shorts(0x00280120)[:1]:
        return None
    if stored.dtype.kind == "i":
        values = [(value + 0x8000) % 0x10000 - 0x8000 for value in values]
    low, high = min(values), max(values)
    padding: npt.NDArray[np.bool_] = (stored >= low) & (stored <= high)
    return padding if bool(padding.any()) else None

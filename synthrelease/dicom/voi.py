"""The values of interest that a file declares: a window, or a table where it has no usable window.

Source: PS3.3, section C.11.2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from synthrelease.dicom.frames import FRAME_VOI, Frame
from synthrelease.dicom.header import Header


@dataclass(frozen=True)
class LinearWindow:
    """A window in values after the modality LUT.

    Attributes:
        center: Window Center.
        width: Window Width; at least 1 for LINEAR, above 0 for the others.
        function: LINEAR, LINEAR_EXACT or SIGMOID.
    """

    center: float
    width: float
    function: str = "LINEAR"

    def applied(self, values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Values mapped to [0, 1]; the three formulas of PS3.3, section C.11.2.1.2 and C.11.2.1.3."""
        c, w = np.float32(self.center), np.float32(self.width)
        if self.function == "SIGMOID":
            with np.errstate(over="ignore"):
                return np.asarray(1 / (1 + np.exp(-4 * (values - c) / w)), dtype=np.float32)
        if self.function != "LINEAR_EXACT":
            if w <= 1:
                return (values > c - np.float32(0.5)).astype(np.float32)
            c, w = c - np.float32(0.5), w - np.float32(1)
        shown = values - c
        shown /= w
        shown += np.float32(0.5)
        return np.clip(shown, 0, 1, out=shown)


@dataclass(frozen=True)
class ValueTable:
    """A VOI LUT.

    Attributes:
        first: Value that the first entry stands for; values outside the table take the nearest entry.
        entries: (L,) float32 in [0, 1].
    """

    first: int
    entries: npt.NDArray[np.float32]

    def applied(self, values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Values mapped to [0, 1] (PS3.3, section C.11.2.1.1)."""
        index = np.clip(np.rint(values) - self.first, 0, len(self.entries) - 1).astype(np.int64)
        return np.asarray(self.entries[index], dtype=np.float32)


@dataclass(frozen=True)
class LookupTable:
    """A table as stored (PS3.3, sections C.11.1.1 and C.11.2.1.1).

    Attributes:
        first: Value that the first entry stands for; values outside the table take the nearest entry.
        entries: (L,) uint16.
        bits: Of an entry.
    """

    first: int
    entries: npt.NDArray[np.uint16]
    bits: int

    def of(self, values: npt.NDArray[Any]) -> npt.NDArray[np.uint16]:
        """The entry of each value; the values are whole numbers."""
        index = np.clip(values.astype(np.int64) - self.first, 0, len(self.entries) - 1)
        return np.asarray(self.entries[index])


def voi_of(frame: Frame, *, signed: bool) -> tuple[LinearWindow | ValueTable | None, bool]:
    """The first usable window, else the first VOI LUT, else None; and False when only unusable ones were declared.

    Args:
        frame: Of the image.
        signed: Whether values after the modality LUT can be negative; then so can the table's first value.
    """
    level = frame.holding(FRAME_VOI, 0x00281050)
    centers, widths = level.decimals(0x00281050), level.decimals(0x00281051)
    function = level.text(0x00281056) or "LINEAR"
    if function not in ("LINEAR", "LINEAR_EXACT", "SIGMOID"):
        function = "LINEAR"
    for center, width in zip(centers, widths, strict=False):
        if math.isfinite(center) and math.isfinite(width) and (width >= 1 or (function != "LINEAR" and width > 0)):
            return LinearWindow(center, width, function), True
    tables = frame.root.items(0x00283010)
    for item in tables:
        table = lookup_table(item, signed=signed)
        if table is not None:
            scaled = np.clip(table.entries.astype(np.float32) / np.float32(2**table.bits - 1), 0, 1)
            return ValueTable(table.first, scaled), True
    return None, not (centers or widths or tables)


def lookup_table(item: Header, *, signed: bool) -> LookupTable | None:
    """The table in an item of a Modality or VOI LUT Sequence; None when it is none.

    Args:
        item: Holds LUT Descriptor and LUT Data.
        signed: Whether the values that it maps can be negative.
    """
    try:
        count, first, bits = item.shorts(0x00283002)
        entries = item.shorts(0x00283006)
    except (TypeError, ValueError):
        return None
    count = count or 65536  # 16 bits cannot say 65536 (PS3.3, section C.11.2.1.1)
    if not 1 <= bits <= 16 or len(entries) < count:
        return None
    if signed and first > 32767:
        first -= 65536
    return LookupTable(first, np.array(entries[:count]).astype(np.uint16), bits)

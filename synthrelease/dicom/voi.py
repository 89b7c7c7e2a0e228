"""The values of interest that a file declares: a window, or a table where it has no usable window.

Source: PS3.3, section C.11.2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue


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
        if self.function == "LINEAR_EXACT":
            shown = (values - c) / w + np.float32(0.5)
        elif w <= 1:
            shown = (values > c - np.float32(0.5)).astype(np.float32)
        else:
            shown = (values - (c - np.float32(0.5))) / (w - 1) + np.float32(0.5)
        return np.asarray(np.clip(shown, 0, 1), dtype=np.float32)


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


def voi_of(dataset: Dataset, *, signed: bool) -> tuple[LinearWindow | ValueTable | None, bool]:
    """The first usable window, else the first VOI LUT, else None; and False when only unusable ones were declared.

    Args:
        dataset: The image.
        signed: Whether values after the modality LUT can be negative; then so can the table's first value.
    """
    centers, widths = (_numbers(dataset, keyword) for keyword in ("WindowCenter", "WindowWidth"))
    function = str(dataset.get("VOILUTFunction") or "LINEAR").strip()
    if function not in ("LINEAR", "LINEAR_EXACT", "SIGMOID"):
        function = "LINEAR"
    for center, width in zip(centers, widths, strict=False):
        if math.isfinite(center) and math.isfinite(width) and (width >= 1 or (function != "LINEAR" and width > 0)):
            return LinearWindow(center, width, function), True
    for item in dataset.get("VOILUTSequence") or ():
        table = _table(item, signed)
        if table is not None:
            return table, True
    return None, not (centers or widths or dataset.get("VOILUTSequence"))


def _numbers(dataset: Dataset, keyword: str) -> list[float]:
    """The values of an element, NaN for one that is not a number."""
    try:
        value: Any = dataset.get(keyword)
    except (TypeError, ValueError, ArithmeticError):
        return [math.nan]  # pydicom raises when a Decimal String holds something else.
    if value is None or value == "":
        return []
    found = []
    for part in value if isinstance(value, MultiValue | list | tuple) else [value]:
        try:
            found.append(float(part))
        except (TypeError, ValueError):
            found.append(math.nan)
    return found


def _table(item: Dataset, signed: bool) -> ValueTable | None:
    try:
        count, first, bits = (int(part) for part in item.LUTDescriptor)
        count = count or 65536  # 16 bits cannot say 65536 (PS3.3, section C.11.2.1.1)
        data = item.LUTData
        entries = np.frombuffer(data, "<u2") if isinstance(data, bytes) else np.asarray(data, dtype=np.uint16)
    except (AttributeError, TypeError, ValueError):
        return None
    if not 1 <= bits <= 16 or len(entries) < count:
        return None
    if signed and first > 32767:
        first -= 65536
    scaled = np.clip(entries[:count].astype(np.float32) / np.float32(2**bits - 1), 0, 1)
    return ValueTable(first, scaled)

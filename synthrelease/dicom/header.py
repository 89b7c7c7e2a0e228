"""The elements of a file by tag, whichever way it was opened: walked as bytes, or by pydicom where the walk gives up.

Everything that judges or describes an image or a mask reads through `Header`, so that both ways come to one answer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from synthrelease.dicom.elements import PADDING, Cut, Elements, decoded, file_elements
from synthrelease.dicom.opening import open_dataset
from synthrelease.records.refusals import Refusal

_HEAD = 1 << 16
"""Bytes read first; headers of single images are nearly always shorter."""


class Header(Protocol):
    """One level of a data set. Accessors of `Opened` raise almost anything on broken elements."""

    def __contains__(self, tag: int) -> bool:
        """Whether the element is there, be it empty."""
        ...

    def text(self, tag: int) -> str:
        """A UID, code or ASCII text without its padding; "" when absent."""
        ...

    def name(self, tag: int) -> str:
        """A text that people wrote, by its character set; "" when absent."""
        ...

    def number(self, tag: int, default: int | None = None) -> int:
        """An unsigned short. Raises `ValueError` when it is absent and there is no default."""
        ...

    def shorts(self, tag: int) -> list[int]:
        """Shorts, signed or not."""
        ...

    def decimals(self, tag: int) -> list[float]:
        """Decimal strings; NaN for one that is no number."""
        ...

    def items(self, tag: int) -> Sequence[Header]:
        """The items of a sequence; none when it is absent."""
        ...


class Opened:
    """A pydicom data set as a `Header`. To be used under `quiet`."""

    __slots__ = ("_little", "dataset")

    def __init__(self, dataset: Dataset, *, little: bool = True) -> None:
        self.dataset = dataset
        self._little = little

    def __contains__(self, tag: int) -> bool:
        return tag in self.dataset

    def _value(self, tag: int) -> Any:
        element = self.dataset.get(tag)
        return None if element is None else element.value

    def text(self, tag: int) -> str:
        value = self._value(tag)
        if value is None:
            return ""
        return (value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)).strip(PADDING)

    def name(self, tag: int) -> str:
        raw = self.dataset.get_item(tag)
        if isinstance(raw, RawDataElement) and isinstance(raw.value, bytes):
            sets = self.dataset.get("SpecificCharacterSet") or ""
            return decoded(raw.value, sets if isinstance(sets, str) else "\\".join(map(str, sets)))
        return self.text(tag)

    def number(self, tag: int, default: int | None = None) -> int:
        value = self._value(tag)
        if isinstance(value, int):
            return value
        if default is None:
            raise ValueError("a number is missing")
        return default

    def shorts(self, tag: int) -> list[int]:
        value = self._value(tag)
        if isinstance(value, bytes):
            return [int(part) for part in np.frombuffer(value[: len(value) & ~1], "<u2" if self._little else ">u2")]
        return [int(part) for part in self._parts(tag)]

    def decimals(self, tag: int) -> list[float]:
        try:
            parts = self._parts(tag)
        except (TypeError, ValueError, ArithmeticError):
            return [math.nan]  # pydicom raises when a Decimal String holds something else.
        return [_float(part) for part in parts]

    def items(self, tag: int) -> Sequence[Header]:
        return [Opened(item, little=self._little) for item in self._value(tag) or ()]

    def _parts(self, tag: int) -> list[Any]:
        value = self._value(tag)
        if value is None or value == "":
            return []
        return list(value) if isinstance(value, MultiValue | list | tuple) else [value]


def _float(part: Any) -> float:
    try:
        return float(part)
    except (TypeError, ValueError):
        return math.nan


def walked(path: Path) -> tuple[Elements, str]:
    """The elements of a file up to Pixel Data, and its transfer syntax; reads no more of it than needed.

    Raises:
        ValueError: The walk does not know this file, or it is cut; ask pydicom.
        OSError: It cannot be read.
    """
    with path.open("rb") as stream:
        content, wanted = b"", _HEAD
        while True:
            content += stream.read(wanted - len(content))
            whole = len(content) < wanted
            try:
                return file_elements(content, pixels=False, whole=whole)
            except Cut:
                if whole:
                    raise
                wanted *= 16


def opened(path: Path) -> tuple[Opened, str] | Refusal:
    """The same through pydicom, pixels included. To be called under `quiet`.

    Returns:
        The header and the transfer syntax, "" where the file does not tell it; or why the file is no DICOM.
    """
    dataset = open_dataset(path)
    if isinstance(dataset, Refusal):
        return dataset
    return Opened(dataset, little=dataset.original_encoding[1] is not False), str(
        dataset.file_meta.get("TransferSyntaxUID") or ""
    )

"""Stored values of a file, frame by frame: read where they lie, never more of a file than the frame that is asked for.

Source: PS3.5, sections 8 and A.4.
"""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
from pydicom.encaps import get_frame
from pydicom.pixels.utils import pixel_array
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from synthrelease.dicom.decoding import Form, Undecodable, Values, decode, meaningful
from synthrelease.dicom.elements import EXPLICIT, IMPLICIT, PIXEL_DATA, UNDEFINED, Elements
from synthrelease.dicom.header import Header

_NATIVE = frozenset(
    (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian)
)


class StoredFrames(Protocol):
    """The frames of a file."""

    def frame(self, index: int) -> Values:
        """Stored values (H, W), bits above Bits Stored without meaning removed.

        Raises:
            Undecodable: With the reason.
            Exception: A decoder raises almost anything on broken data.
        """
        ...


def form_of(header: Header) -> Form:
    """What a header says about every frame.

    Raises:
        ValueError: Rows, Columns or Bits Allocated are missing, or the bits contradict each other.
    """
    allocated = header.number(0x00280100)
    stored = header.number(0x00280101, allocated)
    signed = header.number(0x00280103, 0)
    if not 1 <= stored <= allocated or signed not in (0, 1):
        raise ValueError("bits that contradict each other")
    return Form(header.number(0x00280010), header.number(0x00280011), allocated, stored, bool(signed))


def is_encapsulated(syntax: str) -> bool:
    """Whether a transfer syntax holds pixels as fragments; so does one that nobody knows."""
    return bool(syntax) and syntax not in _NATIVE


class WalkedFrames:
    """Frames of a file whose header was walked.

    Args:
        path: The file.
        elements: Of the file, up to Pixel Data.
        syntax: Transfer Syntax UID.
        form: Of every frame.
        frames: How many there are.

    Raises:
        ValueError: Pixel Data is missing or cut, or has a form that pydicom must read.
    """

    def __init__(self, path: Path, elements: Elements, syntax: str, form: Form, frames: int) -> None:
        self._path, self._syntax, self._form, self._frames = path, syntax, form, frames
        self._start, length = elements.next_value(PIXEL_DATA)
        self._offsets: tuple[bytes, bytes] | None = None
        if syntax in (IMPLICIT, EXPLICIT):
            if form.allocated not in (8, 16):
                raise ValueError("values of another size")
            self._size = form.rows * form.columns * (form.allocated // 8)
            if length == UNDEFINED or frames * self._size > length:
                raise ValueError("pixel data is cut")
        elif length != UNDEFINED:
            raise ValueError("not encapsulated")
        elif 0x7FE00001 in elements:
            self._offsets = elements.raw(0x7FE00001), elements.raw(0x7FE00002)

    def frame(self, index: int) -> Values:
        """See `StoredFrames`."""
        form = self._form
        with self._path.open("rb") as stream:
            if self._syntax not in (IMPLICIT, EXPLICIT):
                stream.seek(self._start)
                content = get_frame(stream, index, number_of_frames=self._frames, extended_offsets=self._offsets)
                return decode(content, self._syntax, form)
            stream.seek(self._start + index * self._size)
            content = stream.read(self._size)
        if len(content) < self._size:
            raise Undecodable("pixel data is cut")
        values = np.frombuffer(content, f"<u{form.allocated // 8}").reshape(form.rows, form.columns)
        return meaningful(values, form.stored, form.signed)


class OpenedFrames:
    """Frames of a data set that pydicom opened. To be used under `quiet`.

    Args:
        dataset: With its pixels.
        syntax: Transfer Syntax UID; "" where the file does not tell it.
        form: Of every frame.
        frames: How many there are.
    """

    def __init__(self, dataset: Dataset, syntax: str, form: Form, frames: int) -> None:
        self._dataset, self._syntax, self._form, self._frames = dataset, syntax, form, frames
        if not syntax:
            implicit, little = dataset.original_encoding
            uncompressed = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
            dataset.file_meta.TransferSyntaxUID = uncompressed if little is not False else ExplicitVRBigEndian
        dataset.NumberOfFrames = frames

    def frame(self, index: int) -> Values:
        """See `StoredFrames`."""
        if is_encapsulated(self._syntax):
            stream = BytesIO(self._dataset.PixelData)
            return decode(get_frame(stream, index, number_of_frames=self._frames), self._syntax, self._form)
        stored: npt.NDArray[Any] = pixel_array(self._dataset, index=index)
        if stored.shape != (self._form.rows, self._form.columns):
            raise Undecodable("a frame of another size than rows and columns")
        return stored

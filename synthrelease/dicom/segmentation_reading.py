"""A fast reader of segmentations, from the bytes; what it does not know goes to :mod:`synthrelease.dicom.slow_masks`.

Source: PS3.3, sections C.8.20 and C.7.6.16; PS3.5, section 8.1.1 (frames of single bits).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.encaps import get_frame

from synthrelease.dicom.decoding import Form, decode
from synthrelease.dicom.elements import EXPLICIT, IMPLICIT, PIXEL_DATA, UNDEFINED, Elements, file_elements
from synthrelease.dicom.frames import DERIVATION_IMAGE, SEGMENT_IDENTIFICATION, SOURCE_IMAGE, Frame, Frames, frame_count
from synthrelease.dicom.judging import MOST_PIXELS
from synthrelease.dicom.mask_reading import Bits, SegmentMask, Target
from synthrelease.dicom.opening import SEGMENTATION_CLASSES
from synthrelease.dicom.planes import Plane

LEAST_GAP_MM = 0.1
"""Slices that are nearer to each other, and not the same, are no slices of one stack."""

_BITS = {"BINARY": (1,), "LABELMAP": (8, 16), "FRACTIONAL": (8,)}


@dataclass(frozen=True, slots=True)
class _Entry:
    """A frame of a segmentation.

    Attributes:
        frame: Its index.
        segment: The number of its segment; 0 in a label map.
        source_frame: The only frame of the image that it belongs to, from 1; None when it names none.
    """

    frame: int
    segment: int
    source_frame: int | None


class Walked:
    """A segmentation read from its bytes: binary, label map or fractional, uncompressed or not.

    Args:
        content: Of the file.

    Raises:
        ValueError: It is cut, contradicts itself, or is something else.
    """

    def __init__(self, content: bytes) -> None:
        header, self._syntax = file_elements(content, pixels=False)
        self._kind = header.text(0x00620001)
        bits = header.number(0x00280100)
        if header.text(0x00080016) not in SEGMENTATION_CLASSES or bits not in _BITS.get(self._kind, ()):
            raise ValueError("not a segmentation of a known kind")
        self._content = content
        self._shape = header.number(0x00280010), header.number(0x00280011)
        self._form = Form(*self._shape, bits, bits, False)
        self._count = frame_count(header)
        self._start, length = header.next_value(PIXEL_DATA)
        plain = self._syntax in (IMPLICIT, EXPLICIT)
        end = len(content) if length == UNDEFINED else self._start + length
        size = self._count * self._shape[0] * self._shape[1] * bits
        if (
            not 0 < self._shape[0] * self._shape[1] <= MOST_PIXELS
            or end > len(content)
            or plain is (length == UNDEFINED)
        ):
            raise ValueError("pixel data is cut")
        if plain and size > (end - self._start) * 8:
            raise ValueError("pixel data is cut")
        self._half = header.number(0x0062000E, 255) / 2
        self._segments = _described_segments(header)
        if self._kind == "LABELMAP":
            self._segments.pop(header.number(0x00280120, 0), None)  # Pixel Padding Value: the background
        self._frame_of_reference = header.text(0x00200052)
        self._groups = Frames(header)
        self._by_source: dict[str, list[_Entry]] = {}
        self._placed: list[_Entry] = []
        self._planes: dict[int, Plane | None] = {}
        self._sort(header)

    @property
    def sources(self) -> Sequence[str]:
        """See `MaskFile`."""
        return list(self._by_source)

    @property
    def names(self) -> Sequence[str]:
        """See `MaskFile`."""
        return [name for name, _ in self._segments.values()]

    def masks(self, target: Target) -> list[SegmentMask]:
        """See `MaskFile`."""
        entries = self._entries(target)
        if entries is None:
            return []
        planes: dict[int, Bits] = {}
        for entry in entries:
            values = self._values(entry.frame)
            if self._kind == "LABELMAP":
                found = {segment: values == segment for segment in self._segments}
            else:
                found = {entry.segment: values.view(np.bool_) if self._kind == "BINARY" else values > self._half}
            for segment, mask in found.items():
                planes[segment] = planes[segment] | mask if segment in planes else mask
        return [
            SegmentMask(
                target.sop_uid, *described, planes[number] if number in planes else np.zeros(self._shape, np.bool_)
            )
            for number, described in self._segments.items()
        ]

    def _entries(self, target: Target) -> list[_Entry] | None:
        """The frames that belong to an image; None when the file does not speak of it."""
        listed = self._by_source.get(target.sop_uid)
        sure, by_place = [], list(self._placed)
        for entry in listed or ():
            if entry.source_frame is None and target.frame is not None:
                by_place.append(entry)  # of a multi-frame image, and of no frame of it
            elif entry.source_frame in (None, target.frame or 1):
                sure.append(entry)
        found = [entry for entry in by_place if self._lies_in(entry, target)]
        if listed is None:
            return found or None
        if by_place and not sure and not found and not self._lies_beside(by_place[0], target):
            raise ValueError("frames that do not say to which image they belong")
        return sure + found

    def _lies_beside(self, entry: _Entry, target: Target) -> bool:
        """Whether a frame is a slice of the image's own stack: then the image's slice is one without a frame."""
        plane = self._groups[entry.frame].plane()
        if plane is None or target.plane is None or target.frame_of_reference != self._frame_of_reference:
            return False
        apart = float((np.array(plane.position) - target.plane.position) @ target.plane.normal)
        return abs(apart) > LEAST_GAP_MM and target.lies_in(plane.moved(-apart), self._frame_of_reference, self._shape)

    def _lies_in(self, entry: _Entry, target: Target) -> bool:
        if entry.frame not in self._planes:
            self._planes[entry.frame] = self._groups[entry.frame].plane()
        return target.lies_in(self._planes[entry.frame], self._frame_of_reference, self._shape)

    def _values(self, frame: int) -> npt.NDArray[Any]:
        """(H, W): 0 and 1, numbers of segments, or degrees."""
        form, pixels = self._form, self._shape[0] * self._shape[1]
        if self._syntax not in (IMPLICIT, EXPLICIT):
            stream = BytesIO(self._content)
            stream.seek(self._start)
            encoded = get_frame(stream, frame, number_of_frames=self._count)
            values = decode(encoded, self._syntax, form)
            return (values != 0).astype(np.uint8) if form.allocated == 1 else values
        if form.allocated > 1:
            kind = np.dtype("<u2" if form.allocated == 16 else "u1")
            at = self._start + frame * pixels * kind.itemsize
            return np.frombuffer(self._content, kind, pixels, at).reshape(self._shape)
        # Frames follow each other bit by bit: only the first is sure to start with a byte.
        first, skipped = divmod(frame * pixels, 8)
        packed = np.frombuffer(self._content, np.uint8, (skipped + pixels + 7) // 8, self._start + first)
        bits = np.unpackbits(packed, bitorder="little")[skipped : skipped + pixels]
        return bits.reshape(self._shape)

    def _sort(self, header: Elements) -> None:
        """Find the image of every frame."""
        listed = dict.fromkeys(
            instance.text(0x00081155) for series in header.items(0x00081115) for instance in series.items(0x0008114A)
        )
        self._by_source = {uid: [] for uid in listed}
        if self._groups.count != self._count:
            raise ValueError("a frame has no functional groups")
        for index in range(self._count):
            frame = self._groups[index]
            numbers = [item.number(0x0062000B) for item in frame.macros(SEGMENT_IDENTIFICATION)]
            if len(numbers) != 1 and self._kind != "LABELMAP":
                raise ValueError("a frame does not belong to one segment")
            sources = _sources(frame)
            if not sources and len(listed) == 1:
                sources = {(next(iter(listed)), None)}
            source = next(iter(sources)) if len(sources) == 1 else ("", None)
            entry = _Entry(index, numbers[0] if numbers else 0, source[1])
            # A frame made from several images, or from none that it names, is known by its place alone.
            (self._by_source.setdefault(source[0], []) if source[0] else self._placed).append(entry)


def _sources(frame: Frame) -> set[tuple[str, int | None]]:
    """Images that a frame was made from, each with the only frame of it, if it names one."""
    found: set[tuple[str, int | None]] = set()
    for derivation in frame.macros(DERIVATION_IMAGE):
        for source in derivation.items(SOURCE_IMAGE):
            numbers = source.decimals(0x00081160)
            uid = source.text(0x00081155)
            found |= {(uid, int(number)) for number in numbers} if numbers else {(uid, None)}
    return found


def _described_segments(elements: Elements) -> dict[int, tuple[str, str]]:
    """Segment Label and type code by segment number."""
    found = {}
    for item in elements.items(0x00620002):
        types = item.items(0x0062000F)
        found[item.number(0x00620004)] = (item.text(0x00620005), types[0].text(0x00080100) if types else "")
    if not found:
        raise ValueError("no segment is described")
    return found

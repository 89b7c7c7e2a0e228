"""Masks out of segmentations, matched to their images by the instance that each frame refers to, never by order.

Binary segmentations and label maps that are not compressed are read here, from the bytes; anything else
(fractional, compressed, another byte order) goes through highdicom, which is right and slower.

Source: PS3.3, sections A.51, C.8.20 and C.7.6.16.2.6 (Derivation Image).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from synthrelease.dicom.elements import EXPLICIT, IMPLICIT, PIXEL_DATA, Elements, file_elements
from synthrelease.dicom.opening import SEGMENTATION_CLASSES, quiet
from synthrelease.records.refusals import Reason, Refusal

Plane = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class SegmentMask:
    """Where one segment lies in one image.

    Attributes:
        source_sop_uid: SOP Instance UID of the image. Private.
        name: Segment Label.
        code: Code Value of the Segmented Property Type; "" when missing.
        mask: (H, W) bool, all False for a segment that is described and has no frame.
    """

    source_sop_uid: str
    name: str
    code: str
    mask: Plane


class SegmentationFile(Protocol):
    """An opened segmentation; decodes a plane when it is asked for."""

    @property
    def sources(self) -> Sequence[str]:
        """SOP Instance UIDs of the images that it refers to."""
        ...

    def masks(self, source: str) -> list[SegmentMask]:
        """One mask per described segment for that image.

        Raises:
            ValueError: The frames cannot be decoded.
        """
        ...


def open_segmentation(path: Path) -> SegmentationFile | Refusal:
    """Open a segmentation for reading image by image.

    Returns:
        The opened file, or a refusal: not a segmentation, broken, or silent about its images.
    """
    try:
        opened: SegmentationFile | None = _Walked(path.read_bytes())
    except (ValueError, IndexError, RecursionError):
        opened = None
    except OSError:
        return Refusal(path, Reason.MASK_UNREADABLE, "the file cannot be opened")
    if opened is None:
        try:
            with quiet():
                opened = _Decoded(path)
        except Exception:  # highdicom and the decoders raise almost anything on what they do not expect.
            return Refusal(path, Reason.MASK_UNREADABLE, "no reader understands it")
    if not opened.sources:
        return Refusal(path, Reason.MASK_UNREADABLE, "its frames do not say to which image they belong")
    return opened


def read_segmentation(path: Path) -> list[SegmentMask] | Refusal:
    """Every mask of a segmentation: one for each image referred to and each segment described.

    Returns:
        The masks, by image and then by segment number, or why there are none.
    """
    opened = open_segmentation(path)
    if isinstance(opened, Refusal):
        return opened
    try:
        return [mask for source in opened.sources for mask in opened.masks(source)]
    except Exception:  # A decoder, again.
        return Refusal(path, Reason.MASK_UNREADABLE, "its frames cannot be decoded")


class _Walked:
    """A binary segmentation or a label map, uncompressed, read from its bytes."""

    def __init__(self, content: bytes) -> None:
        elements, syntax = file_elements(content, pixels=True)
        kind = elements.text(0x00620001)
        if elements.text(0x00080016) not in SEGMENTATION_CLASSES or syntax not in (IMPLICIT, EXPLICIT):
            raise ValueError("not an uncompressed segmentation")
        bits = elements.number(0x00280100)
        if (kind, bits) not in (("BINARY", 1), ("LABELMAP", 8), ("LABELMAP", 16)):
            raise ValueError("a kind of segmentation that highdicom reads")
        self._content = content
        self._labelmap = kind == "LABELMAP"
        self._bits = bits
        self._shape = elements.number(0x00280010), elements.number(0x00280011)
        frames = int(elements.text(0x00280008) or "1")
        start, end = elements.where(PIXEL_DATA)
        if not all(self._shape) or frames * self._shape[0] * self._shape[1] * bits > (end - start) * 8:
            raise ValueError("pixel data is cut")
        self._start = start
        self._segments = _described_segments(elements)
        if self._labelmap:
            self._segments.pop(elements.number(0x00280120, 0), None)  # Pixel Padding Value: the background
        self._frames = self._frames_by_source(elements, frames)

    @property
    def sources(self) -> Sequence[str]:
        return list(self._frames)

    def masks(self, source: str) -> list[SegmentMask]:
        planes = {number: np.zeros(self._shape, dtype=np.bool_) for number in self._segments}
        for frame, number in self._frames.get(source, ()):
            values = self._frame(frame)
            if self._labelmap:
                for segment, plane in planes.items():
                    plane |= values == segment
            elif number in planes:
                planes[number] |= values.view(np.bool_)
        return [SegmentMask(source, *self._segments[number], plane) for number, plane in planes.items()]

    def _frame(self, frame: int) -> npt.NDArray[Any]:
        pixels = self._shape[0] * self._shape[1]
        if self._labelmap:
            kind = np.dtype("<u2" if self._bits == 16 else "u1")
            at = self._start + frame * pixels * kind.itemsize
            return np.frombuffer(self._content, kind, pixels, at).reshape(self._shape)
        # Frames follow each other bit by bit: only the first is sure to start with a byte (PS3.5, section 8.1.1).
        first, skipped = divmod(frame * pixels, 8)
        packed = np.frombuffer(self._content, np.uint8, (skipped + pixels + 7) // 8, self._start + first)
        bits = np.unpackbits(packed, bitorder="little")[skipped : skipped + pixels]
        return bits.reshape(self._shape)

    def _frames_by_source(self, elements: Elements, frames: int) -> dict[str, list[tuple[int, int]]]:
        listed = dict.fromkeys(
            instance.text(0x00081155) for series in elements.items(0x00081115) for instance in series.items(0x0008114A)
        )
        found: dict[str, list[tuple[int, int]]] = {uid: [] for uid in listed}
        shared = elements.items(0x52009229)
        groups = elements.items(0x52009230)
        if len(groups) != frames:
            raise ValueError("a frame has no functional groups")
        for frame, group in enumerate(groups):
            levels = (group, *shared)
            sources = {
                (source.text(0x00081155), source.text(0x00081160) or "1")
                for level in levels
                for derivation in level.items(0x00089124)
                for source in derivation.items(0x00082112)
            }
            if not sources and len(listed) == 1:
                sources = {(next(iter(listed)), "1")}
            if len(sources) != 1:
                raise ValueError("a frame does not belong to one image")
            numbers = [i.number(0x0062000B) for level in levels for i in level.items(0x0062000A)]
            if len(numbers) != 1 and not self._labelmap:
                raise ValueError("a frame does not belong to one segment")
            uid, source_frame = sources.pop()
            entry = found.setdefault(uid, [])
            if source_frame == "1":  # Other frames belong to multi-frame images, which no reader takes.
                entry.append((frame, numbers[0] if numbers else 0))
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


class _Decoded:
    """Any other segmentation, through highdicom."""

    def __init__(self, path: Path) -> None:
        from highdicom.seg import segread

        self._file: Any = segread(path)
        self.sources: Sequence[str] = [str(uids[2]) for uids in self._file.get_source_image_uids()]

    def masks(self, source: str) -> list[SegmentMask]:
        described = [item for item in self._file.SegmentSequence if int(item.SegmentNumber) != 0]
        with quiet():
            try:
                pixels = self._file.get_pixels_by_source_instance(
                    [source],
                    segment_numbers=[int(item.SegmentNumber) for item in described],
                    ignore_spatial_locations=True,
                    assert_missing_frames_are_empty=True,
                )[0]
            except Exception as error:
                raise ValueError("the frames cannot be decoded") from error
        return [
            SegmentMask(source, str(item.SegmentLabel), _type_code(item), np.ascontiguousarray(plane) > 0.5)
            for item, plane in zip(described, np.moveaxis(pixels, -1, 0), strict=True)
        ]


def _type_code(item: Any) -> str:
    types = item.get("SegmentedPropertyTypeCodeSequence")
    return str(types[0].get("CodeValue") or "") if types else ""

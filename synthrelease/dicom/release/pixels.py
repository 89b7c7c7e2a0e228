"""Masks as Pixel Data of a segmentation, byte for byte as the slow path writes them.

    BINARY      one bit a pixel, frames one after the other without a gap between them, lowest bit first
    LABELMAP    one byte a pixel
    compressed  frames encoded one by one behind an offset table, and the delimiter that ends them

Source: PS3.5, section 8.1.1 (bits), section A.4 (encapsulation), section 8.2 (compression).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from synthrelease.dicom.mask_forms import TRANSFER_SYNTAXES, Compression, MaskKind, frames_of
from synthrelease.dicom.release.layout import FileKind
from synthrelease.dicom.release.settings import ArchiveSettings

_DELIMITER = b"\xfe\xff\xdd\xe0\0\0\0\0"
"""Sequence Delimitation Item: ends pixels of undefined length."""


def image_pixels(levels: npt.NDArray[np.uint16]) -> memoryview:
    """Pixel Data of an image from (H, W) stored values; a view of them where they lie as the file wants them."""
    return np.ascontiguousarray(levels, "<u2").data.cast("B")


def mask_pixels(masks: npt.NDArray[np.bool_], settings: ArchiveSettings) -> bytes | memoryview:
    """Pixel Data of one mask file, whatever its form.

    Args:
        masks: (K, H, W) bool: the masks of this file, all of them or the only one.
        settings: Of the archive.

    Returns:
        Everything after the element's head; of a compressed form with the delimiter that ends it.
    """
    frames = frames_of(masks, settings.mask_kind)
    if settings.mask_compression is not Compression.NONE:
        return _compressed(frames, settings)
    if settings.mask_kind is MaskKind.LABELMAP:
        return even(frames.tobytes())
    return even(np.packbits(masks.reshape(-1), bitorder="little").tobytes())


def even(pixels: bytes | memoryview) -> bytes | memoryview:
    """Pixel Data of even length (PS3.5, section 7.1.1)."""
    return bytes(pixels) + b"\0" if len(pixels) % 2 else pixels


def overlap(masks: npt.NDArray[np.bool_]) -> bool:
    """Whether any pixel lies in two of the (K, H, W) masks."""
    if len(masks) < 2:
        return False
    inside = masks[0].copy()
    for plane in masks[1:]:
        if (inside & plane).any():
            return True
        inside |= plane
    return False


def strays(kind: FileKind, pixels: bytes, settings: ArchiveSettings) -> bool:
    """Whether Pixel Data says anything beside grey values or masks: bits that no pixel uses, or a second encoding.

    Args:
        kind: Of the file: an image or a mask file.
        pixels: What stands in its pixel slot or tail.
        settings: Of the archive.
    """
    area = settings.rows * settings.columns
    if kind is FileKind.IMAGE:
        return bool((np.frombuffer(pixels, "<u2") > (1 << settings.bits) - 1).any())
    planes = 1 if settings.one_file_per_segment else len(settings.segments)
    if settings.mask_compression is not Compression.NONE:
        return _encoded_otherwise(pixels, planes, settings)
    if settings.mask_kind is MaskKind.LABELMAP:
        return any(pixels[area:]) or max(pixels[:area]) > planes
    unused = 8 * len(pixels) - planes * area
    return bool(unused) and int.from_bytes(pixels[-2:], "little") >> (16 - unused) != 0


def _compressed(frames: npt.NDArray[np.uint8] | npt.NDArray[np.uint16], settings: ArchiveSettings) -> bytes:
    from synthrelease.dicom.mask_packing import encapsulated

    return encapsulated(frames, settings.mask_compression, bits=_bits(settings)) + _DELIMITER


def _encoded_otherwise(pixels: bytes, planes: int, settings: ArchiveSettings) -> bool:
    """Whether compressed pixels are not the ones that this software makes of what they show."""
    from pydicom.encaps import generate_frames

    from synthrelease.dicom.decoding import Form, decode

    labelmap = settings.mask_kind is MaskKind.LABELMAP
    bits = _bits(settings)
    form = Form(settings.rows, settings.columns, bits, bits, False)
    try:
        encoded = list(generate_frames(pixels, number_of_frames=1 if labelmap else planes))
        shown = [decode(frame, TRANSFER_SYNTAXES[settings.mask_compression], form) for frame in encoded]
        frames = np.stack(shown).astype(np.uint8)
    except (ValueError, RuntimeError, EOFError):
        return True
    return bool(frames.max() > (planes if labelmap else 1)) or _compressed(frames, settings) != pixels


def _bits(settings: ArchiveSettings) -> int:
    """Bits allocated a pixel; the segments of a policy always fit into a byte."""
    return 8 if settings.mask_kind is MaskKind.LABELMAP else 1

"""The forms that a segmentation can take, and what each can hold.

BINARY has one plane a segment, so segments may overlap; LABELMAP has one number a pixel, so they may not. Nearly
every reader knows the first, few know the second yet.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
from pydicom.uid import (
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from synthrelease.errors import UsageError

SMALLEST_JPEG_2000 = 32
"""Pixels a side below which the encoder of JPEG 2000 gives up."""

MOST_LABELS = 255
"""Segments in one label map."""


class MaskKind(StrEnum):
    """Segmentation Type (0062,0001)."""

    BINARY = "binary"
    LABELMAP = "labelmap"


class Compression(StrEnum):
    """How the masks are packed; always without loss."""

    NONE = "none"
    RLE = "rle"
    JPEG_LS = "jpeg-ls"
    JPEG_2000 = "jpeg-2000"


TRANSFER_SYNTAXES: Mapping[Compression, str] = MappingProxyType(
    {
        Compression.NONE: ExplicitVRLittleEndian,
        Compression.RLE: RLELossless,
        Compression.JPEG_LS: JPEGLSLossless,
        Compression.JPEG_2000: JPEG2000Lossless,
    }
)
"""Transfer Syntax UID of each compression (PS3.5, annex A)."""


def check_form(kind: MaskKind, compression: Compression) -> None:
    """Refuse a form that DICOM has no encoding for: RLE and JPEG-LS work on bytes, a binary plane is made of bits.

    Raises:
        UsageError: BINARY with RLE or JPEG-LS.

    Source: PS3.5, section 8.2.
    """
    if kind is MaskKind.BINARY and compression in (Compression.RLE, Compression.JPEG_LS):
        raise UsageError(
            f"binary masks cannot be compressed by {compression}",
            fix="Use compression none or jpeg-2000 for binary masks, or the kind labelmap.",
        )


def label_map(masks: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    """Masks as one number a pixel; where masks overlap, the one that is named later stays.

    Name what lies inside after what it lies in (a nodule after its lung): the outer mask then has a hole there.
    Whoever needs both whole takes BINARY masks or one file a segment.

    Args:
        masks: (K, H, W) bool, in the order of the names.

    Returns:
        (H, W), 0 for the background and k for the k-th name.

    Raises:
        UsageError: More names than a byte can number; with 16 bits highdicom 0.28 does not read its own files right.
    """
    if len(masks) > MOST_LABELS:
        raise UsageError(
            f"a label map of {len(masks)} segments", fix=f"Use at most {MOST_LABELS} segments, or binary masks."
        )
    numbers = np.zeros(masks.shape[1:], np.uint8)
    for number, mask in enumerate(masks, 1):
        numbers[mask] = number
    return numbers


def frames_of(masks: npt.NDArray[np.bool_], kind: MaskKind) -> npt.NDArray[np.uint8]:
    """The frames of a segmentation: (K, H, W) planes of 0 and 1, or one frame (1, H, W) of numbers."""
    return label_map(masks)[np.newaxis] if kind is MaskKind.LABELMAP else masks.view(np.uint8)

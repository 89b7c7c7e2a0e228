"""Masks out of segmentations and structure sets, matched to their images by what each frame refers to, never by order.

Where a frame or contour refers to no image, it belongs to the image that lies in the same place of the same frame of
reference; `synthrelease.cohort` asks it only for images of its own patient.

Source: PS3.3, sections A.51, C.8.20 and C.7.6.16.2.6 (Derivation Image).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from synthrelease.dicom.planes import Plane
from synthrelease.records.refusals import Reason, Refusal

Bits = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class SegmentMask:
    """Where one segment lies in one image.

    Attributes:
        source_sop_uid: SOP Instance UID of the image. Private.
        name: Segment Label or ROI Name.
        code: Code Value of the Segmented Property Type (or ROI Identification Code); "" when missing.
        mask: (H, W) bool, all False for a segment that is described and has no frame.
    """

    source_sop_uid: str
    name: str
    code: str
    mask: Bits


@dataclass(frozen=True)
class Target:
    """The image whose masks are wanted. Private.

    Attributes:
        sop_uid: SOP Instance UID.
        frame: Number of the frame, from 1; None in a file of a single one.
        shape: (H, W); None: whatever shape the masks have.
        plane: Where it lies; None when it does not tell.
        frame_of_reference: UID of the coordinates of `plane`; "" when missing.
    """

    sop_uid: str
    frame: int | None = None
    shape: tuple[int, int] | None = None
    plane: Plane | None = None
    frame_of_reference: str = ""

    def lies_in(self, plane: Plane | None, frame_of_reference: str, shape: tuple[int, int]) -> bool:
        """Whether a grid is this image's own, in the same coordinates."""
        return (
            bool(self.frame_of_reference)
            and self.frame_of_reference == frame_of_reference
            and self.shape == shape
            and self.plane is not None
            and plane is not None
            and self.plane.is_grid_of(plane, shape)
        )


class MaskFile(Protocol):
    """An opened segmentation or structure set; decodes a plane when it is asked for."""

    @property
    def sources(self) -> Sequence[str]:
        """SOP Instance UIDs of the images that it refers to."""
        ...

    @property
    def names(self) -> Sequence[str]:
        """What it outlines."""
        ...

    def masks(self, target: Target) -> list[SegmentMask]:
        """One mask per described segment for that image; none when the file does not speak of it.

        Raises:
            ValueError: The frames cannot be decoded, or do not say to which image they belong.
        """
        ...


def open_segmentation(path: Path) -> MaskFile | Refusal:
    """Open a segmentation or a structure set for reading image by image.

    Returns:
        The opened file, or a refusal: neither of the two, or broken.
    """
    from synthrelease.dicom.segmentation_reading import Walked
    from synthrelease.dicom.slow_masks import Decoded
    from synthrelease.dicom.structure_reading import Structures

    try:
        content = path.read_bytes()
    except OSError:
        return Refusal(path, Reason.MASK_UNREADABLE, "the file cannot be opened")
    for reader in (Walked, Structures):
        try:
            return reader(content)
        except (ValueError, IndexError, RecursionError):
            continue
    try:
        decoded = Decoded(path)
    except Exception:  # highdicom raises almost anything on what it does not expect.
        return Refusal(path, Reason.MASK_UNREADABLE, "no reader understands it")
    if decoded.compressed:  # our own decoders survive broken frames, pydicom's choice may not
        return Refusal(path, Reason.MASK_UNREADABLE, "compressed in a form that is not read")
    return decoded


def read_segmentation(path: Path) -> list[SegmentMask] | Refusal:
    """Every mask of a segmentation of single-frame images: for each image referred to, one for each segment described.

    Returns:
        The masks, by image and then by segment number, or why there are none.
    """
    opened = open_segmentation(path)
    if isinstance(opened, Refusal):
        return opened
    if not opened.sources:
        return Refusal(path, Reason.MASK_UNREADABLE, "its frames do not say to which image they belong")
    try:
        return [mask for source in opened.sources for mask in opened.masks(Target(source))]
    except Exception:  # A decoder, again.
        return Refusal(path, Reason.MASK_UNREADABLE, "its frames cannot be decoded")

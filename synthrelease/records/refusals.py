"""Why an image is left out of a cohort: counted by reason, never silent, never by name."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class Reason(StrEnum):
    """Why an image was left out. The text is public; which file it was is not."""

    NOT_DICOM = "not a DICOM file"
    NO_PIXELS = "no pixel data (directory, report, presentation state, structure set)"
    HEADER_CUT = "header incomplete (SOP class, rows, columns or pixel data missing)"
    UNREADABLE_PIXELS = "pixel data cannot be decoded"
    MULTI_FRAME = "multi-frame image (tiles of a slide, or cohort.frames: refuse)"
    VIDEO = "video"
    COLOUR = "colour image"
    CONSTANT = "all pixels have one value"
    NON_FINITE = "pixel values are not finite"
    NO_WINDOW = "no window and no stored range to map values by (set cohort.window to mode: fixed)"
    NO_PATIENT = "patient id missing"
    NO_LABEL = "label missing"
    UNKNOWN_LABEL = "label not among the policy's classes"
    UNKNOWN_FINDING = "finding that no class of the policy asks about"
    NO_CLASS = "findings that no class of the policy has"
    CONTRADICTORY = "label that names a finding and the absence of any"
    DUPLICATE = "same instance twice with different content"
    COPY = "byte-equal copy of a file already taken"
    TWO_PATIENTS = "one image claimed by two patients"
    MASK_SIZE = "mask of another size than its image"
    MASK_UNREADABLE = "mask cannot be read"
    MASK_PLACE = "mask that lies elsewhere than its image"
    NO_MASK = "mask missing"
    FILE_MISSING = "file named in the table is not there"
    BURNED_IN = "declared to carry burned-in annotation"
    IMPLAUSIBLE_SIZE = "image smaller than 8 pixels on a side, or larger than any real one"


@dataclass(frozen=True)
class Refusal:
    """One image that was left out, and why. ``path`` is private."""

    path: Path
    reason: Reason
    detail: str = ""

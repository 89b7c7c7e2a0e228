"""What a header must hold for its file to be read as grey images."""

from __future__ import annotations

from synthrelease.dicom.decoding import is_video
from synthrelease.dicom.frames import MOST_FRAMES
from synthrelease.dicom.header import Header
from synthrelease.dicom.opening import SLIDE_TILES, is_image_class, is_uid
from synthrelease.records.refusals import Reason

SMALLEST_SIDE = 8
MOST_PIXELS = 1 << 26
"""A larger frame is taken for a broken header: a mammogram has 2^25 pixels at most."""


def judged(header: Header, syntax: str, frames: int, *, pixels: bool = True) -> tuple[Reason, str] | None:
    """Why an image is refused by its header; None when it is not."""
    sop_class = header.text(0x00080016)
    if not is_uid(sop_class):
        return Reason.HEADER_CUT, "no SOP class"
    is_image = is_image_class(sop_class)
    if is_image is False:
        return Reason.NO_PIXELS, "not an image class"
    if not pixels:
        return (Reason.NO_PIXELS if is_image is None else Reason.HEADER_CUT), "no pixel data"
    if is_video(syntax):
        return Reason.VIDEO, ""
    if not is_uid(header.text(0x00080018)):
        return Reason.HEADER_CUT, "no SOP instance UID"
    rows, columns = header.number(0x00280010, 0), header.number(0x00280011, 0)
    photometric = header.text(0x00280004)
    if not rows or not columns or not photometric:
        return Reason.HEADER_CUT, "no rows, columns or photometric interpretation"
    if sop_class == SLIDE_TILES:
        return Reason.MULTI_FRAME, "tiles of a slide"
    if frames > MOST_FRAMES:
        return Reason.IMPLAUSIBLE_SIZE, "too many frames"
    if header.number(0x00280002, 1) != 1 or photometric not in ("MONOCHROME1", "MONOCHROME2"):
        return Reason.COLOUR, ""
    if min(rows, columns) < SMALLEST_SIDE:
        return Reason.IMPLAUSIBLE_SIZE, ""
    if rows * columns > MOST_PIXELS:
        return Reason.IMPLAUSIBLE_SIZE, "too many pixels"
    if header.text(0x00280301) == "YES":
        return Reason.BURNED_IN, ""
    return None

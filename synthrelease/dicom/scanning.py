"""The first look at a file: what it is, which instance, whose, and which images a mask belongs to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from sys import intern

from synthrelease.dicom.frames import DERIVATION_IMAGE, PER_FRAME, SHARED, SOURCE_IMAGE, frame_count
from synthrelease.dicom.header import Header, opened, walked
from synthrelease.dicom.opening import DIRECTORY, SEGMENTATION_CLASSES, STRUCTURE_SET, is_image_class, is_uid, quiet
from synthrelease.records.refusals import Reason, Refusal


class Kind(StrEnum):
    """What a reader does with a file."""

    IMAGE = "image"
    MASK = "mask"
    DIRECTORY = "directory"


@dataclass(frozen=True, slots=True)
class Found:
    """A file worth reading.

    Attributes:
        path: Private.
        kind: Image, mask (a segmentation or a structure set), or a DICOMDIR, which is passed over.
        sop_uid: SOP Instance UID. Private.
        issuer: Issuer of Patient ID, compared but never shown; "" when missing. Private.
        patient: Patient ID, likewise.
        references: SOP Instance UIDs of the images that a mask belongs to; none where it only tells places.
        frames: Of an image.
        series_uid: Series Instance UID of an image, or of the only series that a mask names; "" when not told.
        frame_of_reference: UID of the coordinates; "" when not told.
    """

    path: Path
    kind: Kind
    sop_uid: str
    issuer: str
    patient: str
    references: tuple[str, ...] = ()
    frames: int = 1
    series_uid: str = ""
    frame_of_reference: str = ""


def scan(path: Path) -> Found | Refusal:
    """Look at a file's header.

    Only what decides between the files is judged here; `open_image` judges the image.

    Returns:
        What was found, or a refusal: no DICOM, no image, or no instance UID.
    """
    try:
        header, _ = walked(path)
        if is_uid(header.text(0x00080016)):
            return _judged(path, header)
    except (ValueError, OSError, RecursionError):
        pass
    with quiet():
        found = opened(path)
        if isinstance(found, Refusal):
            return found
        try:
            dataset = found[0].dataset
            if not dataset.get("SOPInstanceUID"):
                dataset.SOPInstanceUID = dataset.file_meta.get("MediaStorageSOPInstanceUID") or ""
            return _judged(path, found[0])
        except Exception:  # Elements are parsed late: broken ones raise almost anything.
            return Refusal(path, Reason.HEADER_CUT, "an element cannot be parsed")


def _judged(path: Path, header: Header) -> Found | Refusal:
    sop_class, sop_uid = header.text(0x00080016), header.text(0x00080018)
    if sop_class == DIRECTORY:
        return Found(path, Kind.DIRECTORY, "", "", "")
    mask = sop_class in SEGMENTATION_CLASSES or sop_class == STRUCTURE_SET
    if not mask and is_image_class(sop_class) is False:
        return Refusal(path, Reason.NO_PIXELS, "not an image class")
    if not is_uid(sop_uid):
        return Refusal(path, Reason.MASK_UNREADABLE if mask else Reason.HEADER_CUT, "no SOP instance UID")
    whose = header.name(0x00100021), header.name(0x00100020)
    if not mask:
        series, reference = intern(header.text(0x0020000E)), intern(header.text(0x00200052))
        return Found(path, Kind.IMAGE, sop_uid, *whose, (), frame_count(header), series, reference)
    if sop_class == STRUCTURE_SET:
        uids, series_uids, reference = _structures(header)
    else:
        uids, series_uids, reference = *_segmentation(header), header.text(0x00200052)
    series = next(iter(series_uids)) if len(series_uids) == 1 else ""
    return Found(path, Kind.MASK, sop_uid, *whose, tuple(uids), 1, series, reference)


def _segmentation(header: Header) -> tuple[dict[str, None], set[str]]:
    """Images and series that a segmentation names."""
    found: dict[str, None] = {}
    series_uids = set()
    for series in header.items(0x00081115):
        series_uids.add(series.text(0x0020000E))
        for instance in series.items(0x0008114A):
            found[instance.text(0x00081155)] = None
    if not found:
        for group in (*header.items(SHARED), *header.items(PER_FRAME)):
            for derivation in group.items(DERIVATION_IMAGE):
                for source in derivation.items(SOURCE_IMAGE):
                    found[source.text(0x00081155)] = None
    return found, series_uids - {""}


def _structures(header: Header) -> tuple[dict[str, None], set[str], str]:
    """Images, series and frame of reference that a structure set names (PS3.3, sections C.8.8.5 and C.8.8.6)."""
    found: dict[str, None] = {}
    series_uids, references = set(), set()
    for reference in header.items(0x30060010):
        references.add(reference.text(0x00200052))
        for study in reference.items(0x30060012):
            for series in study.items(0x30060014):
                series_uids.add(series.text(0x0020000E))
                for image in series.items(0x30060016):
                    found[image.text(0x00081155)] = None
    for uid in contour_images(header):
        found[uid] = None
    only = next(iter(references)) if len(references) == 1 else ""
    return found, series_uids - {""}, only


def contour_images(header: Header) -> Iterator[str]:
    """SOP Instance UIDs of the images that contours were drawn on."""
    for region in header.items(0x30060039):
        for contour in region.items(0x30060040):
            for image in contour.items(0x30060016):
                yield image.text(0x00081155)

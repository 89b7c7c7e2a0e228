"""The first look at a file: what it is, which instance, and which images a segmentation refers to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from pydicom.dataset import Dataset

from synthrelease.dicom.elements import Elements, file_elements
from synthrelease.dicom.opening import SEGMENTATION_CLASSES, is_image_class, is_uid, open_dataset, quiet
from synthrelease.records.refusals import Reason, Refusal

_HEAD = 1 << 16
"""Bytes read first; headers of single images are nearly always shorter."""


class Kind(StrEnum):
    """What a reader does with a file."""

    IMAGE = "image"
    MASK = "mask"


@dataclass(frozen=True, slots=True)
class Found:
    """A file worth reading.

    Attributes:
        path: Private.
        kind: Image or mask.
        sop_uid: SOP Instance UID. Private.
        patient: Issuer and id as stored, compared but never shown. b"|" when both are missing. Private.
        references: SOP Instance UIDs of the images that a segmentation belongs to.
    """

    path: Path
    kind: Kind
    sop_uid: str
    patient: bytes
    references: tuple[str, ...] = ()


def scan(path: Path) -> Found | Refusal:
    """Look at a file's header.

    Only what decides between the files is judged here; `read_image` judges the image.

    Returns:
        What was found, or a refusal: no DICOM, no image, or no instance UID.
    """
    try:
        return _walked(path)
    except (ValueError, OSError, RecursionError):
        with quiet():
            return _opened(path)


def _walked(path: Path) -> Found | Refusal:
    with path.open("rb") as stream:
        content = stream.read(_HEAD)
        whole = len(content) < _HEAD
        try:
            elements, _ = file_elements(content, pixels=False, whole=whole)
        except ValueError:
            if whole:
                raise
            content += stream.read()
            elements, _ = file_elements(content, pixels=False)
    sop_class, sop_uid = elements.text(0x00080016), elements.text(0x00080018)
    if not is_uid(sop_class):
        raise ValueError("no SOP class")
    issuer, patient = (elements.raw(tag).strip(b"\0 ") for tag in (0x00100021, 0x00100020))
    return _judged(path, sop_class, sop_uid, issuer + b"|" + patient, lambda: _walked_references(elements))


def _judged(
    path: Path, sop_class: str, sop_uid: str, patient: bytes, references: Callable[[], list[str]]
) -> Found | Refusal:
    if sop_class in SEGMENTATION_CLASSES:
        if not is_uid(sop_uid):
            return Refusal(path, Reason.MASK_UNREADABLE, "no SOP instance UID")
        return Found(path, Kind.MASK, sop_uid, patient, tuple(references()))
    if is_image_class(sop_class) is False:
        return Refusal(path, Reason.NO_PIXELS, "not an image class")
    if not is_uid(sop_uid):
        return Refusal(path, Reason.HEADER_CUT, "no SOP instance UID")
    return Found(path, Kind.IMAGE, sop_uid, patient)


def _walked_references(elements: Elements) -> list[str]:
    found: dict[str, None] = {}
    for series in elements.items(0x00081115):
        for instance in series.items(0x0008114A):
            found[instance.text(0x00081155)] = None
    if not found:
        for group in (*elements.items(0x52009229), *elements.items(0x52009230)):
            for derivation in group.items(0x00089124):
                for source in derivation.items(0x00082112):
                    found[source.text(0x00081155)] = None
    return list(found)


def _opened(path: Path) -> Found | Refusal:
    dataset = open_dataset(path)
    if isinstance(dataset, Refusal):
        return dataset
    try:
        sop_uid = str(dataset.get("SOPInstanceUID") or "")
        if not sop_uid:
            sop_uid = str(dataset.file_meta.get("MediaStorageSOPInstanceUID") or "")
        patient = "|".join(str(dataset.get(k) or "").strip("\0 ") for k in ("IssuerOfPatientID", "PatientID"))
        return _judged(path, str(dataset.SOPClassUID), sop_uid, patient.encode(), lambda: _opened_references(dataset))
    except Exception:  # Elements are parsed late: broken ones raise almost anything.
        return Refusal(path, Reason.HEADER_CUT, "an element cannot be parsed")


def _opened_references(dataset: Dataset) -> list[str]:
    found: dict[str, None] = {}
    for series in dataset.get("ReferencedSeriesSequence") or ():
        for instance in series.get("ReferencedInstanceSequence") or ():
            found[str(instance.ReferencedSOPInstanceUID)] = None
    if not found:
        for group in (
            *(dataset.get("SharedFunctionalGroupsSequence") or ()),
            *(dataset.get("PerFrameFunctionalGroupsSequence") or ()),
        ):
            for derivation in group.get("DerivationImageSequence") or ():
                for source in derivation.get("SourceImageSequence") or ():
                    found[str(source.ReferencedSOPInstanceUID)] = None
    return list(found)

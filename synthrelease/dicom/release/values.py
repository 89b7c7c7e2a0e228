"""What differs between two files of one kind: UIDs, the patient's number, and the file's own two numbers.

Names of values are those of `UidKind` and the four below; all of them follow from the settings and the file's place.
"""

from __future__ import annotations

import functools

from synthrelease.dicom.release.layout import FileKind, Place
from synthrelease.dicom.release.settings import ArchiveSettings
from synthrelease.dicom.release.uids import UidKind, release_uid
from synthrelease.records.digests import digest_of

PATIENT_ID = "patient id"
PATIENT_NAME = "patient name"
SERIES_NUMBER = "series number"
INSTANCE_NUMBER = "instance number"

_OF_IMAGE = (UidKind.STUDY, UidKind.IMAGE_SERIES, UidKind.IMAGE, UidKind.FRAME_OF_REFERENCE)
_OWN = {
    FileKind.IMAGE: (),
    FileKind.MASK: (UidKind.MASK_SERIES, UidKind.MASK, UidKind.DIMENSIONS),
    FileKind.REPORT: (UidKind.REPORT_SERIES, UidKind.REPORT, UidKind.TRACKING),
}


def patient_id(patient: int, settings: ArchiveSettings) -> str:
    """Patient ID of a synthetic patient, counted from 1.

    Many an archive knows a patient by this alone, without its issuer: four digits of the release keep patients of one
    number in two releases apart.
    """
    return f"SYN-{_release_digits(settings.release_name, settings.edition)}-{patient:0{settings.digits}d}"


def patient_name(patient: int, settings: ArchiveSettings) -> str:
    """Patient Name of a synthetic patient; two parts, since one alone is a retired form."""
    return f"SYNTHETIC^{patient:0{settings.digits}d}"


def uid_of(kind: UidKind, place: Place, settings: ArchiveSettings) -> str:
    """One UID of a file: a study is the patient's, everything else the image's, masks in several files each their own.

    A series has one frame of reference and nothing places two synthetic images in one space, so every image has a
    series and a frame of reference of its own.
    """
    index = place.patient if kind is UidKind.STUDY else place.number
    part = 0 if kind in _OF_IMAGE else place.part
    return release_uid(settings.release_name, kind, index, part=part, edition=settings.edition)


def series_number(place: Place, settings: ArchiveSettings) -> int:
    """Series Number, unique in the study: image 1, masks 2, report 3; the patient's next image goes on from there."""
    series_an_image = 1 + settings.mask_files + settings.reports
    offset = {FileKind.IMAGE: 0, FileKind.MASK: 1 + place.part, FileKind.REPORT: 1 + settings.mask_files}[place.kind]
    return (place.image - 1) * series_an_image + 1 + offset


def is_wide(place: Place, settings: ArchiveSettings) -> bool:
    """Whether the series number needs four bytes in the file instead of two; the one width that varies."""
    return series_number(place, settings) > 99


def values_of(place: Place, settings: ArchiveSettings) -> dict[str, bytes]:
    """Every value of a file but its pixels, as it stands in the file."""
    return shared_values(place, settings) | own_values(place, settings)


def shared_values(place: Place, settings: ArchiveSettings) -> dict[str, bytes]:
    """What an image and the files that belong to it have in common."""
    values = _uids(_OF_IMAGE, place, settings)
    values[PATIENT_ID] = patient_id(place.patient, settings).encode("ascii")
    values[PATIENT_NAME] = patient_name(place.patient, settings).encode("ascii")
    values[INSTANCE_NUMBER] = _even(place.image)
    return values


def own_values(place: Place, settings: ArchiveSettings) -> dict[str, bytes]:
    """What only this file of the image has."""
    values = _uids(_OWN[place.kind], place, settings)
    values[SERIES_NUMBER] = _even(series_number(place, settings))
    return values


@functools.lru_cache(maxsize=16)
def _release_digits(release_name: str, edition: str) -> str:
    return digest_of(["synthrelease patient id 1", release_name, edition])[:4].upper()


def _uids(kinds: tuple[UidKind, ...], place: Place, settings: ArchiveSettings) -> dict[str, bytes]:
    return {str(kind): uid_of(kind, place, settings).encode("ascii") for kind in kinds}


def _even(number: int) -> bytes:
    """An Integer String with the blank that makes its length even (PS3.5, section 6.2)."""
    text = b"%d" % number
    return text + b" " * (len(text) % 2)

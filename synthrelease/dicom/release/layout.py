"""Which file of an archive lies where, and which number stands in which name.

    DICOM/P000001/S0000001/I0000001     image 1 of patient 1
    DICOM/P000001/S0000001/M0000001     its masks; M0100001, M0200001 ... with one file a segment
    DICOM/P000001/S0000001/R0000001     its report

Names have at most 8 characters of A-Z and 0-9 and no extension, so a DICOMDIR stays possible (PS3.10, section 8.2).
Numbers have one width in the whole archive, so names in byte order are images in order within each patient's kinds.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from synthrelease.dicom.release.settings import ArchiveSettings

ROOT = "DICOM"
STUDY_FOLDER = "S0000001"

_PATH = re.compile(rf"{ROOT}/P(\d{{6,7}})/{STUDY_FOLDER}/([IMR])(\d{{7}})", re.ASCII)


class FileKind(StrEnum):
    """What a DICOM file of an archive holds; the first letter of its name."""

    IMAGE = "I"
    MASK = "M"
    REPORT = "R"


@dataclass(frozen=True)
class Place:
    """One file of an archive.

    Attributes:
        kind: What it holds.
        number: Of its image in the archive, from 1.
        patient: Number of the patient, from 1.
        image: Which of the patient's images, from 1.
        part: Of a mask file: which of the image's mask files, from 0.
    """

    kind: FileKind
    number: int
    patient: int
    image: int
    part: int = 0


def patient_folder(patient: int, settings: ArchiveSettings) -> str:
    """The folder of a patient's files, relative to the archive."""
    return f"{ROOT}/P{patient:0{settings.digits}d}/{STUDY_FOLDER}"


def file_name(place: Place, settings: ArchiveSettings) -> str:
    """The name of a file in its patient's folder."""
    if place.kind is FileKind.MASK and settings.one_file_per_segment:
        return f"M{place.part + 1:02d}{place.image:05d}"
    return f"{place.kind}{place.image:07d}"


def path_of(place: Place, settings: ArchiveSettings) -> str:
    """The path of a file relative to the archive."""
    return f"{patient_folder(place.patient, settings)}/{file_name(place, settings)}"


def place_of(number: int, settings: ArchiveSettings, kind: FileKind = FileKind.IMAGE, part: int = 0) -> Place:
    """Where image `number` (from 1), or a file that belongs to it, lies."""
    patient, image = divmod(number - 1, settings.images_per_patient)
    return Place(kind, number, patient + 1, image + 1, part)


def place_at(path: str, settings: ArchiveSettings) -> Place | None:
    """The file that a path names; None when the archive has no such file."""
    found = _PATH.fullmatch(path)
    if found is None:
        return None
    patient, kind, digits = int(found[1]), FileKind(found[2]), found[3]
    part, image = 0, int(digits)
    if kind is FileKind.MASK and settings.one_file_per_segment:
        part, image = int(digits[:2]) - 1, int(digits[2:])
    number = (patient - 1) * settings.images_per_patient + image
    place = Place(kind, number, patient, image, part)
    in_range = patient >= 1 and 1 <= image <= settings.images_per_patient and number <= settings.images
    if in_range and part in range(parts_of(kind, settings)) and path_of(place, settings) == path:
        return place
    return None


def parts_of(kind: FileKind, settings: ArchiveSettings) -> int:
    """Files of a kind that every image has."""
    return {FileKind.IMAGE: 1, FileKind.MASK: settings.mask_files, FileKind.REPORT: int(settings.reports)}[kind]


def places_of_patient(patient: int, settings: ArchiveSettings) -> Iterator[Place]:
    """A patient's files in the byte order of their names."""
    first = (patient - 1) * settings.images_per_patient + 1
    numbers = range(first, min(first + settings.images_per_patient, settings.images + 1))
    for kind in FileKind:
        for part in range(parts_of(kind, settings)):
            for number in numbers:
                yield place_of(number, settings, kind, part)

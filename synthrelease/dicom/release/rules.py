"""What archive settings must keep, each rule with the policy's key for it; all broken ones are told at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from re import fullmatch
from typing import TYPE_CHECKING

from synthrelease.dicom.image import ImageClass, check_body_part, highest_level
from synthrelease.dicom.mask_forms import SMALLEST_JPEG_2000, Compression, check_form
from synthrelease.dicom.segments import segment
from synthrelease.errors import UsageError

if TYPE_CHECKING:
    from synthrelease.dicom.release.settings import ArchiveSettings

MOST_PATIENTS = 9_999_999
"""Seven digits after the P of a folder name of 8 characters."""

MOST_IMAGES_A_PATIENT = 99
"""Two digits: an instance number of every image then has the same width in the file."""

SMALLEST_SIDE, LARGEST_SIDE = 8, 65535

LABEL_COLUMNS = ("file", "sop_instance_uid", "patient_id", "label", "mask_file", "report_file")
"""What every label table of an archive has; the last only with reports."""

Broken = tuple[str, str]
"""The policy's key, and what is wrong with its value."""


def broken_rules(settings: ArchiveSettings) -> list[str]:
    """Every rule that the settings break, as "key: what is wrong"."""
    found = [*_texts(settings), *_lists(settings), *_numbers(settings), *_forms(settings)]
    return [f"{key}: {what}" for key, what in found]


def _texts(settings: ArchiveSettings) -> Iterator[Broken]:
    name = r"[A-Za-z0-9][A-Za-z0-9._ -]{0,48}[A-Za-z0-9]|[A-Za-z0-9]"
    day = r"\d{4}(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])"
    text = r"[^\\]{1,64}"
    for key, value, pattern, wanted in (
        ("release.name", settings.release_name, name, "1 to 50 letters, digits, spaces, '.', '_' or '-'"),
        ("archive.release_date", settings.study_date, day, "a date YYYYMMDD"),
        ("study time", settings.study_time, r"([01]\d|2[0-3])[0-5]\d[0-5]\d", "a time HHMMSS"),
        ("software", settings.software, text, "1 to 64 characters without a backslash"),
        ("software version", settings.software_version, text, "1 to 64 characters without a backslash"),
    ):
        if not fullmatch(pattern, value):
            yield key, f"{value!r} is not {wanted}"
    yield from _refused("cohort.body_part", lambda: check_body_part(settings.body_part))


def _lists(settings: ArchiveSettings) -> Iterator[Broken]:
    if not settings.classes:
        yield "cohort.classes", "no class is named"
    for key, names in (("cohort.classes", settings.classes), ("cohort.segments", settings.segments)):
        if len(set(names)) != len(names):
            yield key, "a name is given twice"
    for name in settings.segments:
        yield from _refused("cohort.segments", lambda name=name: segment(name))  # type: ignore[misc]
    told = [note.name for note in settings.notes]
    for name in told:
        if not fullmatch(r"[a-z][a-z0-9_]{0,63}", name) or name in LABEL_COLUMNS or told.count(name) > 1:
            yield "generator", f"{name!r} cannot be a further column of the label table"


def _numbers(settings: ArchiveSettings) -> Iterator[Broken]:
    if not all(0 < distance < 1000 for distance in settings.spacing_mm):
        yield "cohort.field_of_view_mm", "the distance of pixels is not above 0 and below 1000 mm"
    if not all(SMALLEST_SIDE <= side <= LARGEST_SIDE for side in (settings.rows, settings.columns)):
        yield (
            "cohort.resolution",
            f"{settings.rows} x {settings.columns} pixels are not {SMALLEST_SIDE} to {LARGEST_SIDE} a side",
        )
    if not 1 <= settings.images_per_patient <= MOST_IMAGES_A_PATIENT:
        yield "archive.images_per_patient", f"{settings.images_per_patient} is not 1 to {MOST_IMAGES_A_PATIENT}"
    if settings.images < 1:
        yield "archive.images", "there is no image"
    if settings.patients > MOST_PATIENTS:
        yield "archive.images", f"more than {MOST_PATIENTS} patients"
    yield from _refused("archive.bits", lambda: highest_level(settings.bits))


def _forms(settings: ArchiveSettings) -> Iterator[Broken]:
    yield from _refused("archive.masks.compression", lambda: check_form(settings.mask_kind, settings.mask_compression))
    small = min(settings.rows, settings.columns) < SMALLEST_JPEG_2000
    if settings.segments and settings.mask_compression is Compression.JPEG_2000 and small:
        yield "archive.masks.compression", f"jpeg-2000 needs images of at least {SMALLEST_JPEG_2000} pixels a side"
    if settings.image_class is ImageClass.MG and settings.body_part != "BREAST":
        yield "cohort.body_part", f"{settings.body_part} is not shown by a mammogram: use BREAST"
    if settings.value_range is not None and settings.image_class is not ImageClass.CT:
        yield "archive.image_class", f"{settings.image_class} has no Hounsfield units"
    if settings.modality and settings.image_class is not ImageClass.SC:
        yield "archive.image_class", f"{settings.image_class} has a modality of its own"


def _refused(key: str, check: Callable[[], object]) -> Iterator[Broken]:
    try:
        check()
    except UsageError as error:
        yield key, f"{error.message} ({error.fix.rstrip('.')})" if error.fix else error.message

"""One case of a reader study as a DICOM file whose header tells nothing of what it shows.

Every file has the same header but for the instance's number and UID, and the same size: UIDs have the same number of digits,
numbers the same width. Both kinds pass through the same code with the same pixels' scale. The mark of synthetic data (0008,001C)
is left out of all, since it would tell; every file says instead that it belongs to a study inside the house.
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset

from synthrelease.dicom.image import ImageClass, ImageHeader, grey_image
from synthrelease.report.reader_study.key import INTERNAL

FIRST_NUMBER = 1001
"""Instance numbers have four digits from the first to the last, so that all files have one size."""

_DIGITS = 38


@dataclass(frozen=True)
class StudyHeader:
    """What all files of a study share.

    Attributes:
        study: Its public number.
        spacing_mm: Distance between pixel centres, nominal.
        date: YYYYMMDD, the policy's; no clock is read.
        body_part: Body Part Examined.
        image_class: DX, or SC for whatever is no radiograph: a series of CT slices of many people is no volume.
        modality: Of a secondary capture.
    """

    study: str
    spacing_mm: float
    date: str
    body_part: str
    image_class: ImageClass
    modality: str


def study_uid(study: str, name: str) -> str:
    """A UID under 2.25 of always the same length (PS3.5, annex B.2).

    >>> len(study_uid("a", "case 7")), study_uid("a", "case 7") == study_uid("a", "case 8")
    (43, False)
    """
    number = int.from_bytes(hashlib.sha256(f"synthrelease reader study {study} {name}".encode()).digest()[:16])
    least = 10 ** (_DIGITS - 1)
    # Below 2^128, as the root demands.
    return f"2.25.{least + number % (2 * least)}"


def case_name(number: int) -> str:
    """File name of a case, from 1.

    >>> case_name(7)
    'CASE0007.dcm'
    """
    return f"CASE{number:04d}.dcm"


def case_file(levels: npt.NDArray[np.uint16], number: int, header: StudyHeader) -> bytes:
    """The file of one case.

    Args:
        levels: (H, W) uint16, see `grey.study_levels`.
        number: Of the case, from 1.
        header: Of the study.
    """
    uid = study_uid(header.study, f"case {number}")
    fields = ImageHeader(
        patient_id=f"READER-STUDY-{header.study}",
        issuer="SYNTHRELEASE READER STUDY",
        patient_name="INTERNAL^READER STUDY",
        study_uid=study_uid(header.study, "study"),
        series_uid=study_uid(header.study, "series"),
        sop_uid=uid,
        frame_of_reference_uid=study_uid(header.study, "frame"),
        study_id=header.study[:16],
        accession_number="",
        study_date=header.date,
        study_time="000000",
        series_number=1,
        instance_number=FIRST_NUMBER - 1 + number,
        series_description="INTERNAL reader study",
        manufacturer="reader study",
        model_name="reader study",
        software_versions="1",
        spacing_mm=(header.spacing_mm, header.spacing_mm),
        body_part=header.body_part,
        modality=header.modality,
    )
    image = grey_image(levels, fields, header.image_class)
    _mark(image, header)
    stream = io.BytesIO()
    image.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def _mark(image: Dataset, header: StudyHeader) -> None:
    """What every case says of itself, real or not."""
    image.ImageType = ["DERIVED", "SECONDARY", *image.ImageType[2:]]
    image.DerivationDescription = "Resampled and rounded for a blinded reader study"
    image.ImageComments = INTERNAL
    image.StudyDescription = "INTERNAL reader study, not for diagnosis"
    image.PatientIdentityRemoved = "YES"
    image.DeidentificationMethod = "The header was written from a template"
    image.ContentQualification = "RESEARCH"
    if header.image_class is ImageClass.SC:
        image.ConversionType = "WSD"

"""One file of an archive the slow way: by pydicom and highdicom, element by element.

The fast way (`templates`) is made from this one and must give the same bytes.
"""

from __future__ import annotations

from io import BytesIO

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset

from synthrelease.dicom.image import ImageHeader, grey_image
from synthrelease.dicom.release.layout import FileKind, place_of
from synthrelease.dicom.release.settings import ArchiveSettings
from synthrelease.dicom.release.uids import UidKind
from synthrelease.dicom.release.values import patient_id, patient_name, series_number, uid_of


def image_of(levels: npt.NDArray[np.uint16], number: int, settings: ArchiveSettings) -> Dataset:
    """Image `number` of the archive, counted from 1, from (H, W) stored values."""
    place = place_of(number, settings)
    header = ImageHeader(
        patient_id=patient_id(place.patient, settings),
        issuer=settings.issuer,
        patient_name=patient_name(place.patient, settings),
        study_uid=uid_of(UidKind.STUDY, place, settings),
        series_uid=uid_of(UidKind.IMAGE_SERIES, place, settings),
        sop_uid=uid_of(UidKind.IMAGE, place, settings),
        frame_of_reference_uid=uid_of(UidKind.FRAME_OF_REFERENCE, place, settings),
        study_id="1",
        accession_number="",
        study_date=settings.study_date,
        study_time=settings.study_time,
        series_number=series_number(place, settings),
        instance_number=place.image,
        series_description="Synthetic image",
        manufacturer=settings.software,
        model_name=settings.software,
        software_versions=settings.software_version,
        spacing_mm=settings.spacing_mm,
        body_part=settings.body_part,
        modality=settings.modality,
        synthetic=settings.marking,
    )
    return grey_image(levels, header, settings.image_class, bits=settings.bits, value_range=settings.value_range)


def masks_of(
    image: Dataset, masks: npt.NDArray[np.bool_], number: int, settings: ArchiveSettings, part: int = 0
) -> Dataset:
    """Mask file `part` of image `number` from all (K, H, W) masks over it."""
    from synthrelease.dicom.segmentation import segmentation

    place = place_of(number, settings, FileKind.MASK, part)
    shown = slice(part, part + 1) if settings.one_file_per_segment else slice(None)
    return segmentation(
        image,
        masks[shown],
        settings.segments[shown],
        sop_uid=uid_of(UidKind.MASK, place, settings),
        series_uid=uid_of(UidKind.MASK_SERIES, place, settings),
        dimension_uid=uid_of(UidKind.DIMENSIONS, place, settings),
        created_date=settings.study_date,
        created_time=settings.study_time,
        marking=settings.marking,
        kind=settings.mask_kind,
        compression=settings.mask_compression,
        series_number=series_number(place, settings),
        instance_number=place.image,
        series_description=f"Synthetic mask: {settings.segments[part]}"[:64]
        if settings.one_file_per_segment
        else "Synthetic masks",
    )


def report_of(image: Dataset, label: str, number: int, settings: ArchiveSettings) -> Dataset:
    """The report of the class of image `number`."""
    from synthrelease.dicom.report import report

    place = place_of(number, settings, FileKind.REPORT)
    return report(
        image,
        label,
        sop_uid=uid_of(UidKind.REPORT, place, settings),
        series_uid=uid_of(UidKind.REPORT_SERIES, place, settings),
        tracking_uid=uid_of(UidKind.TRACKING, place, settings),
        series_number=series_number(place, settings),
        created_date=settings.study_date,
        created_time=settings.study_time,
        marking=settings.marking,
    )


def file_bytes(instance: Dataset) -> bytes:
    """The instance as a DICOM file (PS3.10)."""
    stream = BytesIO()
    instance.save_as(stream, enforce_file_format=True)
    return stream.getvalue()

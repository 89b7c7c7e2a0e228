"""One synthetic patient: an image, its masks, and the two DICOM files that hold them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from re import fullmatch

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset

from synthrelease.archive.uids import UidKind, release_uid
from synthrelease.dicom.image import MAX_LEVEL, ImageHeader, SyntheticMarking, dx_image
from synthrelease.dicom.segmentation import segmentation
from synthrelease.dicom.segments import segment
from synthrelease.errors import UnsuitableData, UsageError

MASK_THRESHOLD = 0.5
"""A mask value of at least this much is inside."""


@dataclass(frozen=True)
class ArchiveSettings:
    """What all files of one archive share.

    Attributes:
        release_name: Letters, digits, space, ``.``, ``_`` and ``-``; at most 50 characters. Enters every UID.
        segments: Names of the mask channels, in order; empty for an archive without masks.
        classes: Names of the labels, in order.
        spacing_mm: Distance between pixel centres (between rows, between columns).
        software_version: Version of the software that made the images.
        study_date: YYYYMMDD, the release's date; the clock is never read.
        study_time: HHMMSS.
        body_part: Body Part Examined (PS3.16, annex L), e.g. CHEST.
        software: Name of the software that made the images.
        edition: Tells apart archives of one release name, e.g. a checkpoint's digest. Enters every UID.
    """

    release_name: str
    segments: tuple[str, ...]
    classes: tuple[str, ...]
    spacing_mm: tuple[float, float]
    software_version: str
    study_date: str
    study_time: str = "000000"
    body_part: str = "CHEST"
    software: str = "synthrelease"
    edition: str = ""

    def __post_init__(self) -> None:
        problems = [text for wrong, text in self._rules() if wrong]
        if problems:
            raise UsageError("the archive settings break rules: " + "; ".join(problems), fix="Correct the policy.")
        for name in self.segments:
            segment(name)

    def _rules(self) -> list[tuple[bool, str]]:
        return [
            (
                not fullmatch(r"[A-Za-z0-9][A-Za-z0-9._ -]{0,48}[A-Za-z0-9]|[A-Za-z0-9]", self.release_name),
                f"release_name {self.release_name!r} is not 1 to 50 letters, digits, spaces, '.', '_' or '-'",
            ),
            (len(set(self.segments)) != len(self.segments), "a segment is named twice"),
            (not self.classes, "no class is named"),
            (len(set(self.classes)) != len(self.classes), "a class is named twice"),
            (not all(0 < distance < 1000 for distance in self.spacing_mm), "spacing_mm is not above 0 and below 1000"),
            (not fullmatch(r"\d{4}(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])", self.study_date), "study_date is no YYYYMMDD"),
            (not fullmatch(r"([01]\d|2[0-3])[0-5]\d[0-5]\d", self.study_time), "study_time is no HHMMSS"),
            (not fullmatch(r"[A-Z0-9_ ]{1,16}", self.body_part), "body_part is not 1 to 16 capitals, digits or '_'"),
            (not fullmatch(r"[^\\]{1,64}", self.software), "software is not 1 to 64 characters"),
            (not fullmatch(r"[^\\]{1,64}", self.software_version), "software_version is not 1 to 64 characters"),
        ]

    @property
    def marking(self) -> SyntheticMarking:
        """The marking that every file carries."""
        return SyntheticMarking(self.release_name, self.software, self.software_version)

    @property
    def issuer(self) -> str:
        """Issuer of Patient ID: keeps a synthetic patient apart from a real one of the same number."""
        return f"SYNTHRELEASE {self.release_name}"

    def uid(self, kind: UidKind, number: int) -> str:
        """The UID of one object of patient `number`."""
        return release_uid(self.release_name, kind, number, edition=self.edition)


def patient_id(number: int) -> str:
    """Patient ID of the synthetic patient `number`, counted from 1."""
    return f"SYN-{number:06d}"


def levels_of(images: npt.NDArray[np.float32]) -> npt.NDArray[np.uint16]:
    """Pixel values in [-1, 1] as stored values in 0..4095; values beyond the ends are cut off.

    Args:
        images: Any shape, float32.

    Returns:
        Same shape, uint16.

    Raises:
        UnsuitableData: A value is not finite.
    """
    if not np.isfinite(images).all():
        raise UnsuitableData(
            "a synthetic image holds values that are not finite", fix="The generator diverged; train it again."
        )
    scaled = (np.clip(images.astype(np.float64), -1.0, 1.0) + 1.0) * (MAX_LEVEL / 2)
    return np.rint(scaled).astype(np.uint16)


def image_of(levels: npt.NDArray[np.uint16], number: int, settings: ArchiveSettings) -> Dataset:
    """The DX image of patient `number` from (H, W) stored values."""
    return dx_image(
        levels,
        ImageHeader(
            patient_id=patient_id(number),
            issuer=settings.issuer,
            patient_name=f"SYNTHETIC^{number:06d}",
            study_uid=settings.uid(UidKind.STUDY, number),
            series_uid=settings.uid(UidKind.IMAGE_SERIES, number),
            sop_uid=settings.uid(UidKind.IMAGE, number),
            frame_of_reference_uid=settings.uid(UidKind.FRAME_OF_REFERENCE, number),
            study_id="1",
            accession_number="",
            study_date=settings.study_date,
            study_time=settings.study_time,
            series_number=1,
            instance_number=1,
            manufacturer=settings.software,
            model_name=settings.software,
            software_versions=settings.software_version,
            spacing_mm=settings.spacing_mm,
            body_part=settings.body_part,
            synthetic=settings.marking,
        ),
    )


def masks_of(
    image: Dataset, masks: npt.NDArray[np.bool_], names: Sequence[str], number: int, settings: ArchiveSettings
) -> Dataset:
    """The segmentation of patient `number` from (K, H, W) masks over its image."""
    return segmentation(
        image,
        masks,
        names,
        sop_uid=settings.uid(UidKind.MASK, number),
        series_uid=settings.uid(UidKind.MASK_SERIES, number),
        dimension_uid=settings.uid(UidKind.DIMENSIONS, number),
        created_date=settings.study_date,
        created_time=settings.study_time,
        marking=settings.marking,
    )


def file_bytes(instance: Dataset) -> bytes:
    """The instance as a DICOM file (PS3.10)."""
    stream = BytesIO()
    instance.save_as(stream, enforce_file_format=True)
    return stream.getvalue()

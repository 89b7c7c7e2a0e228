"""Folders of radiographs with segmentations, any number of them in seconds.

A few pairs are written the slow way; the others are their bytes with other UIDs and patient ids of the same lengths.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from openjpeg.utils import encode_array
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000Lossless, RLELossless

from synthrelease.dicom.image import ImageHeader, dx_image
from synthrelease.dicom.segmentation import segmentation

SEGMENTS = ("right_lung", "left_lung", "heart")
PROTOTYPES = 4
_UID_DIGITS = 39


@dataclass(frozen=True)
class Cohort:
    """What is written and read.

    Attributes:
        side: Pixels on a side.
        resolution: That it is read at.
        images: How many.
        masked: Whether every image has a segmentation.
        coding: none, rle or jpeg-2000.
    """

    side: int
    resolution: int
    images: int
    masked: bool = True
    coding: str = "none"

    @property
    def name(self) -> str:
        """For tables."""
        masks = f", {len(SEGMENTS)} masks" if self.masked else ""
        return f"{self.side} to {self.resolution} px{masks}" + ("" if self.coding == "none" else f", {self.coding}")


def _uid(*numbers: int) -> str:
    whole = sum(number * 10 ** (12 * place) for place, number in enumerate(numbers, start=1))
    return f"2.25.{10 ** (_UID_DIGITS - 1) + whole}"


def _patient(number: int) -> str:
    return f"PID-{number:08d}"


def scene(side: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(H, W) values of 12 bits, and (K, H, W) discs."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] / side
    centres = ((0.5, 0.3), (0.5, 0.7), (0.6, 0.45))
    masks = np.stack([np.hypot((y - row) / 1.4, x - column) < rng.uniform(0.12, 0.2) for row, column in centres])
    values = 900 + 1200 * y + 700 * masks[0] + 650 * masks[1] - 400 * masks[2] + rng.normal(0, 40, (side, side))
    return np.clip(values, 0, 4095).astype(np.uint16), masks


def _pair(cohort: Cohort, prototype: int) -> tuple[Dataset, Dataset | None]:
    levels, masks = scene(cohort.side, prototype)
    header = ImageHeader(
        patient_id=_patient(0),
        issuer="HOSPITAL",
        patient_name="DOE^JANE",
        study_uid=_uid(1),
        series_uid=_uid(2),
        sop_uid=_uid(3),
        frame_of_reference_uid=_uid(4),
        study_id="1",
        accession_number="",
        study_date="20240102",
        study_time="101112",
        series_number=1,
        instance_number=1,
        manufacturer="Maker",
        model_name="Model",
        software_versions="1",
        spacing_mm=(1.0, 1.0),
    )
    image = dx_image(levels, header)
    file = None
    if cohort.masked:
        uids = {"sop_uid": _uid(5), "series_uid": _uid(6), "dimension_uid": _uid(7)}
        dated = {"created_date": "20240102", "created_time": "101112"}
        file = segmentation(image, masks, SEGMENTS, marking=None, **uids, **dated)
    _CODINGS[cohort.coding](image, levels)
    return image, file


def _jpeg_2000(image: Dataset, levels: np.ndarray) -> None:
    image.file_meta.TransferSyntaxUID = JPEG2000Lossless
    image.PixelData = encapsulate([encode_array(levels, bits_stored=12, photometric_interpretation=2)])
    image["PixelData"].is_undefined_length = True
    image["PixelData"].VR = "OB"


_CODINGS: dict[str, Callable[[Dataset, np.ndarray], Any]] = {
    "none": lambda image, levels: None,
    "rle": lambda image, levels: image.compress(RLELossless, generate_instance_uid=False),
    "jpeg-2000": _jpeg_2000,
}


def write(cohort: Cohort, folder: Path) -> None:
    """Write a cohort and its labels."""
    folder.mkdir(parents=True)
    rows = ["SOPInstanceUID,label"]
    for prototype in range(PROTOTYPES):
        contents = []
        for dataset in _pair(cohort, prototype):
            if dataset is not None:
                dataset.save_as(folder / "prototype", enforce_file_format=True)
                contents.append((folder / "prototype").read_bytes())
        (folder / "prototype").unlink()
        for number in range(prototype, cohort.images, PROTOTYPES):
            place = folder / f"{number % 100:02d}" / f"{number:08d}"
            place.mkdir(parents=True)
            for name, content in zip(("image.dcm", "mask.dcm"), contents, strict=False):
                own = content.replace(_patient(0).encode(), _patient(number).encode())
                for part in range(1, 8):
                    own = own.replace(_uid(part).encode(), _uid(part, number + 1).encode())
                (place / name).write_bytes(own)
            rows.append(f"{_uid(3, number + 1)},{('normal', 'sick')[number % 2]}")
    (folder / "labels.csv").write_text("\n".join(rows) + "\n")

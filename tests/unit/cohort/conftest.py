"""Small cohorts on disk: DICOM with segmentations, and pictures with a table."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydicom.uid import generate_uid

from synthrelease.dicom.image import ImageHeader, SyntheticMarking, dx_image
from synthrelease.dicom.segmentation import segmentation
from synthrelease.policy.schema import CohortSettings

CLASSES = ("normal", "sick")
SIDE = 32


@dataclass
class DicomCohort:
    """A folder that is filled by `add`."""

    folder: Path
    labels: list[tuple[str, str]] = field(default_factory=list)

    def add(
        self,
        patient: str,
        *,
        label: str | None = "normal",
        names: tuple[str, ...] = ("lung",),
        seed: int | None = None,
        issuer: str = "HOSP",
        name: str | None = None,
        marking: SyntheticMarking | None = None,
        shape: tuple[int, int] = (SIDE, SIDE),
        **changes: Any,
    ) -> tuple[str, np.ndarray, np.ndarray]:
        """Write one image with its segmentation; SOP Instance UID, levels and masks come back."""
        index = len(list(self.folder.rglob("*.dcm")))
        rng = np.random.default_rng(index if seed is None else seed)
        levels = rng.integers(0, 4096, shape).astype(np.uint16)
        uid = changes.pop("SOPInstanceUID", generate_uid())
        header = ImageHeader(
            patient_id=patient,
            issuer=issuer,
            patient_name="DOE^JANE",
            study_uid=generate_uid(),
            series_uid=generate_uid(),
            sop_uid=uid,
            frame_of_reference_uid=generate_uid(),
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
            synthetic=marking,
        )
        image = dx_image(levels, header)
        masks = rng.random((len(names), *shape)) > 0.5
        place = self.folder / (name or f"study{index:04d}")
        place.mkdir(parents=True)
        if names:
            uids = {key: generate_uid() for key in ("sop_uid", "series_uid", "dimension_uid")}
            seg = segmentation(
                image, masks, names, **uids, created_date="20240102", created_time="101112", marking=marking
            )
            seg.save_as(place / "mask.dcm", enforce_file_format=True)
        for keyword, value in changes.items():
            setattr(image, keyword, value)
        image.save_as(place / "image.dcm", enforce_file_format=True)
        if label is not None:
            self.labels.append((str(uid), label))
        return str(uid), levels, masks

    def fill(self, patients: int) -> DicomCohort:
        """Add patients, every other one sick."""
        for index in range(patients):
            self.add(f"SECRET{index:03d}", label=CLASSES[index % 2])
        return self

    def finish(self, columns: tuple[str, str] = ("SOPInstanceUID", "label")) -> Path:
        """Write labels.csv."""
        with (self.folder / "labels.csv").open("w", newline="") as stream:
            csv.writer(stream).writerows([columns, *self.labels])
        return self.folder


@pytest.fixture
def dicom(tmp_path: Path) -> DicomCohort:
    folder = tmp_path / "private"
    folder.mkdir()
    return DicomCohort(folder)


@pytest.fixture
def settings() -> Callable[..., CohortSettings]:
    def make(**changes: Any) -> CohortSettings:
        values = {"name": "test", "classes": CLASSES, "segments": ("lung",), "resolution": SIDE, "source": "x"}
        return CohortSettings.model_validate({**values, **changes})

    return make


@dataclass
class Pictures:
    """A folder of PNG files and the rows of its table."""

    folder: Path
    rows: list[dict[str, str]] = field(default_factory=list)

    def add(self, patient: str, label: str = "normal", **cells: str) -> np.ndarray:
        """Write an image with its mask, and a row."""
        index = len(self.rows)
        rng = np.random.default_rng(index)
        pixels = rng.integers(0, 256, (SIDE, SIDE)).astype(np.uint8)
        Image.fromarray(pixels).save(self.folder / f"i{index}.png")
        Image.fromarray((rng.random((SIDE, SIDE)) > 0.5).astype(np.uint8) * 255).save(self.folder / f"m{index}.png")
        row = {"image": f"i{index}.png", "patient_id": patient, "label": label, "mask": f"m{index}.png"}
        self.rows.append({**row, **cells})
        return pixels

    def finish(self, name: str = "table.csv") -> Path:
        """Write the table."""
        columns = dict.fromkeys(column for row in self.rows for column in row)
        with (self.folder / name).open("w", newline="") as stream:
            writer = csv.DictWriter(stream, list(columns), restval="")
            writer.writeheader()
            writer.writerows(self.rows)
        return self.folder / name


@pytest.fixture
def pictures(tmp_path: Path) -> Pictures:
    folder = tmp_path / "pictures"
    folder.mkdir()
    return Pictures(folder)

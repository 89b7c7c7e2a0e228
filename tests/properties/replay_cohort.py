"""A small hospital's folder, as DICOM and as a table, to which a strange patient can be added."""

from __future__ import annotations

import contextlib
import csv
import io
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset

from synthrelease.cohort.split import draw_split
from synthrelease.dicom.image import ImageHeader, dx_image
from synthrelease.dicom.segmentation import segmentation
from synthrelease.errors import UnsuitableData
from tests.properties.replay_tape import keyed

SIDE = 24
ISSUER = "HOSP"
CLASSES = ("normal", "sick", "rare")
SEGMENT = "nodule"
FIRST, MIDDLE, LAST, HELD_OUT = "A000", "P0105", "Z999", "H000"
"""Ids that sort before, among and after the others; the last one falls into the holdout."""
HOLDOUT = 0.1


def keyed_rng(*words: object) -> np.random.Generator:
    """A generator that the words decide."""
    return np.random.default_rng(keyed(*words))


def uid(*words: object) -> str:
    """A UID that the words decide."""
    return f"2.25.{keyed('uid', *words)}"


def split_seed(issuer: str) -> str:
    """A seed under which the strangers that shall train do, and the one that shall not does not.

    Args:
        issuer: As it stands before the ids: a patient's side follows from both.
    """
    ids = [f"{issuer}|{patient}" for patient in (FIRST, MIDDLE, LAST, HELD_OUT, *ordinary_patients())]
    for number in range(10_000):
        seed = f"{number:04x}"
        with contextlib.suppress(UnsuitableData):  # everybody on one side
            held = draw_split(ids, HOLDOUT, seed)
            if held[:4].tolist() == [False, False, False, True] and 1 <= held[4:].sum() <= 2:
                return seed
    raise AssertionError("no such seed")


def picture(*words: object, side: int = SIDE) -> tuple[npt.NDArray[np.uint16], npt.NDArray[np.bool_]]:
    """A disc on a ramp, 12 bit, and the disc."""
    rng = keyed_rng("picture", *words)
    y, x = np.mgrid[:side, :side]
    disc = np.hypot(y - rng.uniform(6, side - 6), x - rng.uniform(6, side - 6)) < rng.uniform(2, 6)
    levels = 800 + 40 * y + 1200 * disc + rng.normal(0, 60, (side, side))
    return np.clip(levels, 0, 4095).astype(np.uint16), disc


@dataclass
class Hospital:
    """A folder of DICOM files with a table of labels keyed by instance.

    Attributes:
        folder: Where.
        rows: Of the table: instance, class; strangers' are put first.
    """

    folder: Path
    rows: list[tuple[str, str]] = field(default_factory=list)

    def image(
        self,
        patient: str,
        number: int = 0,
        *,
        label: str | None = "normal",
        levels: npt.NDArray[np.uint16] | None = None,
        mask: npt.NDArray[np.bool_] | None = None,
        masked: bool = True,
        issuer: str = ISSUER,
        home: str | None = None,
        segmentation_of: str | None = None,
        **changes: Any,
    ) -> Path:
        """Write an image with its segmentation and note its class.

        Args:
            patient: Patient ID.
            number: Of the image.
            label: Class; None for no row.
            levels: (H, W) stored values; a picture of its own by default.
            mask: (H, W); the picture's by default.
            masked: Whether there is a segmentation.
            issuer: Issuer of Patient ID.
            home: Folder's name; the patient's id by default.
            segmentation_of: Patient ID in the segmentation, when another.
            changes: Elements by keyword, put into the image just before it is written; None removes.
        """
        own_levels, own_mask = picture(patient, number)
        levels = own_levels if levels is None else levels
        mask = own_mask if mask is None else mask
        sop_uid = changes.pop("SOPInstanceUID", uid(patient, number))
        image = dx_image(levels, self._header(patient, number, sop_uid, issuer))
        place = self.folder / (home or patient)
        place.mkdir(exist_ok=True)
        if masked:
            words = ("segmentation", patient, number)
            file = segmentation(
                image,
                mask[None],
                (SEGMENT,),
                sop_uid=uid(*words),
                series_uid=uid(*words, "series"),
                dimension_uid=uid(*words, "dimension"),
                created_date="20240102",
                created_time="101112",
                marking=None,
            )
            if segmentation_of is not None:
                file.PatientID = segmentation_of
            file.save_as(place / f"SEG{number}.dcm", enforce_file_format=True)
        change(image, changes)
        path = place / f"IMG{number}.dcm"
        image.save_as(path, enforce_file_format=True)
        if label is not None:
            self.rows.insert(0, (sop_uid, label))
        return path

    def _header(self, patient: str, number: int, sop_uid: str, issuer: str) -> ImageHeader:
        return ImageHeader(
            patient_id=patient,
            issuer=issuer,
            patient_name=f"DOE^{patient}",
            study_uid=uid("study", patient, number),
            series_uid=uid("series", patient, number),
            sop_uid=sop_uid,
            frame_of_reference_uid=uid("frame", patient, number),
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

    def write_table(self) -> None:
        """Write labels.csv; as text, so that a row can hold anything."""
        text = "SOPInstanceUID,label\n" + "".join(f"{key},{label}\n" for key, label in self.rows)
        (self.folder / "labels.csv").unlink(missing_ok=True)
        (self.folder / "labels.csv").write_text(text)


def change(image: Dataset, changes: Mapping[str, Any]) -> None:
    """Put elements into a data set, by keyword; None removes."""
    for keyword, value in changes.items():
        if value is None:
            delattr(image, keyword)
        else:
            setattr(image, keyword, value)


def ordinary_patients() -> dict[str, list[str]]:
    """Classes of the images of each of 24 patients."""
    wanted = {}
    for index in range(24):
        classes = [CLASSES[index % 2]] * (1 + index % 3)
        wanted[f"P{index:03d}"] = ["rare"] if index in (4, 9, 15) else classes
    wanted["P020"] = ["normal", "sick"]
    return wanted


def write_hospital(folder: Path) -> Hospital:
    """The DICOM folder of the ordinary patients."""
    folder.mkdir(parents=True)
    hospital = Hospital(folder)
    for patient, labels in ordinary_patients().items():
        for number, label in enumerate(labels):
            hospital.image(patient, number, label=label)
    hospital.write_table()
    return hospital


def grown(base: Hospital, folder: Path) -> Hospital:
    """A copy of the hospital to add to; files are shared, so add and replace, never write into one."""
    shutil.copytree(base.folder, folder, copy_function=os.link)
    return Hospital(folder, list(base.rows))


def copied(base: Register, folder: Path) -> Register:
    """The same of a table."""
    shutil.copytree(base.folder, folder, copy_function=os.link)
    return Register(folder, list(base.rows))


@dataclass
class Register:
    """A table of picture files.

    Attributes:
        folder: Where the files lie.
        rows: Cells by column.
    """

    folder: Path
    rows: list[dict[str, str]] = field(default_factory=list)

    def picture(self, patient: str, number: int = 0, *, values: Any = None, mask: Any = None, **cells: str) -> Path:
        """Write an image and a mask as NPY files, and a row before the others."""
        own_levels, own_mask = picture(patient, number)
        name = f"{patient}-{number}.npy"
        np.save(self.folder / name, own_levels.astype(np.float32) if values is None else values)
        np.save(self.folder / f"mask-{name}", own_mask if mask is None else mask)
        row = {"image": name, "patient_id": patient, "label": "normal", f"mask_{SEGMENT}": f"mask-{name}"}
        self.rows.insert(0, {**row, **cells})
        return self.folder / name

    @property
    def table(self) -> Path:
        """The table's file."""
        return self.folder / "labels.csv"

    def write_table(self) -> None:
        """Write the table."""
        text = io.StringIO()
        writer = csv.DictWriter(text, list(self.rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        self.table.unlink(missing_ok=True)
        self.table.write_text(text.getvalue())


def write_register(folder: Path) -> Register:
    """The table of the ordinary patients."""
    folder.mkdir(parents=True)
    register = Register(folder)
    for patient, labels in ordinary_patients().items():
        for number, label in enumerate(labels):
            register.picture(patient, number, label=label)
    register.write_table()
    return register

"""Small archives in every form that a policy can ask for, written by `write_archive`, with what they must hold."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from synthrelease.archive.writer import ArchiveSettings, SampleBatch, held_samples, write_archive
from synthrelease.cohort.phantom.patients import simulate_patient
from synthrelease.dicom.image import ImageClass
from synthrelease.dicom.mask_forms import Compression, MaskKind

SEGMENTS = ("right_lung", "left_lung", "nodule")
CLASSES = ("clear", "nodule")
IMAGES = 4


@dataclass(frozen=True)
class Form:
    """One form of an archive; the defaults are the policy's."""

    image_class: str = "DX"
    bits: int = 12
    images_per_patient: int = 1
    mask_kind: str = "binary"
    compression: str = "none"
    one_file_per_segment: bool = False
    reports: bool = False
    value_range: tuple[float, float] | None = None
    rows: int = 64
    columns: int = 88  # not square, so that swapped axes show

    @property
    def settings(self) -> ArchiveSettings:
        return ArchiveSettings(
            release_name=f"clients {self.name}",
            segments=SEGMENTS,
            classes=CLASSES,
            spacing_mm=(0.5, 0.7),
            software_version="0.1.0",
            study_date="20240102",
            body_part="BREAST" if self.image_class == "MG" else "CHEST",
            images=IMAGES,
            rows=self.rows,
            columns=self.columns,
            image_class=ImageClass(self.image_class),
            bits=self.bits,
            images_per_patient=self.images_per_patient,
            mask_kind=MaskKind(self.mask_kind),
            mask_compression=Compression(self.compression),
            one_file_per_segment=self.one_file_per_segment,
            reports=self.reports,
            value_range=self.value_range,
        )

    @property
    def highest(self) -> int:
        """The largest stored value."""
        return int(2**self.bits - 1)

    @property
    def name(self) -> str:
        """Also the release's name, which enters every UID: archives of two forms never share one."""
        parts = [self.image_class, str(self.bits), self.mask_kind, self.compression]
        parts += [f"{self.images_per_patient} a patient"] if self.images_per_patient > 1 else []
        parts += ["by segment"] if self.one_file_per_segment else []
        parts += ["reports"] if self.reports else []
        parts += [f"{self.rows}x{self.columns}"] if self.rows % 8 else []
        return " ".join(parts)


FORMS = (
    Form(),
    Form(rows=61, columns=83),  # frames of a mask end inside a byte
    Form(bits=16, images_per_patient=2, reports=True),
    Form("CT", reports=True, value_range=(-1000.0, 1000.0)),
    Form("MR", images_per_patient=2),
    Form("MG"),
    Form("SC", bits=16),
    Form(one_file_per_segment=True),
    Form("CT", one_file_per_segment=True),
    Form(mask_kind="labelmap"),
    Form(mask_kind="labelmap", compression="rle"),
    Form(mask_kind="labelmap", compression="jpeg-ls"),
    Form(mask_kind="labelmap", compression="jpeg-2000"),
    Form(compression="jpeg-2000"),
)


def only(wanted: Callable[[Form], bool]) -> pytest.MarkDecorator:
    """Tests with archives of the wanted forms only."""
    forms = [form for form in FORMS if wanted(form)]
    return pytest.mark.parametrize("archive", forms, ids=[form.name for form in forms], indirect=True)


@dataclass(frozen=True)
class Entry:
    """A row of labels.csv with the content that its files must show.

    Attributes:
        image: The image file.
        masks: Its segmentation files.
        report: Its report, or None.
        sop_uid: The image's SOP Instance UID.
        patient_id: Its patient.
        levels: (rows, columns) stored values.
        planes: (segments, rows, columns) bool.
    """

    image: Path
    masks: tuple[Path, ...]
    report: Path | None
    sop_uid: str
    patient_id: str
    levels: npt.NDArray[np.uint16]
    planes: npt.NDArray[np.bool_]

    def planes_of(self, mask: Path) -> npt.NDArray[np.bool_]:
        """The planes that one of the mask files must show: all, or the one that is its own."""
        if len(self.masks) == 1:
            return self.planes
        index = self.masks.index(mask)
        return self.planes[index : index + 1]


@dataclass(frozen=True)
class Archive:
    """An archive as written, and what it was written from."""

    folder: Path
    form: Form
    entries: tuple[Entry, ...]

    @property
    def files(self) -> list[Path]:
        """Every DICOM file."""
        return sorted(path for path in (self.folder / "DICOM").rglob("*") if path.is_file())

    @property
    def masks(self) -> list[tuple[Entry, Path]]:
        """Every mask file with its row."""
        return [(entry, mask) for entry in self.entries for mask in entry.masks]


def written(folder: Path, form: Form) -> Archive:
    """Write an archive of the form: blobs for lungs, nodules that lie in a lung, and two images without one."""
    levels, planes = _content(form)
    batch = SampleBatch(
        (levels / (form.highest / 2) - 1).astype(np.float32)[:, np.newaxis],
        planes.astype(np.float32),
        planes[:, 2].any((1, 2)).astype(np.int64),
    )
    write_archive(folder, held_samples(batch, form.settings), form.settings)
    if form.mask_kind == "labelmap":
        planes = planes.copy()
        planes[:, :2] &= ~planes[:, 2:]  # one number a pixel: the later segment wins
    return Archive(folder, form, _entries(folder, levels, planes))


def _entries(folder: Path, levels: npt.NDArray[np.uint16], planes: npt.NDArray[np.bool_]) -> tuple[Entry, ...]:
    """The rows of labels.csv, in order, with what was written."""
    with (folder / "labels.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    return tuple(
        Entry(
            folder / row["file"],
            tuple(folder / name for name in row["mask_file"].split()),
            folder / row["report_file"] if row.get("report_file") else None,
            row["sop_instance_uid"],
            row["patient_id"],
            grey,
            inside,
        )
        for row, grey, inside in zip(rows, levels, planes, strict=True)
    )


def simulated(folder: Path) -> Archive:
    """An archive as the shipped policies write it, of the simulator's chest radiographs in place of a generator's."""
    image = simulate_patient(seed=5, index=10, size=128).images[0]  # with a nodule in a lung
    settings = ArchiveSettings(
        release_name="simulated",
        segments=tuple(image.masks),
        classes=("nodule",),
        spacing_mm=(2.75, 2.75),
        software_version="0.1.0",
        study_date="20240102",
    )
    planes = np.stack(list(image.masks.values()))[np.newaxis]
    batch = SampleBatch(
        (image.pixels * 2 - 1).astype(np.float32)[np.newaxis, np.newaxis], planes.astype(np.float32), np.zeros(1, int)
    )
    write_archive(folder, held_samples(batch, settings), settings)
    levels = np.rint(image.pixels.astype(np.float64) * 4095).astype(np.uint16)
    return Archive(folder, Form(rows=128, columns=128), _entries(folder, levels[np.newaxis], planes))


def _content(form: Form) -> tuple[npt.NDArray[np.uint16], npt.NDArray[np.bool_]]:
    """(images, rows, columns) stored values and (images, segments, rows, columns) masks."""
    y, x = np.mgrid[: form.rows, : form.columns]
    planes = np.zeros((IMAGES, len(SEGMENTS), *y.shape), bool)
    grey = np.zeros((IMAGES, *y.shape))
    rng = np.random.default_rng(7)
    for index in range(IMAGES):
        planes[index, 0] = ((y - 28) / 22) ** 2 + ((x - 22 - index) / 13) ** 2 < 1
        planes[index, 1] = ((y - 30) / 22) ** 2 + ((x - 58 - index) / 13) ** 2 < 1
        if index < 2:
            planes[index, 2] = (y - 20 - 6 * index) ** 2 + (x - 27 - index) ** 2 < 20
        grey[index] = 0.3 + 0.4 * y / form.rows + 0.05 * rng.standard_normal(y.shape) - 0.2 * planes[index, :2].any(0)
        grey[index] += 0.3 * planes[index, 2]
        grey[index, 0, :2] = 0, 1  # both ends of the range are there
    levels = np.rint(np.clip(grey, 0, 1) * form.highest).astype(np.uint16)
    return levels, planes

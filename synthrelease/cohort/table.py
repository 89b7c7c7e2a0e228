"""A table of pictures, and its poorest form: a folder of pictures without a table."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from synthrelease.cohort.attributes import attributes_of, columns_of
from synthrelease.cohort.labels import read_table
from synthrelease.cohort.masking import masks_without_file, with_absent_findings
from synthrelease.cohort.naming import Naming
from synthrelease.cohort.pictures import Picture, is_nifti, is_picture, read_mask, read_picture
from synthrelease.cohort.planned import read_planned
from synthrelease.cohort.processes import Workers
from synthrelease.cohort.types import BoolArray, SourceImage, patient_key, study_key
from synthrelease.cohort.windows import to_unit
from synthrelease.dicom.opening import list_files
from synthrelease.errors import UsageError
from synthrelease.policy.schema import CohortSettings
from synthrelease.records.refusals import Reason, Refusal


@dataclass(frozen=True)
class Row:
    """One line of a table. Private.

    Attributes:
        image: Where the picture is.
        image_id: How the table names it.
        patient_id: `issuer|id`; None when missing.
        label: As written.
        masks: File by the name of each segment that the table has a column for; None where the cell is empty.
        attributes: Coarse sex, age and scanner, where given.
    """

    image: Path
    image_id: str
    patient_id: str | None
    label: str
    masks: Mapping[str, Path | None]
    attributes: Mapping[str, str] = field(default_factory=dict)


class TableWork:
    """Reads the picture of a row with its masks. Knows nothing of any other row.

    Args:
        settings: How the cohort is read.
    """

    def __init__(self, settings: CohortSettings) -> None:
        self._settings = settings
        self._naming = Naming.of(settings)

    def __call__(self, job: Row, notes: Counter[str]) -> Iterator[SourceImage | Refusal]:
        """Yield the row's image or its refusal."""
        yield self._read(job, notes)

    def _read(self, row: Row, notes: Counter[str]) -> SourceImage | Refusal:
        if row.patient_id is None:
            return Refusal(row.image, Reason.NO_PATIENT)
        label = self._naming.class_of(row.label)
        if isinstance(label, Reason):
            return Refusal(row.image, label)
        picture = read_picture(row.image)
        if isinstance(picture, Reason):
            return Refusal(row.image, picture)
        told: Counter[str] = Counter()  # counted when nothing refuses the image any more
        masks = self._masks(row, label, picture, told) if self._settings.segments else None
        if isinstance(masks, Reason):
            if self._settings.masks == "required":
                return Refusal(row.image, masks)
            told[f"{masks}, image kept without"] += 1
            masks = None
        try:
            pixels = to_unit(picture.values, self._settings.window, value_range=picture.value_range, own=picture.own)
        except (ValueError, ArithmeticError):
            return Refusal(row.image, Reason.NO_WINDOW)
        if pixels.min() == pixels.max():
            return Refusal(row.image, Reason.CONSTANT, "within the window")
        notes.update(told)
        return SourceImage(row.image_id, row.patient_id, pixels, masks, label, picture.digest, row.attributes)

    def _masks(self, row: Row, label: str, picture: Picture, notes: Counter[str]) -> BoolArray | Reason:
        if not any(row.masks.values()):
            return masks_without_file(self._settings, label, picture.values.shape, notes)
        planes: dict[int, BoolArray] = {}
        for index, name in enumerate(self._settings.segments):
            if name not in row.masks:
                return Reason.NO_MASK  # A table without the column says nothing of the segment, absent or not.
            path = row.masks[name]
            if path is None:
                continue
            plane = read_mask(path, oriented=is_nifti(row.image), place=picture.place)
            if isinstance(plane, Reason):
                return Reason.NO_MASK if plane is Reason.FILE_MISSING else plane
            if plane.shape != picture.values.shape:
                return Reason.MASK_SIZE
            planes[index] = plane
        return with_absent_findings(self._settings.segments, planes, notes)


class PictureTable:
    """Reads pictures by the rows of a table.

    Args:
        settings: How the cohort is read.
        rows: In the order in which they are read.

    Attributes:
        notes: Remarks on what was read all the same, counted.
        work: Does a job.
    """

    def __init__(self, settings: CohortSettings, rows: list[Row]) -> None:
        self._rows = rows
        self.notes: Counter[str] = Counter()
        self.work = TableWork(settings)

    def read(self) -> Iterator[SourceImage | Refusal]:
        """Yield an image or a refusal for every row, in order."""
        return read_planned(self)

    def plan(self, workers: Workers) -> Iterator[Row | Refusal]:
        """Yield a row or a refusal for every row, in order; needs no help."""
        claims: dict[Path, list[Row]] = {}
        for row in self._rows:
            claims.setdefault(row.image, []).append(row)
        seen: set[Path] = set()
        for row in self._rows:
            group = claims[row.image]
            if len({claim.patient_id for claim in group}) > 1:
                yield Refusal(row.image, Reason.TWO_PATIENTS)
            elif len({(claim.label, tuple(sorted(claim.masks.items()))) for claim in group}) > 1:
                yield Refusal(row.image, Reason.DUPLICATE)
            elif row.image in seen:
                yield Refusal(row.image, Reason.COPY)
            else:
                seen.add(row.image)
                yield row


def rows_of_table(path: Path, settings: CohortSettings) -> list[Row]:
    """The rows of a CSV file with the columns image, patient_id, label and, per segment, mask_NAME.

    `issuer`, `study_id`, `sex`, `age` and `scanner` are read where present, and `mask` where the policy has a single
    segment. Paths are relative to the table.

    Raises:
        UsageError: The file cannot be read, or has no column for the image or the label.
    """
    table = read_table(path)
    images = table.column("image")
    if images is None:
        raise UsageError(
            "the table has no column 'image'", fix="Give the columns image, patient_id, label and mask or mask_NAME."
        )
    labels = table.column(settings.label.column)
    only = _only_class(settings)
    if labels is None and only is None:
        raise UsageError(f"the table has no column {settings.label.column!r}", fix="Name it in cohort.label.column.")
    patients, issuers, studies = (table.column(name) for name in ("patient_id", "issuer", "study_id"))
    columns = {name: table.column(f"mask_{name}") for name in settings.segments}
    if len(settings.segments) == 1 and columns[settings.segments[0]] is None:
        columns[settings.segments[0]] = table.column("mask")
    told = columns_of({name: table.column(name) or () for name in table.columns})
    base = path.parent
    rows = []
    for index, image in enumerate(images):
        patient = patients[index] if patients else ""
        issuer = issuers[index] if issuers else ""
        key: str | None = patient_key(issuer, patient) if patient else None
        if key is None and settings.identity.missing == "study" and studies and studies[index]:
            key = study_key(studies[index])
        masks = {name: _place(base, cells[index]) if cells[index] else None for name, cells in columns.items() if cells}
        label = labels[index] if labels else only or ""
        cells = {name: column[index] if column else "" for name, column in told.items()}
        rows.append(Row(_place(base, image), image, key, label, masks, attributes_of(**cells)))
    return rows


def rows_of_folder(folder: Path, settings: CohortSettings, *, archive: bool) -> list[Row]:
    """A row for every picture below a folder, its class the only one or its folder's name.

    In an archive that is audited each picture is its own patient. In a private cohort nobody knows whose it is, so its
    patient is missing: one person with five pictures taken for five people would have a fifth of the protection.
    """
    only = _only_class(settings)
    rows = []
    for path in list_files(folder):
        if is_picture(path):
            name = path.relative_to(folder).as_posix()
            rows.append(Row(path, name, f"|{name}" if archive else None, only or path.parent.name, {}))
    return rows


def _only_class(settings: CohortSettings) -> str | None:
    """The class of images that nothing labels, when it needs no finding to be of it."""
    return settings.classes[0] if len(settings.classes) == 1 and settings.findings is None else None


def _place(base: Path, cell: str) -> Path:
    """Where a cell points; two spellings of one place are one place."""
    return Path(os.path.normpath(base / cell))

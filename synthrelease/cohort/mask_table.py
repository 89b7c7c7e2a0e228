"""`masks.csv` of a DICOM folder: masks that are no DICOM, as pictures of single images or as NIfTI volumes of series.

Columns: `PatientID` (and `IssuerOfPatientID`, where issuers are told), `SOPInstanceUID` or `SeriesInstanceUID` or both, of
which each row fills one, and, as in a table of pictures, `mask_NAME` for each segment or `mask` for the only one. Paths are
relative to the folder. A row holds for images of the patient that it names and of nobody else.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from synthrelease.cohort.labels import issuer_column, read_table
from synthrelease.cohort.masking import Drawn
from synthrelease.dicom.scanning import Found
from synthrelease.errors import UsageError
from synthrelease.policy.schema import CohortSettings

MASK_TABLE = "masks.csv"
NOTE_UNUSED_ROW = "row of masks.csv that fits no image of its patient"


@dataclass(frozen=True)
class _Row:
    issuer: str | None
    patient: str
    masks: tuple[Drawn, ...]


class MaskTable:
    """Masks by image, as a table names them.

    Args:
        rows: By instance or series.
        files: Every mask that is named.
        tells_issuers: Whether the table has a column for them.
    """

    def __init__(self, rows: dict[str, list[_Row]], files: frozenset[Path], *, tells_issuers: bool) -> None:
        self._rows = rows
        self.files = files
        self._used: set[str] = set()
        self.tells_issuers = tells_issuers

    @property
    def patients(self) -> frozenset[str]:
        """Every patient id that is named. Private."""
        return frozenset(row.patient for rows in self._rows.values() for row in rows)

    def of(self, image: Found) -> tuple[Drawn, ...]:
        """The masks of an image: of its instance and of its series, where the row names its patient."""
        found: list[Drawn] = []
        for uid in (image.sop_uid, image.series_uid):
            for row in self._rows.get(uid, ()) if uid else ():
                if row.patient == image.patient and row.issuer in (None, image.issuer):
                    found += row.masks
                    self._used.add(uid)
        return tuple(found)

    def count_unused(self, notes: Counter[str]) -> None:
        """Count the rows that fitted no image so far."""
        unused = sum(len(rows) for uid, rows in self._rows.items() if uid not in self._used)
        if unused:
            notes[NOTE_UNUSED_ROW] += unused


def mask_table(folder: Path, settings: CohortSettings) -> MaskTable | None:
    """The table of a folder; None without one, or where the policy has no segments.

    Raises:
        UsageError: It cannot be read or lacks a column.
    """
    path = folder / MASK_TABLE
    if not path.is_file():
        return None
    table = read_table(path)
    cells = [table.column(name) or [] for name in table.columns if name.startswith("mask")]
    files = frozenset(_place(folder, cell) for column in cells for cell in column if cell)
    if not settings.segments:
        return MaskTable({}, files, tells_issuers=True)
    patients, instances = table.column("PatientID"), table.column("SOPInstanceUID")
    series = table.column("SeriesInstanceUID")
    columns = {name: table.column(f"mask_{name}") for name in settings.segments}
    if len(settings.segments) == 1 and columns[settings.segments[0]] is None:
        columns[settings.segments[0]] = table.column("mask")
    if patients is None or (instances is None and series is None) or not any(columns.values()):
        raise UsageError(
            f"{MASK_TABLE} lacks a column",
            fix="Give PatientID, SOPInstanceUID or SeriesInstanceUID, and mask_NAME for each segment.",
        )
    issuers = issuer_column(table)
    rows: dict[str, list[_Row]] = {}
    for index, patient in enumerate(patients):
        uid = (instances[index] if instances else "") or (series[index] if series else "")
        masks = tuple(
            (name, _place(folder, column[index])) for name, column in columns.items() if column and column[index]
        )
        if patient and uid and masks:
            rows.setdefault(uid, []).append(_Row(issuers[index] if issuers else None, patient, masks))
    return MaskTable(rows, files, tells_issuers=issuers is not None)


def _place(folder: Path, cell: str) -> Path:
    return Path(os.path.normpath(folder / cell))


def of_two_issuers(images: Iterable[Found], patients: frozenset[str]) -> bool:
    """Whether one of these patient ids is that of two people, by their issuers."""
    issuers: dict[str, str] = {}
    return any(
        issuers.setdefault(image.patient, image.issuer) != image.issuer for image in images if image.patient in patients
    )

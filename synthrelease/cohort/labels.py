"""The class of each image, from a CSV file or a DICOM attribute."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from synthrelease.cohort.naming import UNLABELLED, Naming, plain_name
from synthrelease.cohort.types import patient_key
from synthrelease.errors import UsageError
from synthrelease.records.refusals import Reason

_DELIMITERS = ",;\t"


@dataclass(frozen=True)
class Table:
    """A CSV file in memory.

    Attributes:
        columns: Position by plain name (see `plain_name`).
        rows: Cells, trimmed. Private.
    """

    columns: dict[str, int]
    rows: list[list[str]]

    def column(self, name: str) -> list[str] | None:
        """The cells of a column, "" where a row is short; None when there is no such column."""
        position = self.columns.get(plain_name(name))
        if position is None:
            return None
        return [row[position] if position < len(row) else "" for row in self.rows]


def read_table(path: Path) -> Table:
    """Read a CSV file: comma, semicolon or tab, UTF-8 with or without a byte order mark.

    Raises:
        UsageError: It cannot be read or has no header line.
    """
    try:
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as stream:
            head = stream.readline()
            stream.seek(0)
            rows = list(_cells(csv.reader(stream, delimiter=max(_DELIMITERS, key=head.count), strict=True)))
    except (OSError, csv.Error) as error:
        raise UsageError("the table cannot be read", fix="Give a CSV file with a header line.") from error
    if not rows:
        raise UsageError("the table is empty", fix="Give a CSV file with a header line.")
    return Table({plain_name(name): position for position, name in reversed(list(enumerate(rows[0])))}, rows[1:])


def _cells(reader: Any) -> Iterator[list[str]]:
    for row in reader:
        # A quote opened in one patient's row would swallow the rows of others without a word.
        if any("\n" in cell or "\r" in cell for cell in row):
            raise UsageError(
                f"a quoted cell of the table goes over a line end, up to line {reader.line_num}",
                fix="Close the quote: every image has a line of its own.",
            )
        if any(row):
            yield [cell.strip() for cell in row]


@dataclass(frozen=True)
class Labels:
    """Classes by key.

    Attributes:
        naming: What the cells mean.
        by_key: The cell as written, by instance UID, patient id or image; empty when an attribute holds it. Private.
        by_patient: Whether the keys are patients.
        issuers: Whether these keys tell the issuer of the patient id too, as `patient_key` does.
        disputed: Keys of which two cells say different things. Private.
    """

    naming: Naming
    by_key: dict[str, str] = field(default_factory=dict)
    by_patient: bool = False
    issuers: bool = False
    disputed: frozenset[str] = frozenset()

    def of(self, key: str) -> str | Reason:
        """The class of the image or patient, or why there is none."""
        classes = self.naming.classes
        if len(classes) == 1 and (not self.by_key or classes[0] == UNLABELLED):
            return classes[0]
        return Reason.NO_LABEL if key in self.disputed else self.naming.class_of(self.by_key.get(key, ""))


def labels_from(path: Path, naming: Naming, key: str, column: str) -> Labels:
    """Read a label table.

    Args:
        path: The CSV file.
        naming: What the cells mean.
        key: Column that names the instance, the patient or the image.
        column: Column that holds the class, or the findings.

    Raises:
        UsageError: The file cannot be read or lacks one of the columns.
    """
    table = read_table(path)
    keys, cells = table.column(key), table.column(column)
    if keys is None and key == "SOPInstanceUID":
        key, keys = "PatientID", table.column("PatientID")
    if keys is None or cells is None:
        missing = (
            "SOPInstanceUID or PatientID" if keys is None and key == "PatientID" else key if keys is None else column
        )
        raise UsageError(
            f"the label table has no column {missing!r}", fix="Name its columns in cohort.label: key and column."
        )
    issuers = issuer_column(table) if key == "PatientID" else None
    by_key: dict[str, str] = {}
    disputed = set()
    for index, (name, cell) in enumerate(zip(keys, cells, strict=True)):
        if not name:
            continue  # it would name every image without an id
        whole = name if issuers is None else patient_key(issuers[index], name)
        if naming.meaning(by_key.setdefault(whole, cell)) != naming.meaning(cell):
            disputed.add(whole)
    return Labels(
        naming,
        by_key,
        by_patient=key == "PatientID",
        issuers=issuers is not None,
        disputed=frozenset(disputed),
    )


def issuer_column(table: Table) -> list[str] | None:
    """Who gave each row's patient id; None when the table does not tell."""
    column = table.column("IssuerOfPatientID")
    return table.column("issuer") if column is None else column

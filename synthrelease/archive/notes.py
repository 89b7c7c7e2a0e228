"""The notes of a finished archive, read back from its label table row by row."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from synthrelease.archive.columns import LABELS_FILE
from synthrelease.dicom.release.notes import ACCEPTED, Note
from synthrelease.dicom.release.settings import ArchiveSettings
from synthrelease.records.proportions import wilson

CONFIDENCE = 0.95
_DECIMALS = 4


def noted_in(archive: Path, settings: ArchiveSettings) -> Iterator[tuple[str, ...]]:
    """The cells of the settings' notes of every image of an archive, in order; nothing where there are no notes.

    They follow from the generator and cannot be derived without it. What an archive must be is therefore told with the
    cells as they stand there, provided that each has the form of its column: a row that has not comes as empty cells,
    and the table then differs from what is expected of it.

    Args:
        archive: The folder.
        settings: Of the archive.

    Yields:
        As many rows as there are images, whatever the table holds.
    """
    if not settings.notes:
        return
    none = ("",) * len(settings.notes)
    rows = _rows(archive)
    for _ in range(settings.images):
        row = next(rows, {})
        cells = tuple(row.get(note.name) or "" for note in settings.notes)
        yield cells if all(map(Note.fits, settings.notes, cells)) else none


def coverage_of(archive: Path, settings: ArchiveSettings) -> dict[str, Any] | None:
    """How many images of each class the guide accepted as what they were asked to be; counted row by row.

    Args:
        archive: The folder.
        settings: Of the archive.

    Returns:
        ``{confidence, classes: {NAME: {asked, accepted, low, high}}}`` with the ends of Wilson's interval of the share
        that is accepted; None when the archive does not tell who was accepted.
    """
    if all(note.name != ACCEPTED for note in settings.notes):
        return None
    asked: Counter[str] = Counter()
    accepted: Counter[str] = Counter()
    for row in _rows(archive):
        asked[row["label"]] += 1
        accepted[row["label"]] += row[ACCEPTED] == "1"
    return coverage(settings.classes, asked, accepted)


def coverage(classes: Sequence[str], asked: Mapping[str, int], accepted: Mapping[str, int]) -> dict[str, Any]:
    """The coverage of an archive from its counts by class.

    >>> coverage(["nodule"], {"nodule": 10}, {"nodule": 7})["classes"]
    {'nodule': {'asked': 10, 'accepted': 7, 'low': 0.3968, 'high': 0.8922}}
    """
    table = {}
    for name in classes:
        low, high = wilson(accepted.get(name, 0), asked.get(name, 0), CONFIDENCE)
        table[name] = {
            "asked": asked.get(name, 0),
            "accepted": accepted.get(name, 0),
            "low": round(low, _DECIMALS),
            "high": round(high, _DECIMALS),
        }
    return {"confidence": CONFIDENCE, "classes": table}


def _rows(archive: Path) -> Iterator[Mapping[str, Any]]:
    """The table row by row; nothing that stands there breaks it."""
    try:
        with (archive / LABELS_FILE).open(encoding="utf-8", errors="replace", newline="") as stream:
            for row in csv.DictReader(stream):
                yield {**dict.fromkeys(("label", ACCEPTED), ""), **row}
    except (OSError, csv.Error):
        return

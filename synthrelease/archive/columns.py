"""The columns of labels.csv: the one place that the header row, the metadata and the README take them from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from synthrelease.dicom.release.settings import ArchiveSettings


@dataclass(frozen=True)
class Column:
    """One column of labels.csv.

    Attributes:
        name: As the header row spells it.
        description: What a cell holds, one sentence without a full stop.
        kind: text, integer or number.
    """

    name: str
    description: str
    kind: Literal["text", "integer", "number"] = "text"


LABELS_FILE = "labels.csv"

_ALWAYS = (
    Column("file", "path of the image inside this folder"),
    Column("sop_instance_uid", "SOP Instance UID (0008,0018) of the image, unique in the archive"),
    Column("patient_id", "Patient ID (0010,0020) of the synthetic patient; several images may share one"),
    Column("label", "class that the image was made to show"),
    Column("mask_file", "path of the image's masks, several parted by a space; empty when there are none"),
)
_REPORT = Column("report_file", "path of the structured report that states the label")


def columns(settings: ArchiveSettings) -> tuple[Column, ...]:
    """The columns of an archive in their order: what every archive has, the reports' where there are any, and what the
    generator tells of each image."""
    told = (Column(note.name, note.description, "integer" if note.whole else "number") for note in settings.notes)
    return (*_ALWAYS, *((_REPORT,) if settings.reports else ()), *told)

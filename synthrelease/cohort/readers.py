"""Which reader a source needs."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

from pydicom.datadict import tag_for_keyword

from synthrelease.cohort.dicom_folder import DicomFolder
from synthrelease.cohort.labels import Labels, labels_from, read_table
from synthrelease.cohort.mask_table import MASK_TABLE, MaskTable, mask_table
from synthrelease.cohort.naming import UNLABELLED, Naming
from synthrelease.cohort.pictures import is_picture
from synthrelease.cohort.table import PictureTable, rows_of_folder, rows_of_table
from synthrelease.dicom.reading import list_files
from synthrelease.dicom.segments import require_absent_findings
from synthrelease.errors import PolicyError, UnsuitableData, UsageError
from synthrelease.policy.schema import CohortSettings, Label

LABEL_TABLE = "labels.csv"
_LOOKED_AT = 500
_DICOM_SUFFIXES = (".dcm", ".dicom", ".ima")


def reader_for(settings: CohortSettings, source: Path, *, archive: bool = False) -> DicomFolder | PictureTable:
    """The reader of a private cohort or of a synthetic archive.

    Args:
        settings: How the cohort is read.
        source: A folder of DICOM files, a folder of pictures (with or without a table), or a CSV file.
        archive: The source is a synthetic archive that any tool may have made: its own `labels.csv` is understood
            wherever the private cohort keeps its labels, and masks are optional, since an image that is left out
            would go unaudited. What the policy knows of the cohort's unmarked classes it does not know of the archive.

    Raises:
        UsageError: The source is not there, or is not what `settings.reader` says.
        PolicyError: The settings name an attribute that DICOM does not have, or an organ that classes are to lack.
        UnsuitableData: The folder holds nothing that a reader knows.
    """
    if archive:
        settings = settings.model_copy(update={"reader": "auto", "masks": "optional", "unmarked_classes": ()})
    require_absent_findings(settings)
    if not source.exists():
        raise UsageError("the source of the cohort is not there", fix="Check the path in cohort.source.")
    if source.is_file():
        return PictureTable(settings, rows_of_table(source, settings))
    kind = settings.reader if settings.reader != "auto" else _kind(source)
    if kind == "dicom":
        return _dicom_reader(settings, source, archive)
    table = _table_in(settings, source)
    if table is not None:
        return PictureTable(settings, rows_of_table(table, settings))
    rows = rows_of_folder(source, settings, archive=archive)
    if not rows:
        raise UnsuitableData(
            "the folder holds neither DICOM files nor a table nor pictures",
            fix="Name the folder that holds the images in cohort.source.",
        )
    return PictureTable(settings, rows)


def _kind(folder: Path) -> str:
    """dicom when one of the first files looks like it."""
    files = islice(list_files(folder), _LOOKED_AT)
    return "dicom" if any(_looks_like_dicom(path) for path in files) else "table"


def _looks_like_dicom(path: Path) -> bool:
    if path.suffix.lower() in _DICOM_SUFFIXES:
        return True
    try:
        with path.open("rb") as stream:
            stream.seek(128)
            return stream.read(4) == b"DICM"
    except OSError:
        return False


def _dicom_reader(settings: CohortSettings, folder: Path, archive: bool) -> DicomFolder:
    label, default = settings.label, folder / LABEL_TABLE
    if archive and _is_own_table(default):
        settings = settings.model_copy(update={"label": Label.model_validate({})})
        label = settings.label
    if label.attribute is not None:
        if tag_for_keyword(label.attribute) is None:
            raise PolicyError(
                f"cohort.label.attribute: {label.attribute!r} is not a DICOM keyword",
                fix="Use a keyword of the DICOM dictionary, such as BodyPartExamined.",
            )
        return DicomFolder(settings, folder, Labels(Naming.of(settings)), *_drawn(settings, folder, frozenset()))
    table = default if label.csv is None else folder / label.csv
    if not table.is_file() or list(settings.classes) == [UNLABELLED]:
        if label.csv is not None:
            raise UsageError("the label table is not in the cohort folder", fix="Check cohort.label.csv.")
        return DicomFolder(settings, folder, Labels(Naming.of(settings)), *_drawn(settings, folder, frozenset()))
    labels = labels_from(table, Naming.of(settings), label.key, label.column)
    return DicomFolder(settings, folder, labels, *_drawn(settings, folder, frozenset({table})))


def _drawn(settings: CohortSettings, folder: Path, beside: frozenset[Path]) -> tuple[frozenset[Path], MaskTable | None]:
    """The files beside the images, and the masks that are no DICOM."""
    table = mask_table(folder, settings)
    return (beside if table is None else beside | {folder / MASK_TABLE}), table


def _is_own_table(path: Path) -> bool:
    """Whether it is the label table that synthrelease writes beside an archive."""
    if not path.is_file():
        return False
    table = read_table(path)
    return table.column("sop_instance_uid") is not None and table.column("label") is not None


def _table_in(settings: CohortSettings, folder: Path) -> Path | None:
    """The table of a folder of pictures: the one named, else labels.csv, else the only CSV file; None without."""
    named = settings.label.csv
    if named is not None and (folder / named).is_file():
        return folder / named
    tables = sorted(folder.glob("*.csv"))
    default = folder / LABEL_TABLE
    if default in tables:
        return default
    if len(tables) > 1:
        raise UsageError("the folder holds several tables", fix="Name one in cohort.label.csv.")
    if not tables and settings.reader == "table" and not any(is_picture(path) for path in list_files(folder)):
        raise UsageError("the folder holds no table", fix="Name the CSV file in cohort.source.")
    return tables[0] if tables else None

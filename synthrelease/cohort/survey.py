"""What folders of unknown origin hold: class names and mask names, so that they can be read without a policy."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from synthrelease.cohort.labels import read_table
from synthrelease.cohort.naming import UNLABELLED
from synthrelease.dicom.mask_reading import open_segmentation
from synthrelease.dicom.opening import list_files
from synthrelease.dicom.scanning import Found, Kind, scan
from synthrelease.errors import UnsuitableData
from synthrelease.policy.schema import CohortSettings
from synthrelease.records.refusals import Refusal

MOST_CLASSES = 64
_SEGMENTATIONS = 5
_FILES = 4000


def settings_for(folders: Sequence[Path], resolution: int) -> CohortSettings:
    """Settings under which all folders can be read together.

    Classes are those that any folder's label table names: an image of a class that the other side lacks must not go
    unaudited. Where a folder has no labels, all images are one class. Masks are those that every folder has. Pixel
    values go through each image's own window.

    Args:
        folders: Real, holdout and synthetic folders; or CSV files.
        resolution: Pixels on a side at which they are compared.

    Raises:
        UnsuitableData: The tables name more classes than an audit can tell apart.
    """
    named = [_classes(folder) for folder in folders]
    classes = sorted(set.union(*named)) if named and all(named) else [UNLABELLED]
    if len(classes) > MOST_CLASSES:
        raise UnsuitableData(
            f"the label tables name {len(classes)} classes", fix="Give a --policy that names the classes to compare."
        )
    values = {
        "name": "audited",
        "source": "folder",
        "classes": classes,
        "segments": _shared([_segments(folder) for folder in folders])[:16],
        "masks": "optional",
        "identity": {"missing": "study"},
        "resolution": resolution,
    }
    return CohortSettings.model_validate(values, strict=False)


def _shared(names: Sequence[set[str]]) -> list[str]:
    return sorted(set.intersection(*names)) if names else []


def _word(text: str) -> str:
    """A class name in the policy's form.

    >>> _word("Pleural Effusion")
    'pleural_effusion'
    """
    plain = re.sub(r"[^a-z0-9]+", "_", text.strip().lower()).strip("_")
    return plain[:32] if re.match(r"[a-z]", plain) else f"c_{plain}"[:32]


def _tables(folder: Path) -> list[Path]:
    if folder.is_file():
        return [folder]
    named = folder / "labels.csv"
    return [named] if named.is_file() else sorted(folder.glob("*.csv"))[:1]


def _classes(folder: Path) -> set[str]:
    for path in _tables(folder):
        column = read_table(path).column("label")
        if column is not None:
            return {_word(cell) for cell in column if cell}
    return set()


def _segments(folder: Path) -> set[str]:
    for path in _tables(folder):
        table = read_table(path)
        masks = {name.removeprefix("mask") for name in table.columns if name.startswith("mask") and name != "maskfile"}
        if masks and table.column("image") is not None:
            return {_word(name) if name else "mask" for name in masks}
    if folder.is_file():
        return set()
    found = (scan(path) for path in islice(list_files(folder), _FILES))
    segmentations = (each for each in found if isinstance(each, Found) and each.kind is Kind.MASK)
    names: list[set[str]] = []
    for each in islice(segmentations, _SEGMENTATIONS):
        opened = open_segmentation(each.path)
        if not isinstance(opened, Refusal):
            names.append({_word(name) for name in opened.names})
    return set.union(*names) if names else set()

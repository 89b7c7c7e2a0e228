"""Opening whatever lies in a folder as DICOM, or saying why it cannot be.

pydicom reads a file that was cut inside its header, or a text file that it is forced to read, without complaint;
so what came out is judged here by what must be there. Its warnings and log lines quote header values, which are
private, and are silenced while it works.
"""

from __future__ import annotations

import logging
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydicom import dcmread
from pydicom.config import disable_value_validation
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.multival import MultiValue
from pydicom.uid import UID

from synthrelease.records.refusals import Reason, Refusal

SLIDE_TILES = "1.2.840.10008.5.1.4.1.1.77.1.6"
"""VL Whole Slide Microscopy Image Storage: its frames are tiles of one picture."""

STRUCTURE_SET = "1.2.840.10008.5.1.4.1.1.481.3"
"""RT Structure Set Storage."""

DIRECTORY = "1.2.840.10008.1.3.10"
"""Media Storage Directory Storage: a DICOMDIR."""

SEGMENTATION_CLASSES = frozenset(("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7"))
"""Segmentation Storage and Label Map Segmentation Storage (PS3.4, table B.5-1)."""

_UID = re.compile(r"[0-2](\.(0|[1-9]\d*))+")
_LOGGERS = tuple(
    logging.getLogger(name)
    for name in (
        "pydicom",
        "pydicom.pixels.utils",
        "pydicom.pixels.decoders.base",
        "highdicom.seg.sop",
        "highdicom.image",
        "openjpeg",
        "openjpeg.decode",
    )
)


def list_files(folder: Path) -> list[Path]:
    """Every regular file below `folder`, sorted; hidden files and linked folders are passed over."""
    found: list[Path] = []
    for place, folders, names in os.walk(folder, followlinks=False):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [Path(place, name) for name in names if not name.startswith(".")]
    return sorted(path for path in found if path.is_file())


@contextmanager
def quiet() -> Iterator[None]:
    """Silence what the DICOM libraries would say about a file's values."""
    before = [logger.disabled for logger in _LOGGERS]
    with warnings.catch_warnings(), disable_value_validation():
        warnings.simplefilter("ignore")
        for logger in _LOGGERS:
            logger.disabled = True
        try:
            yield
        finally:
            for logger, disabled in zip(_LOGGERS, before, strict=True):
                logger.disabled = disabled


def open_dataset(path: Path) -> Dataset | Refusal:
    """Read a file as a data set that has a SOP class.

    A file without preamble is forced open once and must then name its SOP class.

    Returns:
        The data set, with `SOPClassUID` filled in from the file meta information where only that has it, or why
        the file is none. To be called under `quiet`.
    """
    try:
        forced = False
        try:
            dataset = dcmread(path)
        except InvalidDicomError:
            forced = True
            dataset = dcmread(path, force=True)
        # Elements are parsed when they are first asked for, so this can fail as well.
        sop_class = str(dataset.get("SOPClassUID") or "")
        if not sop_class and not forced:
            sop_class = str(dataset.file_meta.get("MediaStorageSOPClassUID") or "")
    except OSError:
        return Refusal(path, Reason.NOT_DICOM, "the file cannot be opened")
    except Exception:  # Broken bytes raise almost anything: the reader must outlive all of it.
        return Refusal(path, Reason.NOT_DICOM, "the file cannot be parsed")
    if not is_uid(sop_class):
        return Refusal(path, Reason.NOT_DICOM if forced else Reason.HEADER_CUT, "no SOP class")
    dataset.SOPClassUID = UID(sop_class)
    return dataset


def read_attribute(path: Path, keyword: str) -> str:
    """The value of one element as text, several values parted by a backslash as in the file; "" when it is missing or cannot
    be parsed."""
    with quiet():
        try:
            value = dcmread(path, force=True, stop_before_pixels=True, specific_tags=[keyword]).get(keyword)
        except Exception:  # Broken bytes raise almost anything.
            value = None
    if isinstance(value, MultiValue):
        return "\\".join(map(str, value))
    return "" if value is None else str(value)


def is_uid(text: str) -> bool:
    """Whether `text` has the form of a UID (PS3.5, section 9.1).

    >>> is_uid("1.2.840.10008.1.2"), is_uid("patient 7")
    (True, False)
    """
    return len(text) <= 64 and _UID.fullmatch(text) is not None


def is_image_class(sop_class: str) -> bool | None:
    """Whether a SOP class holds images; None when the dictionary does not know it.

    Dose maps, segmentations, reports, presentation states and directories are no images, whatever else they hold.
    """
    uid = UID(sop_class)
    name = uid.name
    if name == sop_class:
        return False if sop_class in SEGMENTATION_CLASSES else None
    return "Image" in name and "Spectroscopy" not in name

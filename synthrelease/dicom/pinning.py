"""What highdicom takes from the clock, from chance or from the imaging device, replaced; and its tables, remembered.

Two builds of one object must be the same bytes, and a synthetic object must not name a device that acquired it.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from pydicom.dataset import Dataset

from synthrelease.dicom.image import SyntheticMarking, mark_instance, synthesizer

_PROCESSING_EQUIPMENT = "109102"
_SCAN = "is_attribute_in_iod"


def pin(built: Dataset, date: str, time: str, marking: SyntheticMarking | None) -> None:
    """Give the instance its date, its true equipment and, where it is synthetic, its mark.

    highdicom names the source's maker as Acquisition Equipment; that item goes. Its own, Processing Equipment, stays.

    Args:
        built: Is changed.
        date: YYYYMMDD.
        time: HHMMSS.
        marking: None for an ordinary instance.
    """
    built.InstanceCreationDate, built.InstanceCreationTime = date, time
    kept = [
        item
        for item in built.ContributingEquipmentSequence
        if item.PurposeOfReferenceCodeSequence[0].CodeValue == _PROCESSING_EQUIPMENT
    ]
    for item in kept:
        item.ContributionDateTime = date + time
    if marking is not None:
        mark_instance(built, marking)
        kept.insert(0, synthesizer(marking, date + time))
    built.ContributingEquipmentSequence = kept


def pin_dimensions(built: Dataset, dimension_uid: str) -> None:
    """Replace the random Dimension Organization UID of a multi-frame object."""
    built.DimensionOrganizationSequence[0].DimensionOrganizationUID = dimension_uid
    for dimension in built.DimensionIndexSequence:
        dimension.DimensionOrganizationUID = dimension_uid


def pin_padding(built: Dataset) -> None:
    """Pad uncompressed Pixel Data of odd length with a zero, where highdicom 0.28 adds the character "0".

    Source: PS3.5, section 8.2 (a single trailing NULL byte).
    """
    bits = int(built.NumberOfFrames) * int(built.Rows) * int(built.Columns) * int(built.BitsAllocated)
    if -(-bits // 8) % 2:
        built.PixelData = built.PixelData[:-1] + b"\0"


@contextmanager
def standard_tables_remembered() -> Iterator[None]:
    """Answer highdicom's repeated question, whether an attribute is in an IOD, from memory.

    highdicom 0.28 scans its copy of the standard's tables from the start nine times a file, a quarter of all the
    time. The tables never change, so the answers can be kept. A highdicom without that function is left as it is.
    """
    loaded = [sys.modules.get(name) for name in ("highdicom._standard_utils", "highdicom.base")]
    users = [module for module in loaded if hasattr(module, _SCAN)]
    original = getattr(users[0], _SCAN) if users else None
    for module in users:
        setattr(module, _SCAN, _remembered(original))
    try:
        yield
    finally:
        for module in users:
            setattr(module, _SCAN, original)


@functools.cache
def _remembered(scan: Callable[..., bool]) -> Callable[..., bool]:
    kept = functools.cache(scan)

    def answer(attribute: str, sop_class_uid: str, exclude_path_elements: Any = None) -> bool:
        excluded = None if exclude_path_elements is None else tuple(exclude_path_elements)
        return kept(attribute, sop_class_uid, excluded)

    return answer

"""The masks of one image, gathered from every file that speaks of it, in the order of the policy's segments."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from synthrelease.cohort.naming import plain_name
from synthrelease.cohort.pictures import is_nifti, read_mask
from synthrelease.cohort.types import BoolArray
from synthrelease.cohort.volumes import cut, open_volume
from synthrelease.dicom.mask_reading import SegmentMask, Target, open_segmentation
from synthrelease.dicom.segments import FINDING, LESION, segment
from synthrelease.policy.schema import CohortSettings
from synthrelease.records.refusals import Reason, Refusal

NOTE_ABSENT = "finding not described in the image's segmentation, taken as absent"
NOTE_UNMARKED = "image of an unmarked class without a mask file, its masks taken as empty"

Drawn = tuple[str, Path]
"""A segment of the policy, and the picture or volume that outlines it."""


class Masks:
    """Masks by image.

    Args:
        settings: How the cohort is read.
    """

    def __init__(self, settings: CohortSettings) -> None:
        segments = settings.segments
        self._settings = settings
        self._segments = segments
        self._by_name = {plain_name(name): index for index, name in enumerate(segments)}
        # Generic lesions share one code, which therefore names none of them.
        codes = {segment(name).type: index for index, name in enumerate(segments)}
        self._by_code = {code.value: index for code, index in codes.items() if code != LESION}
        # One file of a volume serves all of its slices, which follow each other.
        self._open = lru_cache(maxsize=4)(open_segmentation)
        self._open_volume = lru_cache(maxsize=len(segments) + 1)(open_volume)

    def of(
        self, target: Target, label: str, files: Sequence[Path], drawn: Sequence[Drawn], notes: Counter[str]
    ) -> BoolArray | Reason:
        """The masks of an image, (K, H, W), or why it has none.

        Masks of one segment in several frames or files are united. A described segment without a frame is empty;
        so is a finding that no segmentation of the image describes, since tools leave out what they do not find. So
        are all masks of an image of an unmarked class that has no file; one that has is read like any other.

        Args:
            target: The image; tells its shape.
            label: Its class.
            files: Segmentations and structure sets that may speak of it.
            drawn: Masks that a table names for it.
            notes: Where remarks are counted.
        """
        assert target.shape is not None
        planes: dict[int, BoolArray] = {}
        for path in files:
            found = self._described(path, target)
            if isinstance(found, Reason):
                return found
            for mask in found:
                index = self._by_name.get(plain_name(mask.name), self._by_code.get(mask.code))
                if index is not None:
                    if mask.mask.shape != target.shape:
                        return Reason.MASK_SIZE
                    planes[index] = planes[index] | mask.mask if index in planes else mask.mask
        for name, path in drawn:
            plane = self._drawn(path, target)
            if isinstance(plane, Reason):
                return plane
            index = self._segments.index(name)
            planes[index] = planes[index] | plane if index in planes else plane
        if not planes:
            return Reason.NO_MASK if files or drawn else masks_without_file(self._settings, label, target.shape, notes)
        return with_absent_findings(self._segments, planes, notes)

    def _described(self, path: Path, target: Target) -> list[SegmentMask] | Reason:
        opened = self._open(path)
        if isinstance(opened, Refusal):
            return Reason.MASK_UNREADABLE
        try:
            return opened.masks(target)
        except Exception:  # A decoder, or a broken element that is parsed late.
            return Reason.MASK_UNREADABLE

    def _drawn(self, path: Path, target: Target) -> BoolArray | Reason:
        if is_nifti(path):
            volume = self._open_volume(path)
            plane = volume if isinstance(volume, Reason) else cut(volume, target)
        else:
            plane = read_mask(path, oriented=False)
        if isinstance(plane, Reason):
            return Reason.NO_MASK if plane is Reason.FILE_MISSING else plane
        return plane if plane.shape == target.shape else Reason.MASK_SIZE


def with_absent_findings(
    segments: Sequence[str], planes: Mapping[int, BoolArray], notes: Counter[str]
) -> BoolArray | Reason:
    """The masks of an image of which at least one segment is outlined, (K, H, W), or why it has none.

    Who outlines one thing and not another has looked, and leaves out a finding that is not there. An organ is there: its
    mask is missing.

    Args:
        segments: The policy's, in order.
        planes: What is outlined, (H, W) by place among the segments.
        notes: Where remarks are counted, a finding at a time.
    """
    left_out = [name for index, name in enumerate(segments) if index not in planes]
    if any(segment(name).category != FINDING for name in left_out):
        return Reason.NO_MASK
    if left_out:
        notes[NOTE_ABSENT] += len(left_out)
    empty = np.zeros_like(next(iter(planes.values())))
    return np.stack([planes.get(index, empty) for index in range(len(segments))])


def masks_without_file(
    settings: CohortSettings, label: str, shape: tuple[int, int], notes: Counter[str]
) -> BoolArray | Reason:
    """The masks of an image without any mask file: known to be empty in the classes that the policy says so of.

    Args:
        settings: How the cohort is read.
        label: The image's class.
        shape: (H, W).
        notes: Where remarks are counted.
    """
    if label not in settings.unmarked_classes:
        return Reason.NO_MASK
    notes[NOTE_UNMARKED] += 1
    return np.zeros((len(settings.segments), *shape), dtype=np.bool_)

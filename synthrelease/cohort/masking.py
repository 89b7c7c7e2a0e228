"""The masks of one image, gathered from every segmentation that refers to it, in the order of the policy's segments."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from synthrelease.cohort.labels import plain_name
from synthrelease.cohort.types import BoolArray
from synthrelease.dicom.mask_reading import SegmentationFile, open_segmentation
from synthrelease.dicom.segments import FINDING, LESION, segment
from synthrelease.records.refusals import Reason, Refusal

NOTE_ABSENT = "finding not described in the image's segmentation, taken as absent"


class Masks:
    """Masks by image.

    Args:
        segments: The policy's segments, in order.
        files: Segmentations by the SOP Instance UID of the image that they refer to.
        notes: Where remarks are counted.
    """

    def __init__(self, segments: Sequence[str], files: dict[str, list[Path]], notes: Counter[str]) -> None:
        self._segments = segments
        self._files = files
        self._notes = notes
        self._by_name = {plain_name(name): index for index, name in enumerate(segments)}
        # Generic lesions share one code, which therefore names none of them.
        codes = {segment(name).type: index for index, name in enumerate(segments)}
        self._by_code = {code.value: index for code, index in codes.items() if code != LESION}
        # One segmentation of a volume serves all of its slices, which follow each other.
        self._open = lru_cache(maxsize=4)(open_segmentation)

    def of(self, sop_uid: str, shape: tuple[int, ...]) -> BoolArray | Reason:
        """The masks of an image, (K, H, W), or why it has none.

        Masks of one segment in several frames or files are united. A described segment without a frame is empty;
        so is a finding that no segmentation of the image describes, since tools leave out what they do not find.
        """
        planes: dict[int, BoolArray] = {}
        for path in self._files.get(sop_uid, ()):
            opened: SegmentationFile | Refusal = self._open(path)
            if isinstance(opened, Refusal):
                return Reason.MASK_UNREADABLE
            try:
                found = opened.masks(sop_uid)
            except ValueError:
                return Reason.MASK_UNREADABLE
            for mask in found:
                index = self._by_name.get(plain_name(mask.name), self._by_code.get(mask.code))
                if index is None:
                    continue
                if mask.mask.shape != shape:
                    return Reason.MASK_SIZE
                planes[index] = planes[index] | mask.mask if index in planes else mask.mask
        if not planes:
            return Reason.NO_MASK
        for index, name in enumerate(self._segments):
            if index not in planes:
                if segment(name).category != FINDING:
                    return Reason.NO_MASK
                self._notes[NOTE_ABSENT] += 1
                planes[index] = np.zeros(shape, dtype=np.bool_)
        return np.stack([planes[index] for index in range(len(self._segments))])

"""Segmentations through highdicom: right, and some thirty times slower than our own reader."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from synthrelease.dicom.judging import MOST_PIXELS
from synthrelease.dicom.mask_reading import Bits, SegmentMask, Target
from synthrelease.dicom.opening import quiet
from synthrelease.dicom.stored import is_encapsulated


class Decoded:
    """A segmentation that highdicom opened.

    Args:
        path: Private.

    Attributes:
        compressed: Whether its frames would be decoded by whatever decoder pydicom finds.

    Raises:
        Exception: highdicom raises almost anything on what it does not expect.
    """

    def __init__(self, path: Path) -> None:
        from highdicom.seg import segread

        with quiet():
            self._file: Any = segread(path)
            self.compressed = is_encapsulated(str(self._file.file_meta.TransferSyntaxUID))
            if int(self._file.Rows) * int(self._file.Columns) > MOST_PIXELS:
                raise ValueError("a frame of an impossible size")
            self.sources: Sequence[str] = [str(uids[2]) for uids in self._file.get_source_image_uids()]
            self._segments = [item for item in self._file.SegmentSequence if int(item.SegmentNumber) != 0]
            self.names: Sequence[str] = [str(item.SegmentLabel) for item in self._segments]

    def masks(self, target: Target) -> list[SegmentMask]:
        """See `MaskFile`."""
        if target.sop_uid not in self.sources:
            return []
        asked = {
            "segment_numbers": [int(item.SegmentNumber) for item in self._segments],
            "ignore_spatial_locations": True,
            "assert_missing_frames_are_empty": True,
        }
        with quiet():
            try:
                if target.frame is None:
                    pixels = self._file.get_pixels_by_source_instance([target.sop_uid], **asked)[0]
                else:
                    pixels = self._file.get_pixels_by_source_frame(target.sop_uid, [target.frame], **asked)[0]
            except Exception as error:
                raise ValueError("the frames cannot be decoded") from error
            return [
                SegmentMask(target.sop_uid, str(item.SegmentLabel), _type_code(item), _mask(plane))
                for item, plane in zip(self._segments, np.moveaxis(pixels, -1, 0), strict=True)
            ]


def _mask(plane: npt.NDArray[Any]) -> Bits:
    return np.asarray(np.ascontiguousarray(plane) > 0.5)


def _type_code(item: Any) -> str:
    types = item.get("SegmentedPropertyTypeCodeSequence")
    return str(types[0].get("CodeValue") or "") if types else ""

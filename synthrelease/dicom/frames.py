"""What holds for one frame: its own functional groups, those shared by all frames, or the data set itself.

A single-frame image is the same with no groups at all, so that one description serves both.

Source: PS3.3, section C.7.6.16 (Multi-frame Functional Groups).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from synthrelease.dicom.header import Header
from synthrelease.dicom.planes import Plane, plane_from

SHARED, PER_FRAME = 0x52009229, 0x52009230
PIXEL_MEASURES = 0x00289110
PLANE_POSITION = 0x00209113
PLANE_ORIENTATION = 0x00209116
VALUE_TRANSFORMATION = 0x00289145
FRAME_VOI = 0x00289132
DERIVATION_IMAGE = 0x00089124
SOURCE_IMAGE = 0x00082112
SEGMENT_IDENTIFICATION = 0x0062000A

MOST_FRAMES = 65_536
"""A header that tells of more frames is taken for broken: nothing is allocated for what it says."""


class Frame:
    """One frame's view of a data set.

    Args:
        root: The data set.
        own: The frame's item of the per-frame groups; None without.
        shared: The items of the shared groups, one or none.
    """

    __slots__ = ("_levels", "root")

    def __init__(self, root: Header, own: Header | None, shared: Sequence[Header]) -> None:
        self.root = root
        self._levels = (*(() if own is None else (own,)), *shared)

    def macros(self, sequence: int) -> list[Header]:
        """The items of a functional group's sequence, the frame's own before the shared ones."""
        return [item for level in self._levels for item in level.items(sequence)]

    def holding(self, sequence: int, tag: int) -> Header:
        """The item that holds an element: of the functional group, else the data set itself."""
        return next((item for item in self.macros(sequence) if tag in item), self.root)

    def spacing(self) -> tuple[float, float] | None:
        """Distance between pixel centres (between rows, between columns) in mm; None without a positive one."""
        measures = self.holding(PIXEL_MEASURES, 0x00280030)
        # Pixel Spacing, Imager Pixel Spacing, Nominal Scanned Pixel Spacing
        for header, tag in ((measures, 0x00280030), (self.root, 0x00181164), (self.root, 0x00182010)):
            values = header.decimals(tag)
            if len(values) == 2 and all(0 < value < math.inf for value in values):
                return values[0], values[1]
        return None

    def plane(self) -> Plane | None:
        """Where the frame lies in the patient; None when that is not told, as of radiographs."""
        position = self.holding(PLANE_POSITION, 0x00200032).decimals(0x00200032)
        orientation = self.holding(PLANE_ORIENTATION, 0x00200037).decimals(0x00200037)
        spacing = self.holding(PIXEL_MEASURES, 0x00280030).decimals(0x00280030)
        return plane_from(position, orientation, spacing)


def frame_count(root: Header) -> int:
    """Number of Frames; 1 where it is absent, empty or 0."""
    values = root.decimals(0x00280008)
    return int(values[0]) if values and math.isfinite(values[0]) and values[0] >= 1 else 1


class Frames:
    """The frames of a data set.

    Args:
        root: The data set; its groups are read once.
    """

    def __init__(self, root: Header) -> None:
        self._root = root
        self._own = root.items(PER_FRAME)
        self._shared = root.items(SHARED)

    @property
    def count(self) -> int:
        """How many frames have functional groups of their own."""
        return len(self._own)

    def __getitem__(self, index: int) -> Frame:
        own = self._own[index] if index < len(self._own) else None
        return Frame(self._root, own, self._shared)

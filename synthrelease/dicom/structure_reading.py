"""Masks out of an RT Structure Set: its closed contours, filled on the grid of the image that they were drawn on.

Source: PS3.3, sections C.8.8.5 (Structure Set) and C.8.8.6 (ROI Contour).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from synthrelease.dicom.contours import filled
from synthrelease.dicom.elements import Elements, file_elements
from synthrelease.dicom.mask_reading import SegmentMask, Target
from synthrelease.dicom.opening import STRUCTURE_SET
from synthrelease.dicom.planes import Points

OFF_PLANE_MM = 0.5
"""A contour lies in a slice when none of its points is further away than this."""

_CLOSED = frozenset(("CLOSED_PLANAR", "CLOSEDPLANAR_XOR"))
Contour = tuple[int, Elements]
"""The number of its region, and its item."""


class Structures:
    """A structure set, read from its bytes.

    Args:
        content: Of the file.

    Raises:
        ValueError: It is cut, or is something else.
    """

    def __init__(self, content: bytes) -> None:
        header, _ = file_elements(content, pixels=False)
        if header.text(0x00080016) != STRUCTURE_SET:
            raise ValueError("not a structure set")
        self._regions = {_integer(item, 0x30060022): item.text(0x30060026) for item in header.items(0x30060020)}
        self._codes = {}
        for item in header.items(0x30060080):
            codes = item.items(0x30060086)
            if codes:
                self._codes[_integer(item, 0x30060084)] = codes[0].text(0x00080100)
        self._frames_of_reference = {item.text(0x00200052) for item in header.items(0x30060010)} - {""}
        self._drawn: dict[str, list[tuple[int | None, Contour]]] = {uid: [] for uid in _listed(header)}
        self._placed: list[Contour] = []
        for region in header.items(0x30060039):
            number = _integer(region, 0x30060084)
            for item in region.items(0x30060040):
                if item.text(0x30060042) in _CLOSED:
                    self._sort((number, item))

    @property
    def sources(self) -> Sequence[str]:
        """See `MaskFile`."""
        return list(self._drawn)

    @property
    def names(self) -> Sequence[str]:
        """See `MaskFile`."""
        return list(self._regions.values())

    def masks(self, target: Target) -> list[SegmentMask]:
        """See `MaskFile`. Raises `ValueError` also when the image does not tell where it lies."""
        drawn = self._drawn.get(target.sop_uid)
        if target.plane is None or target.shape is None:
            raise ValueError("contours need an image that tells where it lies")
        found: dict[int, list[Points]] = {number: [] for number in self._regions}
        for frame, (number, item) in drawn or ():
            if frame is None or frame == (target.frame or 1):
                points, apart = target.plane.seen_from(_points(item))
                if np.abs(apart).max() > OFF_PLANE_MM:
                    if frame is None and target.frame is not None:
                        continue  # of another frame of the same file
                    raise ValueError("a contour lies outside the image that it names")
                found.setdefault(number, []).append(points)
        spoken_of = drawn is not None
        if target.frame_of_reference in self._frames_of_reference:
            for number, item in self._placed:
                points, apart = target.plane.seen_from(_points(item))
                if np.abs(apart).max() <= OFF_PLANE_MM:
                    found.setdefault(number, []).append(points)
                    spoken_of = True
        if not spoken_of:
            return []
        return [
            SegmentMask(target.sop_uid, name, self._codes.get(number, ""), filled(found[number], target.shape))
            for number, name in self._regions.items()
        ]

    def _sort(self, contour: Contour) -> None:
        images = contour[1].items(0x30060016)
        if not images:
            self._placed.append(contour)
        for image in images:
            frames = image.decimals(0x00081160)
            entry = self._drawn.setdefault(image.text(0x00081155), [])
            entry += [(int(frame), contour) for frame in frames] if frames else [(None, contour)]


def _listed(header: Elements) -> dict[str, None]:
    return {
        image.text(0x00081155): None
        for reference in header.items(0x30060010)
        for study in reference.items(0x30060012)
        for series in study.items(0x30060014)
        for image in series.items(0x30060016)
    }


def _points(item: Elements) -> Points:
    """(N, 3) in the patient's coordinates. Raises `ValueError` on anything else."""
    text = item.text(0x30060050)
    values = np.array(text.split("\\") if text else [], dtype=np.float64)
    if len(values) < 9 or len(values) % 3 or not np.isfinite(values).all():
        raise ValueError("a contour is broken")
    return values.reshape(-1, 3)


def _integer(item: Elements, tag: int) -> int:
    values = item.decimals(tag)
    if len(values) != 1 or not np.isfinite(values[0]):
        raise ValueError("a number is missing")
    return int(values[0])

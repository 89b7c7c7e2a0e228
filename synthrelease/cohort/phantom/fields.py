"""Coordinates under each detector pixel, the lungs' borders there, and the profiles organs are built from."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from synthrelease.cohort.phantom.anatomy import LEFT, RIGHT, Anatomy, Floats, table_rows
from synthrelease.cohort.phantom.pose import Pose

Mask = NDArray[np.bool_]
Window = tuple[slice, slice]


@dataclass(frozen=True)
class Fields:
    """Body coordinates and lung geometry under each pixel, each (H, W)."""

    x: Floats
    y: Floats
    front_x: Floats  # x for organs in the front of the body
    s: Floats  # distance from the spine's midline
    left: Mask
    rows: NDArray[np.int32]
    to_wall: Floats
    to_middle: Floats
    to_dome: Floats

    def crop(self, window: Window) -> Fields:
        """The same fields on a part of the detector (views, not copies)."""
        return Fields(**{name: array[window] for name, array in vars(self).items()})


def measure_fields(anatomy: Anatomy, pose: Pose, size: int) -> Fields:
    """Evaluate coordinates and signed distances to the lung's three borders at pixel centres."""
    centres = ((np.arange(size, dtype=np.float32) + 0.5) * (2 / size) - 1).astype(np.float32)
    x, y = pose.to_body(centres[None, :], centres[:, None])
    rows = table_rows(y)
    offset = x - anatomy.midline[rows]
    left = offset > 0
    s = np.abs(offset)
    sided = rows + left * np.int32(anatomy.lateral.shape[1])
    dome = [anatomy.lungs[side].dome(s) for side in (RIGHT, LEFT)]
    return Fields(
        x=x,
        y=y,
        front_x=x - np.float32(pose.yaw),
        s=s,
        left=left,
        rows=rows,
        to_wall=anatomy.lateral.ravel()[sided] - s,
        to_middle=s - anatomy.medial.ravel()[sided],
        to_dome=(np.where(left, dome[LEFT], dome[RIGHT]) - y).astype(np.float32),
    )


def window_of(pose: Pose, size: int, x: tuple[float, float], y: tuple[float, float]) -> Window:
    """Part of the detector that surely holds the body rectangle `x` by `y`; organs are drawn in such parts only."""
    corners = [pose.to_detector(a, b) for a in x for b in y]
    part = []
    for ends in ([v for _, v in corners], [u for u, _ in corners]):
        low, high = ((end + 1) * (size / 2) for end in (min(ends), max(ends)))
        part.append(slice(min(max(math.floor(low) - 1, 0), size), min(max(math.ceil(high) + 1, 0), size)))
    return part[0], part[1]


def round_profile(distance: Floats, radius: float) -> Floats:
    """Quarter-circle profile: 0 at the border, 1 from `radius` inwards."""
    t = np.clip(distance * np.float32(1 / radius), 0, 1)
    return np.asarray(np.sqrt(t * (2 - t)), np.float32)


def soft_step(distance: Floats, width: float) -> Floats:
    """Smooth step from 0 to 1 over `width` centred on the border."""
    t = np.clip(distance * np.float32(1 / width) + np.float32(0.5), 0, 1)
    return np.asarray(t * t * (3 - 2 * t), np.float32)


def ellipse(fields: Fields, x: float, y: float, a: float, b: float, tilt: float) -> Floats:
    """Squared normalised radius of a tilted ellipse in the front of the body; < 1 inside."""
    dx, dy = fields.front_x - np.float32(x), fields.y - np.float32(y)
    c, s = np.float32(np.cos(tilt)), np.float32(np.sin(tilt))
    return ((c * dx + s * dy) * np.float32(1 / a)) ** 2 + ((c * dy - s * dx) * np.float32(1 / b)) ** 2

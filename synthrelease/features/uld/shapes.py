"""Invented outlines of a pair of lungs: what a lung looks like, told to a network without one mask of a person.

A lung is the region between two walls over the height of the chest, above a dome:

    medial(t)   distance from the midline to the mediastinum     t = 0 at the apex, 1 at the lateral angle
    lateral(t)  distance from the midline to the chest wall      both leave the apex as superellipses
    dome(u)     floor of the lung, u = 0 at the medial wall, 1 at the lateral one

The part behind the heart belongs to it, as in most drawn references, so both lungs are of one kind. Nothing here was
measured on a cohort; the ranges say what a frontal radiograph of a chest that fills the picture may look like.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from synthrelease.features.uld import views

FloatArray = npt.NDArray[np.float32]

COUNT, SEED = 10, 20_280
"""The shapes that the segmentation is guided by: as few as published."""

OVERSAMPLED = 4
"""Sub-pixels per axis of a pixel, so that the edge of a mask has shades."""


@dataclass(frozen=True)
class ShapeRange:
    """How far an outline is changed before it is shown.

    Attributes:
        affine: Turn, shift and enlargement of the whole pair. width: Log stretch of the width, to either side.
        mirror: Whether the pair is mirrored half of the time; true to life for outlines that hold no heart.
    """

    affine: views.AffineRange = field(
        default_factory=lambda: views.AffineRange(degrees=8.0, shift=0.06, scale=(0.88, 1.14))
    )
    width: float = 0.15
    mirror: bool = True


def lung_outlines(count: int = COUNT, side: int = 64, seed: int = SEED) -> FloatArray:
    """Draw pairs of lungs.

    Args:
        count: N. side: Pixels on a side, at least 16. seed: Of all outlines.

    Returns:
        (N, 1, side, side) float32 in [0, 1], 1 within a lung, the share of a pixel at its edge.

    Raises:
        ValueError: No outline, or a side below 16.
    """
    if count < 1 or side < 16:
        raise ValueError(f"{count} outlines of {side} px cannot be drawn; at least 1 of at least 16 px")
    rng = np.random.default_rng(seed)
    fine = side * OVERSAMPLED
    drawn = np.stack([_pair(rng, fine) for _ in range(count)])
    pooled = drawn.reshape(count, side, OVERSAMPLED, side, OVERSAMPLED).mean(axis=(2, 4), dtype=np.float32)
    return np.asarray(pooled[:, None], np.float32)


def vary(shapes: Tensor, span: ShapeRange, count: int, generator: torch.Generator) -> Tensor:
    """Some of the outlines, each turned, moved, stretched and perhaps mirrored: (S, 1, H, W) to (count, 1, H, W)."""
    rows = torch.randint(len(shapes), (count,), generator=generator)
    theta = views.draw_affine(count, span.affine, generator, shapes.shape[-1] / shapes.shape[-2])
    width = (span.width * (2 * torch.rand(count, generator=generator) - 1)).exp()
    if span.mirror:
        width = width * (2 * torch.randint(0, 2, (count,), generator=generator) - 1)
    theta[:, :, 0] *= width[:, None]
    return views.warp(shapes[rows], theta)


def _pair(rng: np.random.Generator, side: int) -> npt.NDArray[np.bool_]:
    """Two lungs on (side, side); x and y run over [0, 1], y downwards."""
    centre = (np.arange(side) + 0.5) / side
    y, x = centre[:, None], centre[None, :]
    middle = 0.5 + rng.normal(0, 0.01)
    top = rng.uniform(0.06, 0.16)
    base = rng.uniform(0.70, 0.84)
    reach = rng.uniform(0.33, 0.42)
    lift = rng.uniform(-0.02, 0.05)  # the liver pushes the dome of the right lung, on the picture's left, up
    right = _lung(rng, middle - x, y, top + rng.normal(0, 0.01), base - lift, reach + rng.normal(0, 0.01))
    left = _lung(rng, x - middle, y, top + rng.normal(0, 0.01), base, reach + rng.normal(0, 0.01))
    return np.asarray(right | left)


def _lung(
    rng: np.random.Generator,
    s: npt.NDArray[np.float64],
    y: npt.NDArray[np.float64],
    top: float,
    base: float,
    reach: float,
) -> npt.NDArray[np.bool_]:
    """One lung at distance s from the midline; ``base`` is the height of its dome, ``reach`` its lateral wall."""
    angle = base + rng.uniform(0.02, 0.10)  # the lateral angle lies lower than the dome
    apex = reach * rng.uniform(0.38, 0.5)
    inner = rng.uniform(0.05, 0.08)
    flare = rng.uniform(0.0, 0.05)
    t = np.clip((y - top) / (angle - top), 0.0, 1.0)
    shoulder = np.sqrt(1.0 - (1.0 - t) ** rng.uniform(2.2, 3.2))
    lateral = apex + (reach - flare * (1.0 - t) - apex) * shoulder
    neck = np.sqrt(1.0 - (1.0 - np.minimum(t * 3.0, 1.0)) ** 2)
    medial = apex - (apex - inner) * neck
    u = np.clip((s - inner) / (reach - inner), 0.0, 1.0)
    crown = rng.uniform(0.35, 0.55)
    outward = np.maximum(u - crown, 0.0) / (1.0 - crown)
    inward = np.maximum(crown - u, 0.0) / crown
    floor = base + (angle - base) * outward**2 + rng.uniform(0.0, 0.04) * inward**2
    return np.asarray((y > top) & (y < floor) & (s > medial) & (s < lateral))

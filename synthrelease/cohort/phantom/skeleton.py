"""Thickness of bone, and of the body's outline and airways, along each ray.

Ribs are loops seen from the front: the posterior half arcs from the spine up and over to the chest wall, the
anterior half falls from there towards the sternum. With `u = s / cage(y)` in [0, 1] and one loop every `spacing`:

    posterior  y = y_k - sweep * sqrt(1 - u^2)          anterior  y = y_k + sweep * sqrt(1 - u^2) + droop * (1 - u)

so all ribs are one periodic profile of the phase `(y - curve(u)) / spacing`: two evaluations, however many ribs.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from synthrelease.cohort.phantom.anatomy import LEFT, RIGHT, Anatomy, Floats

_RIB_THICKNESS = 0.098
ARM_RADIUS = 0.17


def _tube(distance: Floats, half_width: Floats | np.float32) -> Floats:
    """Path through a hollow bone of that half width, 0 to about 1: bright cortex, paler marrow."""
    t = (distance / half_width) ** 2
    cortex = np.sqrt(np.maximum(1 - t, 0))
    return np.asarray(cortex - np.float32(0.45) * np.sqrt(np.maximum(1 - t * np.float32(2.1), 0)), np.float32)


def _rib_half(anatomy: Anatomy, y: Floats, shift: Floats, slope: Floats, jitter: Floats) -> Floats:
    """One half of every loop: `shift` moves the phase, `slope` (dy/ds) corrects the width of steep parts."""
    spacing = np.float32(anatomy.rib_spacing)
    phase = (y + shift - np.float32(anatomy.rib_offset)) / spacing + jitter
    index = np.floor(phase)
    away = np.abs(phase - index - np.float32(0.5)) * spacing / np.sqrt(1 + slope * slope)
    width = anatomy.rib_width[index.astype(np.int32) & 31]
    return _tube(away, width)


def ribs(anatomy: Anatomy, s: Floats, y: Floats, rows: NDArray[np.int32], left: NDArray[np.bool_]) -> Floats:
    """Bone of all ribs, (H, W)."""
    cage = anatomy.lateral.ravel()[rows + left * np.int32(anatomy.lateral.shape[1])] + np.float32(0.03)
    u = s / cage
    arch = np.sqrt(np.maximum(1 - u * u, np.float32(0.004)))
    sweep, droop = np.float32(anatomy.rib_sweep), np.float32(anatomy.rib_droop)
    steep = sweep * u / (arch * cage)
    jitter = anatomy.rib_jitter[rows]
    edge_on = np.minimum(np.float32(0.75) + np.float32(0.25) / arch, np.float32(1.7))
    top = np.float32(min(lung.apex_y for lung in anatomy.lungs) + 0.01)
    present = (u < 1) * np.clip((s - np.float32(0.05)) * 25, 0, 1) * np.clip((y - top) * 20, 0, 1)
    posterior = _rib_half(anatomy, y, sweep * arch, steep, jitter) * np.clip(
        (np.float32(0.62) - y) * 3, np.float32(0.12), 1
    )
    in_front = np.clip((u - np.float32(0.38)) * np.float32(7), 0, 1) * np.clip((np.float32(0.4) - y) * 5, 0, 1)
    anterior = _rib_half(anatomy, y, -sweep * arch - droop * (1 - u), steep + droop / cage, jitter) * in_front
    thickness = np.float32(_RIB_THICKNESS * anatomy.rib_bone)
    return np.asarray(thickness * edge_on * present * (posterior + np.float32(0.6) * anterior), np.float32)


def spine(anatomy: Anatomy, x: Floats, y: Floats) -> Floats:
    """Bone of the vertebral column, with discs, pedicles and spinous processes, (H, W)."""
    half, pitch, offset = anatomy.vertebra
    phase = y * np.float32(1 / pitch) + np.float32(offset)
    turn = np.cos(np.float32(2 * np.pi) * phase)
    across = (x * np.float32(1 / half)) ** 2
    body = np.sqrt(np.maximum(1 - across * across * across, 0)) * (
        np.float32(0.78) + np.float32(0.22) * np.clip(2 * turn + 1, -1, 1)
    )
    pedicle = np.exp(-(((np.abs(x) - np.float32(0.6 * half)) * np.float32(1 / 0.018)) ** 2)) * np.maximum(turn, 0) ** 2
    process = np.exp(-((x * np.float32(1 / 0.014)) ** 2)) * np.maximum(-turn, 0) ** 2
    return np.asarray(
        np.float32(0.075 * (0.5 + 0.5 * anatomy.rib_bone)) * (body + np.float32(0.5) * (pedicle + process)), np.float32
    )


def clavicles(anatomy: Anatomy, x: Floats, y: Floats) -> Floats:
    """Bone of both clavicles: S-shaped tubes from beside the sternum to the shoulders, (H, W)."""
    left = x > 0
    s = np.abs(x)
    end = np.float32(anatomy.arm[0] - 0.12)
    along = (s - np.float32(0.085)) / (end - np.float32(0.085))
    curve = []
    for medial_y, rise, bow in anatomy.clavicles:
        wave = np.float32(bow) * np.sin(np.float32(2 * np.pi) * along)
        curve.append(np.float32(medial_y) - np.float32(rise) * along + wave)
    away = np.abs(y - np.where(left, curve[LEFT], curve[RIGHT])) * np.float32(0.93)
    width = np.float32(0.03) + np.float32(0.018) * np.clip(1 - along * 4, 0, 1)
    ends = np.clip(along * 25, 0, 1) * np.clip((1 - along) * 12, 0, 1)
    return np.asarray(np.float32(0.11 * (0.4 + 0.6 * anatomy.rib_bone)) * ends * _tube(away, width), np.float32)


def airways(anatomy: Anatomy, x: Floats, y: Floats) -> Floats:
    """Air in the trachea and both main bronchi, (H, W)."""
    cx, cy = (np.float32(v) for v in anatomy.carina)
    below = y - cy
    spread = np.abs(x - cx) - np.maximum(below, 0) * np.float32(0.95)
    radius = np.float32(0.036) - np.float32(0.010) * np.clip(below * 12, 0, 1)
    reach = np.clip((np.float32(0.15) - below) * 14, 0, 1)
    return np.asarray(np.float32(0.085) * reach * np.sqrt(np.maximum(1 - (spread / radius) ** 2, 0)), np.float32)


def trunk(anatomy: Anatomy, x: Floats, rows: NDArray[np.int32]) -> Floats:
    """Soft tissue of trunk, shoulders and neck as if the lungs were solid, (H, W)."""
    half = anatomy.torso[rows]
    t = np.minimum(np.abs(x) / half, 1)
    squared = t * t
    body = anatomy.depth[rows] * np.sqrt(1 - squared * squared * t) + np.float32(anatomy.chest_wall)
    body *= t < 1
    return np.asarray(body, np.float32)


def arm(anatomy: Anatomy, s: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Soft tissue of one arm, and bone of the upper arm and shoulder blade, each (H, W)."""
    shoulder_s, shoulder_y, slope = (np.float32(v) for v in anatomy.arm)
    down = y - shoulder_y
    axis = shoulder_s + slope * np.maximum(down, 0)
    cap = np.minimum(down, 0)
    away = (s - axis) * np.float32(0.94)
    reach = away * away + cap * cap
    soft = np.float32(3 * ARM_RADIUS) * np.sqrt(np.maximum(1 - reach * np.float32(1 / ARM_RADIUS**2), 0))
    width = np.float32(0.05) + np.float32(0.03) * np.exp(down * down * np.float32(-60))
    bone = np.float32(0.10) * _tube(np.sqrt(reach), width) * (down > np.float32(-0.08))
    blade = np.clip((s - np.float32(0.74) * shoulder_s - np.float32(0.12) * down) * 30, 0, 1)
    blade *= np.clip((np.float32(0.55) - down) * 3, 0, 1) * np.clip((down + np.float32(0.1)) * 8, 0, 1)
    blade *= np.clip((axis - s) * 10, 0, 1)
    return soft, bone + np.float32(0.02) * blade

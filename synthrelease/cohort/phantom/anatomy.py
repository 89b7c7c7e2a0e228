"""One invented chest: every shape of a patient, in body coordinates, drawn from a generator.

Body coordinates are `(x, y)`: `x` grows to the patient's left (image right) with 0 on the midline, `y` grows
towards the feet; the lungs span about 1.4 units each way, and one unit is about 18 cm. Curves that bound the
lungs are tables over `y`, so that rendering looks them up instead of evaluating powers per pixel.

    lateral(y)  distance from the midline to the chest wall       t = (y - apex) / (angle - apex)
    medial(y)   distance from the midline to the mediastinum      both leave the apex as a superellipse
    dome(s)     height of the diaphragm at distance s             parabola, steeper towards the wall
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

RIGHT, LEFT = 0, 1
TABLE_TOP, TABLE_STEP, TABLE_LENGTH = -1.5, 1 / 512, 1536


@cache
def table_heights() -> Doubles:
    """Heights `y` at which every table of an anatomy is sampled, shape (TABLE_LENGTH,)."""
    heights = np.asarray(TABLE_TOP + TABLE_STEP * np.arange(TABLE_LENGTH), np.float64)
    heights.flags.writeable = False
    return heights


def table_rows(y: Floats) -> NDArray[np.int32]:
    """Row of the tables that answers for each height in `y` (nearest; heights outside are clamped)."""
    row = (y - np.float32(TABLE_TOP)) * np.float32(1 / TABLE_STEP) + np.float32(0.5)
    return np.asarray(np.clip(row, 0, TABLE_LENGTH - 1).astype(np.int32))


@dataclass(frozen=True)
class Lung:
    """One lung's outline: `apex` (s, y), height of the dome, and the lateral angle it falls to."""

    apex_s: float
    apex_y: float
    width: float
    dome_s: float
    dome_y: float
    angle_y: float

    def dome(self, s: Any) -> Any:
        """Height of the diaphragm at distance `s` from the midline (any shape)."""
        lateral = np.maximum(s - self.dome_s, 0) / (self.width - self.dome_s)
        medial = np.maximum(self.dome_s - s, 0) / self.dome_s
        return self.dome_y + (self.angle_y - self.dome_y) * lateral * lateral + 0.07 * medial * medial


@dataclass(frozen=True)
class Anatomy:
    """Everything that all images of one patient share. Lengths are in body units, angles in radians."""

    lungs: tuple[Lung, Lung]
    lateral: Floats  # (2, TABLE_LENGTH)
    medial: Floats  # (2, TABLE_LENGTH)
    midline: Floats  # (TABLE_LENGTH,) sideways curve of the spine
    torso: Floats  # (TABLE_LENGTH,) half width of neck, shoulders, trunk
    depth: Floats  # (TABLE_LENGTH,) front-to-back thickness on the midline
    lung_depth: float
    lung_density: float
    chest_wall: float
    breast: tuple[float, float, float, float]  # thickness, s, y, radius; thickness 0 without
    heart: tuple[float, float, float, float, float]  # x, y, long radius, short radius, tilt
    pedicle: tuple[float, float, float]  # x, half width, half height of the great vessels above the heart
    atrium: tuple[float, float, float]  # x, y, radius of the right border's bulge
    knob: tuple[float, float, float]  # x, y, radius of the aortic knob
    carina: tuple[float, float]
    rib_spacing: float
    rib_offset: float
    rib_sweep: float
    rib_droop: float
    rib_bone: float
    rib_width: Floats  # (32,) half width of each rib
    rib_jitter: Floats  # (TABLE_LENGTH,) slow drift of the rib phase
    vertebra: tuple[float, float, float]  # half width, pitch, phase
    clavicles: tuple[tuple[float, float, float], tuple[float, float, float]]  # medial y, rise, bow per side
    arm: tuple[float, float, float]  # shoulder s, shoulder y, outward slope
    stomach: tuple[float, float, float, float]  # x, y, radius, air; air 0 without

    def lung_point(self, side: int, y: float) -> tuple[float, float]:
        """Medial and lateral distance of one lung at height `y`."""
        row = int(table_rows(np.asarray(y, np.float32)))
        return float(self.medial[side, row]), float(self.lateral[side, row])

    def midline_at(self, y: float) -> float:
        """Sideways position of the spine at height `y`."""
        return float(self.midline[table_rows(np.asarray(y, np.float32))])

    def angle(self, side: int) -> tuple[float, float]:
        """Costophrenic angle `(s, y)`: the lowest point of the lung along the chest wall."""
        heights = table_heights()
        inside = self.lungs[side].dome(self.lateral[side]) > heights
        inside &= heights > self.lungs[side].apex_y
        row = int(np.flatnonzero(inside)[-1])
        return float(self.lateral[side, row]), float(heights[row])


def _smooth_curve(rng: np.random.Generator, amplitude: float) -> Doubles:
    """Sum of three slow sines over the table, about `amplitude` high, shape (TABLE_LENGTH,)."""
    heights = table_heights()
    knots = heights[::16]  # far finer than the curve bends
    frequency = rng.uniform(1.0, 5.0, 3)
    phase = rng.uniform(0, 2 * np.pi, 3)
    curve = (amplitude * np.sin(frequency * knots[:, None] + phase) / frequency).sum(axis=1)
    return np.asarray(np.interp(heights, knots, curve))


def _lung(rng: np.random.Generator, side: int, top: float, base: float, width: float) -> Lung:
    lift = rng.normal(0.03, 0.015) * (1 if side == LEFT else -1)  # the liver pushes the right dome up
    dome_y = base + lift
    return Lung(
        apex_s=0.27 * width / 0.62 + rng.normal(0, 0.02),
        apex_y=top + rng.normal(0, 0.015),
        width=width + rng.normal(0, 0.015),
        dome_s=width * rng.uniform(0.42, 0.6),
        dome_y=dome_y,
        angle_y=dome_y + rng.uniform(0.13, 0.27),
    )


def _outline(rng: np.random.Generator, lung: Lung) -> tuple[Doubles, Doubles]:
    """Lateral and medial tables of one lung (both equal the apex above it, so that the lung is empty there)."""
    t = (table_heights() - lung.apex_y) / (lung.angle_y - lung.apex_y)
    rise = np.clip(t, 0.0, 1.0)
    power = rng.uniform(2.3, 3.2)
    shoulder = np.sqrt(np.clip(1 - (1 - rise) ** power, 0, 1))  # superellipse: round apex, straight flank
    flank = 1 - rng.uniform(-0.02, 0.09) * np.clip(t - 0.6, 0, 0.6) ** 2 / 0.16
    lateral = lung.apex_s + (lung.width * flank - lung.apex_s) * shoulder
    inner = rng.uniform(0.085, 0.125) + 0.03 * (2 * rise - 0.7) ** 2 + _smooth_curve(rng, 0.012)
    medial = lung.apex_s - (lung.apex_s - inner) * np.sqrt(np.clip(1 - (1 - np.minimum(rise * 3.2, 1)) ** 2, 0, 1))
    outside = t < 0
    lateral[outside] = medial[outside] = lung.apex_s
    return lateral, medial


def _trunk(rng: np.random.Generator, width: float, habitus: float) -> tuple[Any, Any, float, float]:
    """Half width and thickness of neck, shoulders and trunk over `y`, and where the shoulders lie."""
    y = table_heights()
    shoulder_y = rng.uniform(-0.86, -0.72)
    shoulder_s = width + 0.24 + 0.1 * habitus + rng.normal(0, 0.03)
    trunk = width + 0.13 + 0.17 * habitus + 0.05 * habitus * np.clip(y, -0.5, 1)
    neck = rng.uniform(0.2, 0.29) + 0.04 * habitus
    slope = np.clip((y - shoulder_y + 0.2) / 0.34, 0, 1) ** rng.uniform(0.9, 1.5)
    half = neck + (shoulder_s - neck) * slope
    armpit = 1 / (1 + np.exp(-(y + 0.42) / 0.06))
    half = half * (1 - armpit) + trunk * armpit + _smooth_curve(rng, 0.008)
    thickness = (1.0 + 0.4 * habitus) * (0.66 + 0.34 / (1 + np.exp(-(y - shoulder_y - 0.02) / 0.10)))
    thickness = thickness + 0.3 * np.clip(y - 0.2, 0, 0.7)
    return half, thickness, shoulder_s, shoulder_y


def draw_anatomy(rng: np.random.Generator, sex: str, age_years: int) -> Anatomy:
    """Draw one patient's chest.

    Args:
        rng: Source of every random number; the same state gives the same chest.
        sex: "F" or "M"; changes size and breast shadows.
        age_years: Older patients have less bone, a rounder back and a larger aortic knob.
    """
    build = (0.63 if sex == "F" else 0.68) * rng.normal(1, 0.055)
    habitus = float(np.clip(rng.beta(2.0, 2.6), 0.02, 0.98))  # 0 lean to 1 heavy
    aging = (age_years - 20) / 70
    base = rng.normal(0.38 - 0.1 * habitus, 0.085)
    top = rng.normal(-0.72, 0.035)
    lungs = (_lung(rng, RIGHT, top, base, build), _lung(rng, LEFT, top, base, build))
    outlines = [_outline(rng, lung) for lung in lungs]
    half, thickness, shoulder_s, shoulder_y = _trunk(rng, build, habitus)

    heart_long = build * float(np.clip(rng.normal(0.56 + 0.06 * aging, 0.065), 0.42, 0.78))
    heart_y = base - heart_long * rng.uniform(0.28, 0.46)
    heart_x = build * rng.normal(0.21, 0.04)
    spacing = rng.uniform(0.118, 0.158)
    carina_y = rng.normal(-0.27, 0.03)
    breast = rng.uniform(0.03, 0.17) * (0.6 + habitus) if sex == "F" else max(rng.normal(0.0, 0.03) * habitus, 0.0)
    return Anatomy(
        lungs=lungs,
        lateral=np.stack([o[0] for o in outlines]).astype(np.float32),
        medial=np.stack([o[1] for o in outlines]).astype(np.float32),
        midline=_smooth_curve(rng, 0.018 + 0.012 * aging).astype(np.float32),
        torso=half.astype(np.float32),
        depth=thickness.astype(np.float32),
        lung_depth=rng.uniform(0.68, 0.86) * (1 - 0.1 * habitus),
        lung_density=rng.uniform(0.22, 0.34),
        chest_wall=0.02 + 0.05 * habitus,
        breast=(breast, build * rng.uniform(0.5, 0.68), rng.uniform(0.12, 0.34), rng.uniform(0.25, 0.36)),
        heart=(heart_x, heart_y, heart_long, heart_long * rng.uniform(0.66, 0.86), rng.uniform(0.3, 0.85)),
        pedicle=(rng.uniform(0.0, 0.04), rng.uniform(0.12, 0.17) + 0.02 * aging, rng.uniform(0.34, 0.5)),
        atrium=(
            -build * rng.uniform(0.02, 0.12),
            heart_y + rng.uniform(0.0, 0.1),
            heart_long * rng.uniform(0.52, 0.68),
        ),
        knob=(rng.uniform(0.06, 0.11), carina_y - rng.uniform(0.03, 0.12), rng.uniform(0.07, 0.1) + 0.05 * aging),
        carina=(rng.normal(-0.015, 0.012), carina_y),
        rib_spacing=spacing,
        rib_offset=rng.uniform(0, spacing),
        rib_sweep=rng.uniform(0.13, 0.25),
        rib_droop=rng.uniform(0.1, 0.28),
        rib_bone=rng.uniform(0.75, 1.25) * (1 - 0.3 * aging),
        rib_width=(rng.uniform(0.026, 0.036) * rng.uniform(0.85, 1.15, 32)).astype(np.float32),
        rib_jitter=_smooth_curve(rng, 0.3).astype(np.float32),
        vertebra=(rng.uniform(0.068, 0.09), spacing * rng.uniform(0.93, 1.05), rng.uniform(0, 1)),
        clavicles=tuple(
            (top + rng.uniform(0.13, 0.24), rng.uniform(0.05, 0.24), rng.uniform(-0.05, 0.06)) for _ in range(2)
        ),  # type: ignore[arg-type]
        arm=(shoulder_s - 0.03, shoulder_y + 0.2, rng.uniform(0.05, 0.45)),
        stomach=(
            build * rng.uniform(0.4, 0.62),
            base + rng.uniform(0.16, 0.3),
            rng.uniform(0.07, 0.16),
            rng.uniform(0.12, 0.4) * float(rng.random() < 0.55),
        ),
    )

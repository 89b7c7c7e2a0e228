"""From a chest and a pose to a radiograph: thickness maps, Beer-Lambert, scatter, photons, grey levels.

    L = mu_soft * soft + mu_lung * lung + mu_bone * bone                line integral of attenuation
    I = exp(-L) + scatter * blur(exp(-L))                               primary and scattered photons
    N ~ I + sqrt(I / dose) * normal                                     quantum noise
    grey = sigmoid((-log N - mean over lungs - centre) / latitude)      exposure control over the lungs, film curve

Every map is in body units of path length. Small sizes are drawn at a whole multiple and area-averaged, so that ribs
and vessels do not alias.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import ndimage

from synthrelease.cohort.phantom import skeleton
from synthrelease.cohort.phantom.anatomy import LEFT, Anatomy, Floats
from synthrelease.cohort.phantom.fields import (
    Fields,
    Mask,
    ellipse,
    measure_fields,
    round_profile,
    soft_step,
    window_of,
)
from synthrelease.cohort.phantom.findings import Effusion, Findings, Nodule
from synthrelease.cohort.phantom.pose import Exposure, Pose
from synthrelease.cohort.phantom.vessels import TABLE_HALF

SEGMENTS = ("right_lung", "left_lung", "heart", "nodule", "effusion")
MU_SOFT, MU_BONE = 2.3, 3.4  # per body unit (18 cm), near 60 keV after beam hardening; bone is its excess over soft
_FINEST = 96  # smaller images are drawn larger and averaged
_SCATTER_GRID = 16


def drawing_size(size: int) -> int:
    """Width at which an image of `size` pixels is drawn before averaging: its smallest multiple >= 96."""
    return size * -(-_FINEST // size)


def _nodule_radius(fields: Fields, nodule: Nodule) -> Floats:
    """Squared normalised radius of the lobulated nodule; < 1 inside."""
    dx, dy = fields.x - np.float32(nodule.x), fields.y - np.float32(nodule.y)
    a2, p2, a3, p3 = nodule.lobes
    angle = np.arctan2(dy, dx)
    edge = 1 + np.float32(a2) * np.cos(2 * angle + np.float32(p2)) + np.float32(a3) * np.cos(3 * angle + np.float32(p3))
    return np.asarray((dx * dx + dy * dy) / (np.float32(nodule.radius) * edge) ** 2, np.float32)


def _under_fluid(anatomy: Anatomy, fields: Fields, effusion: Effusion) -> Floats:
    """Depth below the fluid's surface, which climbs the wall by `meniscus`; minus one on the dry side."""
    lung = anatomy.lungs[effusion.side]
    climb = np.clip((fields.s - np.float32(0.1)) * np.float32(1 / (lung.width - 0.1)), 0, 1)
    below = fields.y - np.float32(effusion.level_y) + np.float32(effusion.meniscus) * (climb * climb * climb)
    return np.where(fields.left == (effusion.side == LEFT), below, np.float32(-1))


@dataclass(frozen=True)
class Drawing:
    """A radiograph before averaging down: line integral and exact masks, each (H, W)."""

    attenuation: Floats
    lung_zone: Mask
    masks: dict[str, Mask]


def draw(anatomy: Anatomy, findings: Findings, vessels: Floats, pose: Pose, size: int) -> Drawing:
    """Accumulate the line integral of attenuation under each of `size` x `size` pixels."""
    fields = measure_fields(anatomy, pose, size)
    zone = (fields.to_wall > 0) & (fields.to_middle > 0) & (fields.to_dome > 0)

    hx, hy, ha, hb, tilt = anatomy.heart
    heart = ellipse(fields, hx, hy, ha, hb, tilt)
    ax, ay, ar = anatomy.atrium
    heart = np.minimum(heart, ellipse(fields, ax, ay, 0.82 * ar, ar, 0.0))
    kx, ky, kr = anatomy.knob
    knob = ellipse(fields, kx, ky, kr, 1.15 * kr, 0.0)
    in_heart = heart < 1
    px, pa, pb = anatomy.pedicle
    knob = np.minimum(knob, ellipse(fields, px, hy - 0.6 * hb, pa, pb, -0.12))

    dome_fade = round_profile(fields.to_dome, 0.09)
    behind_dome = np.exp(np.minimum(fields.to_dome, 0) * np.float32(9)) * np.float32(0.30)  # lung behind the liver
    profile = round_profile(fields.to_wall, 0.34) * round_profile(fields.to_middle, 0.10)
    lung = np.float32(anatomy.lung_depth) * profile * (behind_dome + (1 - np.float32(0.30)) * dome_fade)
    lung *= 1 - np.float32(0.72) * np.sqrt(np.sqrt(np.maximum(1 - heart, 0)))
    lung *= 1 - np.float32(0.6) * np.sqrt(np.maximum(1 - knob, 0))

    masks = {"heart": in_heart & (fields.to_dome > -0.03)}
    aerated = zone & ~in_heart
    cells = vessels.shape[0]
    column = np.clip((fields.x + TABLE_HALF) * (cells / (2 * TABLE_HALF)), 0, cells - 1).astype(np.int32)
    row = np.clip((fields.y + TABLE_HALF) * (cells / (2 * TABLE_HALF)), 0, cells - 1).astype(np.int32)
    blood = vessels.ravel()[row * cells + column] * np.minimum(lung * np.float32(3), 1)

    body = skeleton.trunk(anatomy, fields.x, fields.rows)
    soft = np.zeros_like(body)
    empty = np.zeros_like(zone)
    masks["nodule"] = masks["effusion"] = empty
    if findings.nodule is not None:
        nodule, reach = findings.nodule, 1.3 * findings.nodule.radius
        part = window_of(pose, size, (nodule.x - reach, nodule.x + reach), (nodule.y - reach, nodule.y + reach))
        radius = _nodule_radius(fields.crop(part), nodule)
        masks["nodule"] = empty.copy()
        masks["nodule"][part] = radius < 1
        soft[part] += np.float32(2 * nodule.radius * nodule.density) * np.sqrt(np.maximum(1 - radius, 0))
    if findings.effusion is not None:
        below = _under_fluid(anatomy, fields, findings.effusion)
        lung *= 1 - np.float32(findings.effusion.density) * soft_step(below, 0.09)
        blood *= 1 - soft_step(below, 0.09)
        masks["effusion"] = aerated & (below > 0)
    masks["right_lung"] = aerated & ~fields.left & ~masks["effusion"]
    masks["left_lung"] = aerated & fields.left & ~masks["effusion"]

    lung = np.minimum(lung, np.maximum(body - np.float32(0.12), 0))
    soft += body + blood - np.float32(1 - anatomy.lung_density) * lung
    bone = np.zeros_like(body)
    cage = float(anatomy.lateral.max() + np.abs(anatomy.midline).max()) + 0.04
    part = window_of(pose, size, (-cage, cage), (min(lung.apex_y for lung in anatomy.lungs) - 0.05, 3.0))
    inner = fields.crop(part)
    bone[part] = skeleton.ribs(anatomy, inner.s, inner.y, inner.rows, inner.left)
    _add_small_parts(anatomy, pose, fields, soft, bone)
    return Drawing(np.float32(MU_SOFT) * np.maximum(soft, 0) + np.float32(MU_BONE) * bone, aerated, masks)


def _add_small_parts(anatomy: Anatomy, pose: Pose, fields: Fields, soft: Floats, bone: Floats) -> None:
    """Add to `soft` and `bone`, in place, what covers only a part of the detector."""
    size = soft.shape[0]
    shoulder = anatomy.arm[0]
    for x_range in ((-3.0, 0.15 - shoulder), (shoulder - 0.15, 3.0)):
        part = window_of(pose, size, x_range, (anatomy.arm[1] - skeleton.ARM_RADIUS, 3.0))
        tissue, inner = skeleton.arm(anatomy, np.abs(fields.x[part]), fields.y[part])
        soft[part] = np.maximum(soft[part], tissue)
        bone[part] += inner
    half = anatomy.vertebra[0] + 0.01 + float(np.abs(anatomy.midline).max())
    part = window_of(pose, size, (-half, half), (-3.0, 3.0))
    bone[part] += skeleton.spine(anatomy, fields.x[part] - anatomy.midline[fields.rows[part]], fields.y[part])
    high = min(y - rise - abs(bow) for y, rise, bow in anatomy.clavicles) - 0.06
    low = max(y + abs(bow) for y, rise, bow in anatomy.clavicles) + 0.06
    part = window_of(pose, size, (-1.2, 1.2), (high, low))
    bone[part] += skeleton.clavicles(anatomy, fields.front_x[part], fields.y[part])
    cx, cy = anatomy.carina
    part = window_of(pose, size, (cx - 0.25, cx + 0.25), (-3.0, cy + 0.2))
    soft[part] -= skeleton.airways(anatomy, fields.x[part], fields.y[part])
    thickness, bs, by, br = anatomy.breast
    if thickness > 0:
        part = window_of(pose, size, (-bs - br - 0.1, bs + br + 0.1), (by - 2 * br, by + br))
        over = np.abs(fields.front_x[part]) - np.float32(bs)
        drop = fields.y[part] - np.float32(by)
        drop = np.where(drop > 0, drop, drop * np.float32(0.55))  # hangs: sharp below, fading above
        inside = np.maximum(1 - (over * over + drop * drop) * np.float32(1 / br**2), 0)
        soft[part] += np.float32(thickness) * np.sqrt(inside)
    sx, sy, sr, gas = anatomy.stomach
    if gas > 0:
        part = window_of(pose, size, (sx - 2 * sr, sx + 2 * sr), (sy - 1.5 * sr, sy + 1.5 * sr))
        under = fields.crop(part)
        bubble = np.sqrt(np.maximum(1 - ellipse(under, sx, sy, 1.4 * sr, sr, 0.1), 0))
        soft[part] -= np.float32(gas) * bubble * (under.to_dome < np.float32(-0.04))


@lru_cache(maxsize=16)
def _spread(size: int) -> Floats:
    """Matrix (size, _SCATTER_GRID) that resamples one axis of the scatter grid linearly."""
    position = np.clip((np.arange(size) + 0.5) * _SCATTER_GRID / size - 0.5, 0, _SCATTER_GRID - 1)
    knots = np.arange(_SCATTER_GRID)
    return np.asarray(np.maximum(1 - np.abs(position[:, None] - knots[None, :]), 0).astype(np.float32), np.float32)


def expose(drawing: Drawing, exposure: Exposure, rng: np.random.Generator, size: int) -> Floats:
    """Turn the line integral into grey levels in [0, 1], bright where the body is dense, (size, size)."""
    drawn = drawing.attenuation.shape[0]
    primary = np.exp(-drawing.attenuation)
    spread = _spread(drawn)
    mean = spread.T @ primary @ spread * np.float32((_SCATTER_GRID / drawn) ** 2)
    cloud = ndimage.gaussian_filter(np.minimum(mean, 0.35), 2.0, mode="nearest")
    photons = primary + np.float32(exposure.scatter) * (spread @ cloud @ spread.T)
    photons = ndimage.gaussian_filter(photons, 0.54 * (drawn / 128) ** 0.5, truncate=2.5, mode="nearest")
    photons = average(photons, size)
    # A larger detector element collects more photons; the dose is quoted for 128 elements across.
    per_element = exposure.dose * (128 / size) ** 2
    noise = rng.standard_normal((size, size), dtype=np.float32)
    photons = np.maximum(photons + noise * np.sqrt(photons * np.float32(1 / per_element)), 1e-4)
    attenuation = -np.log(photons)
    chamber = average(drawing.lung_zone.astype(np.float32), size) > 0.5
    level = float(attenuation[chamber].mean()) if chamber.any() else float(attenuation.mean())
    logit = (attenuation - np.float32(level + exposure.centre)) * np.float32(1 / exposure.latitude)
    return np.asarray((1 / (1 + np.exp(-logit))) ** np.float32(exposure.gamma), np.float32)


def average(field: Floats, size: int) -> Floats:
    """Area-average a square field down to `size` (a whole fraction of its width)."""
    times = field.shape[0] // size
    if times == 1:
        return field
    return np.asarray(field.reshape(size, times, size, times).mean(axis=(1, 3), dtype=np.float32))

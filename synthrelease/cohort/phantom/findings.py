"""What is wrong in an invented chest: a nodule, an effusion, both, or nothing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from synthrelease.cohort.phantom.anatomy import LEFT, RIGHT, Anatomy

FINDINGS = ("normal", "nodule", "effusion")
BOTH = "nodule_and_effusion"
"""Of a patient with the two at once; drawn only where a cohort asks for several findings."""


@dataclass(frozen=True)
class Nodule:
    """A lobulated ball in one lung; `x, y, radius` in body units, `density` relative to soft tissue."""

    x: float
    y: float
    radius: float
    density: float
    lobes: tuple[float, float, float, float]  # amplitude and phase of the 2nd and 3rd angular harmonic


@dataclass(frozen=True)
class Effusion:
    """Fluid over one hemidiaphragm, upright: level with a meniscus that climbs the chest wall."""

    side: int
    level_y: float
    meniscus: float
    density: float


@dataclass(frozen=True)
class Findings:
    """What is present; a normal chest has neither."""

    nodule: Nodule | None = None
    effusion: Effusion | None = None


def _draw_nodule(rng: np.random.Generator, anatomy: Anatomy) -> Nodule:
    radius = float(rng.uniform(0.084, 0.17))  # 11 to 22 of 128 pixels across at unit scale
    side = int(rng.integers(2))
    lung = anatomy.lungs[side]
    s, y = lung.width * 0.6, 0.0
    for _ in range(60):
        y = float(rng.uniform(lung.apex_y + 1.3 * radius, lung.dome_y))
        medial, lateral = anatomy.lung_point(side, y)
        low, high = medial + 0.8 * radius, lateral - 0.9 * radius
        s = float(rng.uniform(low, max(high, low + 1e-6)))
        if high > low and lung.dome(s) - y > 0.8 * radius:
            break
    lobes = (
        float(rng.uniform(0, 0.12)),
        float(rng.uniform(0, 2 * np.pi)),
        float(rng.uniform(0, 0.09)),
        float(rng.uniform(0, 2 * np.pi)),
    )
    return Nodule(s if side == LEFT else -s, y, radius, float(rng.uniform(0.7, 1.1)), lobes)


def _draw_effusion(rng: np.random.Generator, anatomy: Anatomy) -> Effusion:
    side = int(rng.choice((RIGHT, LEFT)))
    lung = anatomy.lungs[side]
    rise = float(rng.uniform(-0.03, 0.38)) * (lung.dome_y - lung.apex_y)
    return Effusion(side, lung.dome_y - rise, float(rng.uniform(0.06, 0.2)), float(rng.uniform(0.75, 1.0)))


def draw_findings(rng: np.random.Generator, anatomy: Anatomy, finding: str) -> Findings:
    """Place the finding of that name (one of FINDINGS) in `anatomy`."""
    if finding == "nodule":
        return Findings(nodule=_draw_nodule(rng, anatomy))
    if finding == "effusion":
        return Findings(effusion=_draw_effusion(rng, anatomy))
    return Findings()


def with_the_other(rng: np.random.Generator, anatomy: Anatomy, findings: Findings) -> Findings:
    """A nodule to the fluid, or fluid to the nodule; the nodule lies in air, not under the fluid."""
    nodule = findings.nodule or _draw_nodule(rng, anatomy)
    effusion = findings.effusion or _draw_effusion(rng, anatomy)
    for _ in range(60):
        if not _covered(nodule, effusion):
            break
        if findings.nodule is None:
            nodule = _draw_nodule(rng, anatomy)
        else:
            effusion = _draw_effusion(rng, anatomy)
    return Findings(nodule, effusion)


def _covered(nodule: Nodule, effusion: Effusion) -> bool:
    """Whether fluid may reach the nodule; it climbs the chest wall by the meniscus."""
    same = (nodule.x > 0) == (effusion.side == LEFT)
    return same and nodule.y + nodule.radius > effusion.level_y - effusion.meniscus

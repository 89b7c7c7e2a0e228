"""Invented patients: anatomy, finding and images, all from `(seed, index)`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from synthrelease.cohort.phantom.anatomy import LEFT, RIGHT, Anatomy, draw_anatomy
from synthrelease.cohort.phantom.findings import BOTH, FINDINGS, Findings, draw_findings, with_the_other
from synthrelease.cohort.phantom.pose import Pose, draw_exposure, draw_pose
from synthrelease.cohort.phantom.render import SEGMENTS, average, draw, drawing_size, expose
from synthrelease.cohort.phantom.vessels import vessel_table

SMALLEST, LARGEST = 32, 512
IMAGES_PER_PATIENT = MappingProxyType({1: 0.40, 2: 0.32, 3: 0.18, 4: 0.10})
FINDING_SHARE = MappingProxyType({"normal": 0.40, "nodule": 0.30, "effusion": 0.30})
BOTH_SHARE = 1 / 3
"""Of patients with a finding, where a cohort has several at once: the four kinds are then 0.4 and three times 0.2."""


@dataclass(frozen=True)
class PhantomImage:
    """One radiograph with its exact truth.

    Attributes:
        pixels: (H, W) float32 in [0, 1], bright where the body is dense; image-left is the patient's right.
        masks: (H, W) bool by segment name (`SEGMENTS`), all present, empty where the patient lacks the thing.
            The lungs are the air-filled fields beside the heart and above the diaphragm, without the effusion.
        landmarks: `(row, column)` in pixels, pixel centres at whole numbers; may lie outside the image.
    """

    pixels: NDArray[np.float32]
    masks: Mapping[str, NDArray[np.bool_]]
    landmarks: Mapping[str, tuple[float, float]]


@dataclass(frozen=True)
class PhantomPatient:
    """One invented patient; `finding` is one of `FINDINGS`, or `BOTH`."""

    index: int
    patient_id: str
    sex: str
    age_years: int
    finding: str
    images: tuple[PhantomImage, ...]


def _landmarks(anatomy: Anatomy, findings: Findings, pose: Pose, size: int) -> dict[str, tuple[float, float]]:
    points: dict[str, tuple[float, float]] = {
        "carina": anatomy.carina,
        "heart_center": (anatomy.heart[0] + pose.yaw, anatomy.heart[1]),
        "aortic_knob": (anatomy.knob[0] + pose.yaw, anatomy.knob[1]),
    }
    for side, name, sign in ((RIGHT, "right", -1.0), (LEFT, "left", 1.0)):
        lung = anatomy.lungs[side]
        angle_s, angle_y = anatomy.angle(side)
        for part, s, y in (
            ("apex", lung.apex_s, lung.apex_y),
            ("costophrenic", angle_s, angle_y),
            ("dome", lung.dome_s, lung.dome_y),
        ):
            points[f"{name}_{part}"] = (anatomy.midline_at(y) + sign * s, y)
    if findings.nodule is not None:
        points["nodule_center"] = (findings.nodule.x, findings.nodule.y)
    landmarks = {}
    for name, (x, y) in points.items():
        u, v = pose.to_detector(x, y)
        landmarks[name] = ((v + 1) * size / 2 - 0.5, (u + 1) * size / 2 - 0.5)
    return landmarks


def _follow_up(rng: np.random.Generator, findings: Findings) -> Findings:
    """The same finding at another visit: fluid rises and falls a little, a nodule grows or shrinks a little."""
    change = float(np.clip(rng.normal(0, 1), -2, 2))
    nodule, effusion = findings.nodule, findings.effusion
    if effusion is not None:
        effusion = replace(effusion, level_y=effusion.level_y + 0.03 * change)
    if nodule is not None:
        nodule = replace(nodule, radius=nodule.radius * (1 + 0.03 * change))
    return Findings(nodule, effusion)


def _majority(mask: NDArray[np.bool_], size: int) -> NDArray[np.bool_]:
    """The mask at `size`: a pixel belongs to it when more than half of its area does, so disjoint masks stay so."""
    if mask.shape[0] == size:
        return mask.copy()
    return np.asarray(average(mask.astype(np.float32), size) > 0.5)


def simulate_patient(seed: int, index: int, size: int, *, several: bool = False) -> PhantomPatient:
    """Simulate one patient.

    Equal arguments give equal bits, whatever else was simulated before or beside; another `size` gives the
    same patient seen by a detector with other elements.

    Args:
        seed: Seed of the cohort, >= 0.
        index: Which patient of the cohort, >= 0.
        size: Width and height of every image, 32 to 512 pixels.
        several: Whether some patients with a finding get the other one too; the others stay the same, bit by bit.

    Raises:
        ValueError: `size` outside 32 to 512, or a negative seed or index.
    """
    if not SMALLEST <= size <= LARGEST:
        raise ValueError(f"size is {size}; a phantom image is {SMALLEST} to {LARGEST} pixels wide")
    if seed < 0 or index < 0:
        raise ValueError(f"seed {seed} and index {index} must not be negative")
    root = np.random.SeedSequence(seed, spawn_key=(index,))
    person, texture, visits = (np.random.default_rng(child) for child in root.spawn(3))
    sex = "F" if person.random() < 0.47 else "M"
    age_years = int(np.clip(person.normal(54, 18), 18, 92))
    finding = str(person.choice(FINDINGS, p=[FINDING_SHARE[name] for name in FINDINGS]))
    count = int(person.choice(list(IMAGES_PER_PATIENT), p=list(IMAGES_PER_PATIENT.values())))
    anatomy = draw_anatomy(person, sex, age_years)
    findings = draw_findings(person, anatomy, finding)
    if several and finding != "normal":
        # A stream of its own, spawned last: nothing else changes.
        more = np.random.default_rng(root.spawn(1)[0])
        if more.random() < BOTH_SHARE:
            finding, findings = BOTH, with_the_other(more, anatomy, findings)
    drawn = drawing_size(size)
    vessels = vessel_table(texture, anatomy, max(drawn, 128))
    images = []
    for _ in range(count):
        seen = _follow_up(visits, findings)
        pose, exposure = draw_pose(visits), draw_exposure(visits)
        noise = np.random.default_rng(int(visits.integers(2**63)))
        drawing = draw(anatomy, seen, vessels, pose, drawn)
        pixels = expose(drawing, exposure, noise, size)
        masks = {name: _majority(drawing.masks[name], size) for name in SEGMENTS}
        images.append(PhantomImage(pixels, masks, _landmarks(anatomy, seen, pose, size)))
    return PhantomPatient(index, f"PAT{index:05d}", sex, age_years, finding, tuple(images))

"""How one exposure was taken: where the patient stood, how deep the breath was, how the tube was set."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from synthrelease.cohort.phantom.anatomy import Floats

BREATH_FROM = -0.55  # heights above this do not move with the breath


@dataclass(frozen=True)
class Pose:
    """Body coordinates to detector: stretch by the breath, turn, scale, shift. Detector spans [-1, 1] each way."""

    shift_x: float
    shift_y: float
    turn: float  # radians in the image plane
    scale: float
    breath: float  # relative lengthening of the chest below BREATH_FROM
    yaw: float  # sideways shift of the front of the body against the back, body units

    def to_body(self, u: Floats, v: Floats) -> tuple[Floats, Floats]:
        """Body coordinates under detector points `u` (right), `v` (down); any broadcastable shapes."""
        cosine, sine = np.float32(np.cos(self.turn) / self.scale), np.float32(np.sin(self.turn) / self.scale)
        du, dv = u - np.float32(self.shift_x), v - np.float32(self.shift_y)
        x, y = cosine * du + sine * dv, cosine * dv - sine * du
        below = np.maximum(y - np.float32(BREATH_FROM), 0)
        return x, y - below * np.float32(self.breath / (1 + self.breath))

    def to_detector(self, x: float, y: float) -> tuple[float, float]:
        """Inverse of `to_body` for one point: `(u, v)`."""
        y = y + max(y - BREATH_FROM, 0.0) * self.breath
        cosine, sine = math.cos(self.turn) * self.scale, math.sin(self.turn) * self.scale
        return cosine * x - sine * y + self.shift_x, sine * x + cosine * y + self.shift_y


@dataclass(frozen=True)
class Exposure:
    """How photons become grey levels."""

    dose: float  # photons per 128-pixel-wide detector element behind air
    centre: float  # attenuation shown mid-grey, above the mean over the lungs
    latitude: float  # attenuation per unit of logit grey; larger is flatter
    scatter: float  # scattered to primary ratio
    gamma: float


def draw_pose(rng: np.random.Generator) -> Pose:
    """Draw a frontal, upright pose with the small errors of everyday positioning."""
    return Pose(
        shift_x=float(rng.normal(0, 0.045)),
        shift_y=float(rng.normal(0.04, 0.05)),
        turn=float(np.radians(np.clip(rng.normal(0, 1.8), -5, 5))),
        scale=float(np.clip(rng.normal(1.12, 0.055), 0.96, 1.27)),
        breath=float(np.clip(rng.normal(0, 0.05), -0.12, 0.12)),
        yaw=float(np.clip(rng.normal(0, 0.022), -0.06, 0.06)),
    )


def draw_exposure(rng: np.random.Generator) -> Exposure:
    """Draw tube and reading settings."""
    return Exposure(
        dose=float(np.exp(rng.normal(np.log(30000), 0.5))),
        centre=float(np.clip(rng.normal(0.34, 0.16), -0.05, 0.75)),
        latitude=float(np.clip(rng.normal(0.38, 0.06), 0.25, 0.58)),
        scatter=float(rng.uniform(0.25, 0.6)),
        gamma=float(np.exp(rng.normal(0, 0.13))),
    )

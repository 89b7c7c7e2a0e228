"""Named points of a chest radiograph, found by the public encoder from simulated examples, and whether they make a body.

The finder answers on any picture. Whether an answer means something is told by the points together: they are laid over
the examples' mean body by the shift, turn and zoom that fit most of them, and a point that lies elsewhere than the body
has it is misplaced. On chest radiographs nearly all points fall into place, on other pictures few do. (That the way
from a found point leads back to the same landmark of the examples tells nothing: it does on noise as well.)
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
import torch

from synthrelease.cohort.phantom import simulate_patient
from synthrelease.features.descriptors import FloatArray
from synthrelease.features.extractors.preprocessing import resized
from synthrelease.features.uld.encoder import Encoder
from synthrelease.features.uld.landmarks import Support, locate
from synthrelease.features.uld.public import public_encoder

Array = npt.NDArray[np.float64]

SIDE = 64
"""Pixels on a side at which points are found."""

EXAMPLES, SEED = 8, 20_270
"""Simulated patients that show where the landmarks are; others than those that the encoder was fitted to."""

LANDMARKS = (
    "carina",
    "heart_center",
    "aortic_knob",
    "right_apex",
    "right_costophrenic",
    "right_dome",
    "left_apex",
    "left_costophrenic",
    "left_dome",
)
ROUNDS = 6
NEAR = 0.02
"""Share of the side; points nearer than this to their place weigh the same when the body is laid over them."""


@dataclass(frozen=True)
class Found:
    """Points of images.

    Attributes:
        points: (N, L, 2) row and column as shares of the image's sides, in [0, 1].
        displaced: (N, L, 2) where each lies, seen from where the examples' mean body has it, as shares of the side; free of
            shift, turn and zoom of the whole.
    """

    points: Array
    displaced: Array

    @property
    def misplaced(self) -> Array:
        """(N, L) how far each lies from where the body has it."""
        return np.asarray(np.linalg.norm(self.displaced, axis=2))


class Finder:
    """Finds the landmarks of simulated chests in other images.

    Args:
        encoder: One for landmarks. examples: SIDE pixels on a side.
    """

    def __init__(self, encoder: Encoder, examples: Support) -> None:
        self.name = f"landmarks found by encoder {encoder.digest[:12]} from {len(examples.images)} simulated chests"
        self._encoder, self._examples = encoder, examples
        self._body = (examples.points.mean(axis=0) + 0.5) / SIDE

    def __call__(self, images: FloatArray) -> Found:
        """Look at (N, 1, H, W) images in [-1, 1]."""
        sized = resized(torch.from_numpy(np.ascontiguousarray(images)), SIDE).numpy()
        points = (locate(self._encoder.embed, self._examples, sized) + 0.5) / SIDE
        return Found(points, displaced(points, self._body))


@cache
def public_finder() -> Finder:
    """The finder of the public encoder.

    Raises:
        UnsuitableData: The installation lacks the encoder.
    """
    seen = [simulate_patient(SEED, index, SIDE).images[0] for index in range(EXAMPLES)]
    images = np.stack([image.pixels for image in seen])[:, None] * np.float32(2) - np.float32(1)
    points = np.array([[image.landmarks[name] for name in LANDMARKS] for image in seen])
    return Finder(public_encoder("landmarks"), Support(images, np.clip(points, 0.0, SIDE - 1.0)))


def displaced(points: Array, body: Array) -> Array:
    """Points in the frame of a body that they were laid over by the shift, turn and zoom that fit most of them.

    Weights are the inverse distances of the round before, so that a few points in wrong places do not move the rest.

    Args:
        points: (N, L, 2). body: (L, 2).

    Returns:
        (N, L, 2) in units of the body: points that fell together are far from making one.
    """
    here = points[..., 0] + 1j * points[..., 1]
    there = np.broadcast_to(body[:, 0] + 1j * body[:, 1], here.shape)
    weight = np.full(here.shape, 1.0 / here.shape[1])
    apart = np.zeros_like(here)
    for _ in range(ROUNDS):
        own, goal = (x - (weight * x).sum(axis=1, keepdims=True) for x in (here, there))
        size = np.maximum((weight * np.abs(own) ** 2).sum(axis=1, keepdims=True), 1e-9)
        apart = own * (weight * own.conj() * goal).sum(axis=1, keepdims=True) / size - goal
        weight = 1.0 / np.maximum(np.abs(apart), NEAR)
        weight /= weight.sum(axis=1, keepdims=True)
    return np.stack([apart.real, apart.imag], axis=-1)

"""Chests to look at: radiographs of children and phantoms, with landmarks, also turned and moved.

Children are dealt into three parts once and for all: the first is what encoders are fitted to, without masks; settings
were chosen on the second; figures are of the third.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage

from benchmarks.audit_power.worlds import radiographs
from synthrelease.cohort.phantom import simulate_patient
from synthrelease.features.uld import views

FloatArray = npt.NDArray[np.float32]
Points = npt.NDArray[np.float64]

SIDE = 64
SEED = 20_290
PARTS = {"fit": (0, 1000), "choose": (1000, 1300), "report": (1300, 2000)}

OF_PHANTOM = (
    "right_apex",
    "left_apex",
    "right_costophrenic",
    "left_costophrenic",
    "right_dome",
    "left_dome",
    "carina",
    "heart_center",
    "aortic_knob",
)
OF_MASK = ("right_apex", "left_apex", "right_costophrenic", "left_costophrenic", "right_center", "left_center")

POSE = views.AffineRange(degrees=30.0, shift=0.08, scale=(0.9, 1.1))
GAMMA = 0.35


@dataclass(frozen=True)
class Chests:
    """Images of one person each.

    Attributes:
        images: (N, 1, 64, 64) float32 in [-1, 1]. lungs: (N, 1, 64, 64) share of each pixel within the lungs.
        points: (N, L, 2) row and column in pixels; NaN where a landmark is not in the picture. names: L of them.
    """

    images: FloatArray
    lungs: FloatArray
    points: Points
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.images)

    def take(self, rows: npt.NDArray[np.int64] | slice) -> Chests:
        """Some of them."""
        return Chests(self.images[rows], self.lungs[rows], self.points[rows], self.names)


@lru_cache(maxsize=3)
def children(part: str) -> Chests:
    """The children of a part.

    Raises:
        UnsuitableData: The set is not on this machine.
    """
    people, _ = radiographs()
    first, last = PARTS[part]
    rows = np.random.default_rng(SEED).permutation(len(people))[first:last]
    lungs = people.masks[rows]
    points = np.stack([points_of(mask[0] >= 0.5) for mask in lungs])
    return Chests(people.images[rows], lungs, points, OF_MASK)


@lru_cache(maxsize=4)
def phantoms(count: int, seed: int) -> Chests:
    """Simulated patients, one image each; the lungs with what lies beside the heart only, as the phantom has them."""
    seen = [simulate_patient(seed, index, SIDE).images[0] for index in range(count)]
    images = np.stack([image.pixels for image in seen])[:, None] * np.float32(2) - np.float32(1)
    lungs = np.stack([image.masks["right_lung"] | image.masks["left_lung"] for image in seen])[:, None]
    points = np.array([[image.landmarks[name] for name in OF_PHANTOM] for image in seen])
    return Chests(images, lungs.astype(np.float32), visible(points), OF_PHANTOM)


def points_of(lungs: npt.NDArray[np.bool_]) -> Points:
    """Apices, lateral angles and centres of the two lungs of a (H, W) mask: (6, 2), NaN where they cannot be told.

    The lung on the left of the picture is the right one. An apex is the middle of the topmost row, an angle the point
    that lies farthest down and outwards; neither counts where the lung runs into the frame.
    """
    found = np.full((6, 2), np.nan)
    labelled, count = ndimage.label(lungs)
    sizes = np.bincount(labelled.ravel())[1:]
    large = np.argsort(sizes)[::-1][:2] + 1
    if count < 2 or sizes[large[1] - 1] < 0.05 * lungs.size:
        return found  # one lung, or both in one piece
    pair = sorted((np.argwhere(labelled == label) for label in large), key=lambda pixels: float(pixels[:, 1].mean()))
    height, width = lungs.shape
    for lung, (pixels, outward) in enumerate(zip(pair, (-1, 1), strict=True)):
        top = pixels[pixels[:, 0] == pixels[:, 0].min()]
        if top[0, 0] > 0:
            found[lung] = top.mean(axis=0)
        reach = pixels[:, 0] + outward * pixels[:, 1]
        angle = pixels[reach == reach.max()].mean(axis=0)
        if angle[0] < height - 1 and 0 < angle[1] < width - 1:
            found[2 + lung] = angle
        found[4 + lung] = pixels.mean(axis=0)
    return found


def posed(chests: Chests, seed: int) -> Chests:
    """Each turned by up to 30 degrees, moved, enlarged and shown through another gamma; truth goes along."""
    generator = torch.Generator().manual_seed(seed)
    theta = views.draw_affine(len(chests), POSE, generator)
    images, lungs = (views.warp(torch.from_numpy(x), theta).numpy() for x in (chests.images, chests.lungs))
    gamma = np.exp(GAMMA * (2 * torch.rand(len(chests), 1, 1, 1, generator=generator).numpy() - 1))
    images = (2 * (0.5 * images + 0.5).clip(0, 1) ** gamma - 1).astype(np.float32)
    back = views.inverse(theta).double().numpy()
    xy = (2 * chests.points[..., ::-1] + 1) / SIDE - 1
    there = np.einsum("nij,nlj->nli", back[:, :, :2], xy) + back[:, None, :, 2]
    return Chests(images, lungs, visible((((there + 1) * SIDE - 1) / 2)[..., ::-1]), chests.names)


def visible(points: Points) -> Points:
    """NaN in place of points outside the picture."""
    inside = ((points >= 0) & (points <= SIDE - 1)).all(axis=-1, keepdims=True)
    return np.asarray(np.where(inside, points, np.nan))


def dice(found: npt.NDArray[np.bool_], truth: npt.NDArray[np.bool_]) -> Points:
    """Overlap of two sets of masks, 2 |A and B| / (|A| + |B|): (N, ...) to (N,); 1 where both are empty."""
    a, b = (x.reshape(len(x), -1) for x in (found, truth))
    size = a.sum(axis=1) + b.sum(axis=1)
    return np.where(size > 0, 2.0 * (a & b).sum(axis=1) / np.maximum(size, 1), 1.0)

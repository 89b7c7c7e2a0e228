"""Worlds in which nothing leaks, and pieces of people that are pasted into them."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

from benchmarks.audit_power.worlds import phantom_people
from benchmarks.pediatric import chests_without_twins, data_folder
from synthrelease.audit.images import FloatArray, ImageSet
from synthrelease.audit.plants import geometry, grey
from synthrelease.audit.plants.grey import Change
from synthrelease.audit.plants.parts import lesions
from synthrelease.features.patches import COARSE, at_level

SEED = 20_264
PIECE = 16
"""Pixels on a side of a pasted piece, at 64 px as at 128 px."""


@dataclass(frozen=True)
class World:
    """Three roles, and how many leaks of each kind are planted."""

    train: ImageSet
    holdout: ImageSet
    synthetic: ImageSet
    plants: int

    @property
    def side(self) -> int:
        """Pixels on a side."""
        return int(self.train.images.shape[-1])


@lru_cache(maxsize=1)
def children() -> FloatArray:
    """(N, 1, 128, 128) one radiograph of each child, without known twins.

    Raises:
        UnsuitableData: The set is not on this machine.
    """
    home = data_folder("cxr-pediatric")
    first = {row["patient_id"]: row["image"] for row in reversed(chests_without_twins())}
    with zipfile.ZipFile(home / "images_128.zip") as pictures:
        images = [np.asarray(Image.open(io.BytesIO(pictures.read(name)))) for name in first.values()]
    return (np.stack(images)[:, None] / 127.5 - 1.0).astype(np.float32)


def world(source: str, side: int, counts: tuple[int, int, int, int], number: int = 0) -> World:
    """People of ``source`` in three roles; pieces are of a lesion where there are masks, of detail otherwise."""
    *roles, plants = counts
    total = sum(roles)
    if source == "phantom" and side == 64:
        people = phantom_people(total, number)
    else:
        images = _phantoms(total, side) if source == "phantom" else children()
        order = np.random.default_rng([SEED, number]).permutation(len(images))[:total]
        images = at_level(images[order], COARSE)[:, None] if side == 64 else images[order]
        none = np.zeros((total, 0, side, side), np.float32)
        people = ImageSet(images, none, np.zeros(total, np.int64), np.arange(total))
    ours, held, made = np.split(np.arange(total), np.cumsum(roles)[:2])
    return World(people.take(ours), people.take(held), people.take(made), plants)


def _phantoms(count: int, side: int) -> FloatArray:
    from synthrelease.cohort.phantom import simulate_patient

    pixels = [simulate_patient(SEED, index, side).images[0].pixels for index in range(count)]
    return (np.rint(np.stack(pixels)[:, None] * 255) / 127.5 - 1.0).astype(np.float32)


def blur(images: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Gaussian of 0.7 px."""
    return np.asarray(gaussian_filter(images, (0, 0, 0.7, 0.7), mode="nearest"), dtype=np.float32)


def altered(images: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Turned by 4 degrees, of another gain, blurred and noisy."""
    for change in (geometry.rotate(4), grey.gain, blur, grey.noise(2)):
        images = change(images, rng)
    return images


@dataclass(frozen=True)
class Paste:
    """What is done to a piece: changed, moved by up to 8 px, mirrored with its place; soft at the rim like a lesion."""

    change: Change = grey.exact
    size: int = PIECE
    moved: bool = False
    mirrored: bool = False
    soft: bool = False

    def __call__(self, source: ImageSet, host: ImageSet, rng: np.random.Generator) -> ImageSet:
        """Pieces of ``source`` in as many hosts, stored in 8 bits."""
        side, size = source.images.shape[-1], self.size
        changed, images = self.change(source.images, rng), host.images.copy()
        axis = (np.arange(size) + 0.5) / size * 2 - 1
        share = np.clip((1 - np.hypot(axis[:, None], axis)) / 0.3, 0, 1) if self.soft else np.ones((size, size))
        middle = lesions(source, rng) + source.images.shape[-1] // 8
        for i, (top, left) in enumerate(np.clip(middle - size // 2, 0, side - size)):
            piece = changed[i, 0, top : top + size, left : left + size]
            if self.mirrored:
                piece, left = piece[:, ::-1], side - size - left
            if self.moved:
                top, left = np.clip(np.array([top, left]) + rng.integers(-8, 8, 2, endpoint=True), 0, side - size)
            part = images[i, 0, top : top + size, left : left + size]
            part += share * (piece - part)
        return replace(host, images=(np.rint((images + 1) * 127.5) / 127.5 - 1).astype(np.float32), digests=())


PASTES: Mapping[str, Paste] = {
    "in_place": Paste(),
    "moved": Paste(moved=True),
    "mirrored": Paste(mirrored=True),
    "gain": Paste(grey.gain),
    "lesion_24": Paste(size=24, soft=True),
    "blur_24": Paste(blur, 24),
    "noise_24": Paste(grey.noise(2), 24),
    "rotated_24": Paste(geometry.rotate(4), 24),
    "zoomed_24": Paste(geometry.zoom, 24),
}
"""Altered pieces are larger: of 16 px nobody finds any."""

"""Known leaks: training images copied, changed and planted, so that an audit measures what it can see.

A check that finds nothing is worth what it would have found. The plants stand in a copy; the archive is untouched.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType

import numpy as np

from synthrelease.audit.images import FloatArray, ImageSet, IntArray

Change = Callable[[FloatArray, np.random.Generator], FloatArray]
Plant = Callable[[ImageSet, ImageSet, np.random.Generator], ImageSet]
"""Leaks made of real images (the first set, N of different patients) and innocent hosts (the second, N as well)."""

PLANT_SEED = 20260103
"""The plants are the same in every audit of one case; only their recall is of interest."""

PLANTS = 60
"""Plants of each transform: 59 found of 59 is the least that shows a recall of 95 % at 95 % confidence."""


def _exact(images: FloatArray, rng: np.random.Generator) -> FloatArray:
    return images.copy()


def _noise(sigma: float) -> Change:
    def add(images: FloatArray, rng: np.random.Generator) -> FloatArray:
        noise = rng.normal(0.0, sigma, images.shape).astype(np.float32)
        return np.asarray(np.clip(images + noise, -1.0, 1.0), dtype=np.float32)

    return add


def _gain(images: FloatArray, rng: np.random.Generator) -> FloatArray:
    gain = rng.uniform(0.7, 0.9, (len(images), 1, 1, 1)).astype(np.float32)
    offset = rng.uniform(-0.1, 0.1, gain.shape).astype(np.float32)
    return np.asarray(np.clip(gain * images + offset, -1.0, 1.0), dtype=np.float32)


def _hflip(images: FloatArray, rng: np.random.Generator) -> FloatArray:
    return np.ascontiguousarray(images[..., ::-1])


def _shift(images: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Both axes, by up to one sixteenth of the side, the border repeated."""
    reach = max(1, images.shape[-1] // 16)
    padded = np.pad(images, ((0, 0), (0, 0), (reach, reach), (reach, reach)), mode="edge")
    moved = np.empty_like(images)
    for i, (down, right) in enumerate(rng.choice([0, reach // 2, reach + reach // 2 + 1, 2 * reach], (len(images), 2))):
        moved[i] = padded[i, :, down : down + images.shape[-2], right : right + images.shape[-1]]
    return moved


def _whole(change: Change) -> Plant:
    """The real image itself, changed; its masks and label stay the host's, so that nothing else leaks."""

    def plant(source: ImageSet, host: ImageSet, rng: np.random.Generator) -> ImageSet:
        return replace(host, images=change(source.images, rng), digests=())

    return plant


TRANSFORMS: Mapping[str, Plant] = MappingProxyType(
    {
        "exact": _whole(_exact),
        "noise_2_percent": _whole(_noise(0.04)),
        "noise_5_percent": _whole(_noise(0.1)),
        "gain": _whole(_gain),
        "hflip": _whole(_hflip),
        "shift": _whole(_shift),
    }
)
"""Every known leak, by name. Noise in per cent of the grey range."""


def one_of_each_patient(patient: IntArray, count: int, rng: np.random.Generator) -> IntArray:
    """Up to ``count`` images of different patients: their positions in ``patient`` (N,)."""
    order = rng.permutation(len(patient))
    _, first = np.unique(patient[order], return_index=True)
    return np.asarray(rng.permutation(order[first])[:count], dtype=np.int64)


def planted(transform: str, train: ImageSet, hosts: ImageSet, count: int) -> ImageSet:
    """Known leaks of one kind, the same in every audit of one case.

    Args:
        transform: A name in TRANSFORMS. train: Real images. hosts: Synthetic images. count: At most so many.

    Returns:
        Leaks of up to ``count`` different patients.
    """
    rng = np.random.default_rng([PLANT_SEED, zlib.crc32(transform.encode())])
    source = train.take(one_of_each_patient(train.patient, count, rng))
    return TRANSFORMS[transform](source, hosts.take(rng.permutation(len(source)) % len(hosts)), rng)


def replace_share(
    synthetic: ImageSet, train: ImageSet, transform: str, count: int, rng: np.random.Generator
) -> ImageSet:
    """The synthetic images with ``count`` of them replaced by leaks of different training patients.

    Args:
        synthetic: M images. train: Real images. transform: A name in TRANSFORMS.
        count: How many to replace, at most M and at most the number of patients.
        rng: Chooses patients, places and parameters.

    Raises:
        ValueError: There are not that many patients or synthetic images.
    """
    source = one_of_each_patient(train.patient, count, rng)
    if len(source) < count or count > len(synthetic):
        raise ValueError("not enough patients or synthetic images to plant that many copies")
    places = rng.permutation(len(synthetic))[:count]
    leaks = TRANSFORMS[transform](train.take(source), synthetic.take(places), rng)
    images, masks, labels = synthetic.images.copy(), synthetic.masks.copy(), synthetic.labels.copy()
    images[places], masks[places], labels[places] = leaks.images, leaks.masks, leaks.labels
    return replace(synthetic, images=images, masks=masks, labels=labels)

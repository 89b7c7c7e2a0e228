"""Known leaks: training images copied, changed and planted, so that an audit measures what it can see.

A check that finds nothing is worth what it would have found. The plants stand in a copy; the archive is untouched.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]
Transform = Callable[[FloatArray, np.random.Generator], FloatArray]

PLANT_SEED = 20260103
"""The plants are the same in every audit of one case; only their recall is of interest."""

PLANTS = 60
"""Plants of each transform: 59 found of 59 is the least that shows a recall of 95 % at 95 % confidence."""


def _exact(images: FloatArray, rng: np.random.Generator) -> FloatArray:
    return images.copy()


def _noise(sigma: float) -> Transform:
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


COVERED: Mapping[str, Transform] = MappingProxyType(
    {"exact": _exact, "noise_2_percent": _noise(0.04), "gain": _gain, "hflip": _hflip, "shift": _shift}
)
"""Copies that the residual bound of the copy check speaks for. Noise in per cent of the grey range."""

BEYOND: Mapping[str, Transform] = MappingProxyType({"noise_5_percent": _noise(0.1)})
"""Harder copies whose recall is reported, but which the bound does not cover."""


def one_of_each_patient(patient: IntArray, count: int, rng: np.random.Generator) -> IntArray:
    """Up to ``count`` images of different patients: their positions in ``patient`` (N,)."""
    order = rng.permutation(len(patient))
    _, first = np.unique(patient[order], return_index=True)
    return np.asarray(rng.permutation(order[first])[:count], dtype=np.int64)


def plant_each(images: FloatArray, patient: IntArray, rng: np.random.Generator) -> dict[str, FloatArray]:
    """Changed copies of training images, by transform.

    Args:
        images: (N, 1, H, W) in [-1, 1]. patient: (N,). rng: Chooses patients and parameters.

    Returns:
        For each transform up to 60 copies of different patients, (n, 1, H, W).
    """
    return {
        name: change(images[one_of_each_patient(patient, PLANTS, rng)], rng)
        for name, change in {**COVERED, **BEYOND}.items()
    }


def replace_share(
    synthetic: FloatArray,
    train: FloatArray,
    patient: IntArray,
    transform: str,
    count: int,
    rng: np.random.Generator,
) -> FloatArray:
    """A copy of the synthetic images in which ``count`` are changed copies of different training patients.

    Args:
        synthetic: (M, 1, H, W). train: (N, 1, H, W). patient: (N,). transform: A name in COVERED or BEYOND.
        count: How many to replace, at most M and at most the number of patients.
        rng: Chooses patients, places and parameters.

    Raises:
        ValueError: There are not that many patients or synthetic images.
    """
    source = one_of_each_patient(patient, count, rng)
    if len(source) < count or count > len(synthetic):
        raise ValueError("not enough patients or synthetic images to plant that many copies")
    leaked = synthetic.copy()
    leaked[rng.permutation(len(synthetic))[:count]] = {**COVERED, **BEYOND}[transform](train[source], rng)
    return leaked

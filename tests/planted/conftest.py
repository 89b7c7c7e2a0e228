"""Cheap invented patients: a shared template, broad anatomy, fine vessels, a little noise. No cohort on disk."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from scipy.ndimage import gaussian_filter

from synthrelease.audit.case import AuditCase
from synthrelease.audit.images import ImageSet

# The benchmarks are not part of the installed package; their invented hospital serves here too.
sys.path.insert(0, str(Path(__file__).parents[2]))

SIDE = 32
CLASSES = ("normal", "effusion")
Images = npt.NDArray[np.float32]
Style = Callable[[Images, np.random.Generator], npt.NDArray[np.floating]]


def _field(rng: np.random.Generator, count: int, width: float) -> npt.NDArray[np.float64]:
    field = gaussian_filter(rng.normal(size=(count, SIDE, SIDE)), (0, width, width), mode="nearest")
    return field / field.std(axis=(1, 2), keepdims=True)


def people(seed: int, count: int, first: int = 0, images_each: int = 1) -> ImageSet:
    """Patients ``first`` .. ``first + count - 1`` with one or more images, a label and one mask each."""
    rng = np.random.default_rng(seed)
    template = _field(np.random.default_rng(0), 1, 6.0)[0]
    anatomy = 0.25 * _field(rng, count, 4.0) + 0.18 * _field(rng, count, 1.6) + 0.3 * template
    patient = np.repeat(np.arange(first, first + count), images_each)
    pixels = np.repeat(anatomy, images_each, axis=0)
    pixels = pixels + 0.03 * rng.normal(size=pixels.shape) + 0.05 * _field(rng, len(pixels), 1.6)
    labels = np.repeat(rng.integers(0, 2, count), images_each)
    centre = rng.integers(8, 24, (len(pixels), 2))
    rows, columns = np.mgrid[:SIDE, :SIDE]
    inside = (rows - centre[:, :1, None]) ** 2 + (columns - centre[:, 1:, None]) ** 2 < 25
    pixels = pixels + 0.5 * inside * labels[:, None, None]
    return ImageSet(
        np.clip(pixels, -1, 1)[:, None].astype(np.float32),
        (inside & (labels[:, None, None] > 0))[:, None].astype(np.float32),
        labels.astype(np.int64),
        patient.astype(np.int64),
    )


def world(
    seed: int,
    *,
    train: int = 140,
    holdout: int = 70,
    synthetic: int = 150,
    style: Style | None = None,
    leak: Callable[[ImageSet, ImageSet, np.random.Generator], ImageSet] | None = None,
) -> AuditCase:
    """Independent people in all three roles; ``style`` changes the synthetic ones, ``leak`` plants copies."""
    rng = np.random.default_rng(seed)
    base = 10_000 * (seed + 1)
    ours = people(base, train)
    made = people(base + 2, synthetic)
    if style is not None:
        made = replace(made, images=style(made.images, rng).astype(np.float32))
    if leak is not None:
        made = leak(made, ours, rng)
    return AuditCase(
        ours,
        people(base + 1, holdout, first=train) if holdout else None,
        made,
        CLASSES,
        ("effusion",),
    )


@pytest.fixture(scope="session")
def make_world() -> Callable[..., AuditCase]:
    """The world maker."""
    return world


@pytest.fixture(scope="session")
def clean() -> AuditCase:
    """One clean world, searched once for the whole session."""
    return world(0)

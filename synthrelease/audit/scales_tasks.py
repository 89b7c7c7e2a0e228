"""Distance and variety over scales and tasks: MM-FID and MM-STD.

A task is a network or a set of measures that was made to answer something (textures, invented chests, landmarks, the cohort's
labels); a scale is a resolution that images are reduced to before it looks. Each pair of them is a cell:

    distance    Fréchet distance between real and synthetic features
    variety     mean over features of their standard deviation over the synthetic images; no real image is in it

Cells have units of their own, so they are kept as they are and brought together only after each was divided by what it is
among the methods that are compared. **Rows are not normalised**: the published programs divide each method's row (a task over
its scales) by that row's own length, and with it takes away how large the distances are: a method a hundred times as far
from real images has the same MM-FID then. See :func:`by_rows`.

The published scales are 128 to 1024 pixels. Here they are the image's own, half and a quarter, each brought back to its own
size before the extractor looks, so that every extractor sees what it was made for.

Source: Xing, Papanastasiou, Walsh, Yang, IEEE TMI 2023; that cells are normalised across methods is our reading.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch

from synthrelease.features.distances import frechet
from synthrelease.features.extractors.preprocessing import resized

Array = npt.NDArray[np.float64]
FloatArray = npt.NDArray[np.float32]

SCALES = (1, 2, 4)
"""Pixels a side that become one."""
SMALLEST = 8
"""Pixels a side below which a scale shows nothing."""


class Features(Protocol):
    """Images (N, 1, H, W) to features (N, D)."""

    def __call__(self, images: FloatArray, /) -> Array: ...


def scales_of(side: int) -> tuple[int, ...]:
    """The scales that images of a side are looked at.

    >>> scales_of(32), scales_of(16)
    ((1, 2, 4), (1, 2))
    """
    return tuple(scale for scale in SCALES if side // scale >= SMALLEST)


def at_scale(images: FloatArray, scale: int) -> FloatArray:
    """Images (N, 1, H, W) with the detail of one ``scale`` times as coarse, at their own size."""
    if scale == 1:
        return images
    given = torch.from_numpy(np.ascontiguousarray(images))
    coarse = resized(given, max(1, images.shape[-1] // scale))
    return np.asarray(resized(coarse, images.shape[-1]).numpy(), dtype=np.float32)


def distance(real: Array, synthetic: Array) -> float:
    """One cell of MM-FID: equally many features (N, D) on both sides, or the distance is one of numbers.

    Raises:
        ValueError: They are not.
    """
    if len(real) != len(synthetic):
        raise ValueError(
            f"{len(real)} real and {len(synthetic)} synthetic images: the distance depends on how many there are"
        )
    return frechet(real, synthetic)


def variety(synthetic: Array) -> float:
    """One cell of MM-STD, of features (N, D). Noise is varied too: read it beside the distance, and beside real images."""
    return float(synthetic.std(axis=0, ddof=1).mean())


class Spread(NamedTuple):
    """Median over resamples, and the ends of the central 95 %."""

    middle: Array
    low: Array
    high: Array

    @classmethod
    def of(cls, draws: Array) -> Spread:
        """Of (resamples, ...), number by number.

        >>> [x.tolist() for x in Spread.of(np.arange(82.0).reshape(41, 2))]
        [[40.0, 41.0], [2.0, 3.0], [78.0, 79.0]]
        """
        return cls(*np.quantile(draws, (0.5, 0.025, 0.975), axis=0))


def cells_told(draws: Mapping[str, Array]) -> tuple[dict[str, Any], dict[str, Array]]:
    """Cells by whom they are of, over resamples.

    Args:
        draws: (resamples, tasks, scales) by whom they are of.

    Returns:
        ``cells``, ``cells_low`` and ``cells_high`` as JSON values, and the middle ones (tasks, scales).
    """
    spread = {name: Spread.of(each) for name, each in draws.items()}
    told = {
        "cells": {name: own.middle.tolist() for name, own in spread.items()},
        "cells_low": {name: own.low.tolist() for name, own in spread.items()},
        "cells_high": {name: own.high.tolist() for name, own in spread.items()},
    }
    return told, {name: own.middle for name, own in spread.items()}


def across_methods(cells: Mapping[str, Array]) -> dict[str, Array]:
    """Each cell over its length among the methods: which of them is how large, cell by cell.

    Args:
        cells: (tasks, scales) by method, the same shape for each.

    Returns:
        The same, between 0 and 1; equal methods have 1 / sqrt(methods) everywhere. What is 0 for all stays 0.
    """
    together = np.stack(list(cells.values()))
    length = np.linalg.norm(together, axis=0)
    return {name: np.divide(own, length, out=np.zeros_like(own), where=length > 0) for name, own in cells.items()}


def brought_together(cells: Mapping[str, Array]) -> dict[str, float]:
    """MM-FID or MM-STD of each method: the mean of its cells, normalised across methods.

    >>> one = np.array([[10.0, 20.0]])
    >>> {name: round(value, 3) for name, value in brought_together({"near": one, "far": 3 * one}).items()}
    {'near': 0.316, 'far': 0.949}
    """
    return {name: float(own.mean()) for name, own in across_methods(cells).items()}


def spread_together(draws: Mapping[str, Array]) -> dict[str, tuple[float, float]]:
    """Low and high end of :func:`brought_together` over resamples.

    Args:
        draws: (resamples, tasks, scales) by method, resamples of the same real images.
    """
    each = [brought_together(dict(zip(draws, one, strict=True))) for one in zip(*draws.values(), strict=True)]
    spread = {name: Spread.of(np.array([one[name] for one in each])) for name in draws}
    return {name: (float(own.low), float(own.high)) for name, own in spread.items()}


def by_rows(cells: Array) -> float:
    """MM-FID as the published programs compute it, from one method alone. Kept to show what is wrong with it.

    A row that is divided by its own length says which scale is worst, and no longer how bad any is.

    >>> near = np.array([[1.0, 2.0, 3.0, 4.0]])
    >>> round(by_rows(near), 3), round(by_rows(100 * near), 3)
    (0.456, 0.456)
    """
    return float((cells / np.maximum(np.linalg.norm(cells, axis=1, keepdims=True), 1e-300)).mean())

"""Distances between two sets of feature vectors: Fréchet, kernel (MMD), and precision, recall, density, coverage."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def frechet(first: Array, second: Array) -> float:
    """Fréchet distance of two Gaussians fitted to (N, D) and (M, D).

        |mu_1 - mu_2|² + tr(C_1 + C_2 - 2 (C_1^½ C_2 C_1^½)^½)

    >>> x = np.array([[0.0, 0.0], [2.0, 2.0], [0.0, 2.0], [2.0, 0.0]])
    >>> round(frechet(x, x + 3.0), 6)
    18.0
    """
    mean = first.mean(axis=0) - second.mean(axis=0)
    one, two = np.cov(first, rowvar=False), np.cov(second, rowvar=False)
    one, two = np.atleast_2d(one), np.atleast_2d(two)
    values, vectors = np.linalg.eigh(one)
    root = (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
    cross = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ two @ root), 0.0)).sum()
    return float(max(0.0, mean @ mean + np.trace(one) + np.trace(two) - 2.0 * cross))


def kernel_distance(first: Array, second: Array) -> float:
    """Unbiased squared MMD under the cubic kernel (x·y / D + 1)³; may be negative, and is left so (KID).

    Source: Bińkowski et al., ICLR 2018.
    """
    dimension = first.shape[1]
    one, two, cross = ((a @ b.T / dimension + 1.0) ** 3 for a, b in ((first, first), (second, second), (first, second)))
    n, m = len(one), len(two)
    within = (one.sum() - np.trace(one)) / (n * (n - 1)) + (two.sum() - np.trace(two)) / (m * (m - 1))
    return float(within - 2.0 * cross.mean())


class Neighbourhoods(NamedTuple):
    """Precision, recall, density and coverage, all higher = better; density may exceed 1."""

    precision: float
    recall: float
    density: float
    coverage: float


def neighbourhoods(real: Array, synthetic: Array, k: int = 5) -> Neighbourhoods:
    """k-nearest-neighbour balls around real (N, D) and synthetic (M, D) features, N and M above k.

    Source: Kynkäänniemi et al., NeurIPS 2019 (precision, recall); Naeem et al., ICML 2020 (density, coverage).
    """
    real_radius, synthetic_radius = _radius(real, k), _radius(synthetic, k)
    distance = _distances(real, synthetic)
    inside = distance < real_radius[:, None]
    return Neighbourhoods(
        float(inside.any(axis=0).mean()),
        float((distance < synthetic_radius[None, :]).any(axis=1).mean()),
        float(inside.sum() / (k * len(synthetic))),
        float((distance.min(axis=1) < real_radius).mean()),
    )


def _radius(values: Array, k: int) -> Array:
    return np.asarray(np.partition(_distances(values, values), k, axis=1)[:, k])


def _distances(first: Array, second: Array) -> Array:
    square = (first**2).sum(axis=1)[:, None] + (second**2).sum(axis=1)[None] - 2.0 * first @ second.T
    return np.asarray(np.sqrt(np.maximum(square, 0.0)))

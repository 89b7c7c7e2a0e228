"""Distances between two sets of feature vectors: Fréchet (also without its bias), kernel, neighbourhoods; and variety of one set.

A library that has one of these gives the same number on the same features to 1e-4; the tests hold them against torchmetrics,
MONAI, prdc and vendi-score.
"""

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
    return frechet_of(*moments(first), *moments(second))


def moments(values: Array) -> tuple[Array, Array]:
    """Mean (D,) and covariance (D, D) of (N, D)."""
    return values.mean(axis=0), np.atleast_2d(np.cov(values, rowvar=False))


def frechet_of(first_mean: Array, one: Array, second_mean: Array, two: Array) -> float:
    """The same from means and covariances."""
    mean = first_mean - second_mean
    values, vectors = np.linalg.eigh(one)
    root = (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
    cross = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ two @ root), 0.0)).sum()
    return float(max(0.0, mean @ mean + np.trace(one) + np.trace(two) - 2.0 * cross))


def frechet_infinity(first: Array, second: Array, rng: np.random.Generator, *, sizes: int = 12) -> float:
    """Fréchet distance extrapolated to infinitely many images; may be a little negative, and is left so.

    The distance of two samples of n exceeds that of their populations by about c / n, with a c that differs from
    generator to generator; so it is measured at sizes from a quarter of the images to all, and the line in 1 / n is
    followed to zero.

    Args:
        first: (N, D). second: (M, D). rng: Draws the subsets. sizes: How many, at least 8.

    Source: Chong & Forsyth, CVPR 2020.
    """
    most = min(len(first), len(second))
    counts = np.linspace(most / 4, most, sizes).astype(np.int64)
    found = [frechet(first[rng.permutation(len(first))[:n]], second[rng.permutation(len(second))[:n]]) for n in counts]
    return float(np.polyfit(1.0 / counts, found, 1)[1])


def vendi(values: Array, width: float) -> float:
    """Vendi score: how many different images a set amounts to, exp of the entropy of the eigenvalues of K / N.

    Args:
        values: (N, D). width: Of the Gaussian kernel exp(-|x - y|² / (2 width²)).

    Returns:
        From 1 (all alike) to N (all unlike).

    Source: Friedman & Dieng, TMLR 2023.
    """
    kernel = np.exp(-(_distances(values, values) ** 2) / (2.0 * width**2))
    shares = np.linalg.eigvalsh(kernel / len(values))
    shares = shares[shares > 1e-12]
    return float(np.exp(-(shares * np.log(shares)).sum()))


def median_distance(values: Array) -> float:
    """Median distance between different rows of (N, D); at least 1e-9."""
    return float(max(np.median(_distances(values, values)[np.triu_indices(len(values), 1)]), 1e-9))


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


def covered(real: Array, synthetic: Array, k: int = 5) -> npt.NDArray[np.bool_]:
    """Which of (N, D) real features have a synthetic one within their k-nearest-neighbour ball; the mean is coverage."""
    return np.asarray(_distances(real, synthetic).min(axis=1) < _radius(real, k))


def _radius(values: Array, k: int) -> Array:
    return np.asarray(np.partition(_distances(values, values), k, axis=1)[:, k])


def _distances(first: Array, second: Array) -> Array:
    square = (first**2).sum(axis=1)[:, None] + (second**2).sum(axis=1)[None] - 2.0 * first @ second.T
    return np.asarray(np.sqrt(np.maximum(square, 0.0)))

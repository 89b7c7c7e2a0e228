"""Radiomic features of whole images, for the radiomic Fréchet distance.

First-order statistics, grey-level co-occurrence (GLCM), neighbourhood grey-tone difference (NGTDM) and run lengths along rows
and columns, of the image and of its Laplacian of Gaussian at two scales. Grey levels fall into fixed bins: a window
fitted to each image would hide gain errors.

Source: Konz, Osuala et al., "Fréchet radiomic distance", Medical Image Analysis 2026; definitions of features as in the image
biomarker standardisation initiative (Zwanenburg et al., Radiology 2020).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter, uniform_filter

from synthrelease.features.descriptors import FloatArray
from synthrelease.features.distances import frechet

Array = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

BINS = 16
SIGMAS = (1.0, 2.0)
_GAIN = 2.0
"""Of the scale-normalised Laplacians, so that those of typical images fill the fixed bins."""

_BLOCK = 256
_OFFSETS = ((0, 1), (1, 0), (1, 1), (1, -1))
_TINY = 1e-12


def radiomic_features(images: FloatArray) -> Array:
    """Features of each image.

    Args:
        images: (N, 1, H, W) in [-1, 1], H and W at least 16.

    Returns:
        (N, 102) float64.
    """
    blocks = [images[start : start + _BLOCK, 0].astype(np.float64) for start in range(0, len(images), _BLOCK)]
    return np.concatenate([np.column_stack([_of_map(view) for view in _views(block)]) for block in blocks])


def radiomic_distance(reference: Array, first: Array, second: Array) -> float:
    """Fréchet distance of (N, D) and (M, D) features, each standardised by the reference; its log is the published FRD."""
    centre, scale = reference.mean(axis=0), reference.std(axis=0)
    kept = scale > 1e-9
    return frechet((first[:, kept] - centre[kept]) / scale[kept], (second[:, kept] - centre[kept]) / scale[kept])


def _views(images: Array) -> list[Array]:
    """The images and their Laplacians, all in [-1, 1]."""
    laplacians = []
    for sigma in SIGMAS:
        bends = (gaussian_filter(images, (0, sigma, sigma), order, mode="nearest") for order in ((0, 2, 0), (0, 0, 2)))
        laplacians.append(np.clip(-_GAIN * sigma**2 * sum(bends), -1, 1))
    return [images, *laplacians]


def _of_map(x: Array) -> Array:
    levels = np.clip(((x + 1.0) * (BINS / 2)).astype(np.int64), 0, BINS - 1)
    return np.column_stack([_first_order(x, levels), _co_occurrence(levels), _tone_difference(levels), _runs(levels)])


def _first_order(x: Array, levels: IntArray) -> Array:
    flat = x.reshape(len(x), -1)
    mean, deviation = flat.mean(axis=1), flat.std(axis=1)
    z = (flat - mean[:, None]) / np.maximum(deviation, 1e-6)[:, None]
    ten, quarter, half, upper, ninety = np.quantile(flat, (0.1, 0.25, 0.5, 0.75, 0.9), axis=1)
    share = _counts(levels.reshape(len(x), -1), BINS) / flat.shape[1]
    return np.column_stack(
        [
            *(mean, deviation, (z**3).mean(axis=1), (z**4).mean(axis=1)),
            *(ten, half, ninety, upper - quarter),
            *(flat.min(axis=1), flat.max(axis=1)),
            *((flat**2).mean(axis=1), np.abs(flat - mean[:, None]).mean(axis=1)),
            *(_entropy(share), (share**2).sum(axis=1)),
        ]
    )


def _co_occurrence(levels: IntArray) -> Array:
    """GLCM features at distance one, of the mean matrix over four directions, made symmetric."""
    height, width = levels.shape[1:]
    table = np.zeros((len(levels), BINS * BINS))
    for down, right in _OFFSETS:
        left = max(0, -right)
        one = levels[:, : height - down, left : width - max(0, right)]
        two = levels[:, down:, left + right : width - max(0, right) + right]
        table += _counts((one * BINS + two).reshape(len(levels), -1), BINS * BINS)
    p = table.reshape(-1, BINS, BINS)
    p = p + p.transpose(0, 2, 1)
    p /= p.sum(axis=(1, 2), keepdims=True)
    i, j = np.indices((BINS, BINS)) + 1.0
    gap, total = np.abs(i - j), i + j

    def mean(weight: Array) -> Array:
        return np.asarray((p * weight).sum(axis=(1, 2)))

    centre = mean(i)
    variance = mean(i**2) - centre**2
    covariance = mean(i * j) - centre**2
    spread = total[None] - 2 * centre[:, None, None]
    differences = np.stack([(p * (gap == d)).sum(axis=(1, 2)) for d in range(BINS)], axis=1)
    sums = np.stack([(p * (total == s)).sum(axis=(1, 2)) for s in range(2, 2 * BINS + 1)], axis=1)
    return np.column_stack(
        [
            *(mean(i * j), centre, variance, mean(gap**2), mean(gap)),
            np.where(variance > 1e-9, covariance / np.maximum(variance, 1e-9), 1.0),
            *((p * spread**2).sum(axis=(1, 2)), np.cbrt((p * spread**3).sum(axis=(1, 2)))),
            *(mean(1 / (1 + gap**2)), mean(1 / (1 + gap)), (p**2).sum(axis=(1, 2)), p.max(axis=(1, 2))),
            *(_entropy(p.reshape(len(p), -1)), _entropy(differences), _entropy(sums)),
        ]
    )


def _tone_difference(levels: IntArray) -> Array:
    """NGTDM: how far a pixel's level is from the mean of its eight neighbours."""
    inner = levels[:, 1:-1, 1:-1]
    around = (uniform_filter(levels.astype(np.float64), (0, 3, 3))[:, 1:-1, 1:-1] * 9 - inner) / 8
    flat = inner.reshape(len(levels), -1)
    gap = np.abs(inner - around).reshape(len(levels), -1)
    p = _counts(flat, BINS) / flat.shape[1]
    s = _counts(flat, BINS, gap) / flat.shape[1]
    coarseness = 1.0 / np.maximum((p * s).sum(axis=1), 1e-3)
    return np.column_stack([np.log(coarseness), s.sum(axis=1), s.max(axis=1)])


def _runs(levels: IntArray) -> Array:
    """Mean share of pixels that differ from the one before, along columns and rows: one over the mean run length."""
    return np.column_stack([(np.diff(levels, axis=axis) != 0).mean(axis=(1, 2)) for axis in (1, 2)])


def _counts(values: IntArray, most: int, weights: Array | None = None) -> Array:
    """Histogram of each row: (N, P) values below ``most`` to (N, most)."""
    rows = np.arange(len(values))[:, None] * most + values
    told = None if weights is None else weights.ravel()
    return np.bincount(rows.ravel(), told, minlength=len(values) * most).reshape(len(values), most).astype(np.float64)


def _entropy(share: Array) -> Array:
    return np.asarray(-(share * np.log2(np.maximum(share, _TINY))).sum(axis=1))

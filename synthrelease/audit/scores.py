"""How good predictions are: AUROC over classes and Dice over segments, also under bootstrap weights of patients."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from synthrelease.audit.intervals import Interval, auc, auc_resampled, patient_resamples, percentiles

Array = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

RESAMPLES = 500
SMALLEST = 1.0
"""Area in pixels from which a real mask counts as present; Dice of a smaller one is a matter of luck."""


def patient_weights(patient: IntArray, rng: np.random.Generator, resamples: int = RESAMPLES) -> Array:
    """(B, N) bootstrap weights of images, drawn by patient."""
    _, index = np.unique(patient, return_inverse=True)
    return patient_resamples(int(index.max()) + 1, resamples, rng)[:, index]


def class_weights(labels: IntArray, like: IntArray) -> Array:
    """(N,) weights, 1 on average, under which classes have the shares that they have among other images.

    Args:
        labels: (N,) class of each image that is weighted. like: (M,) classes of the others, at least one of each in `labels`.
    """
    count = int(max(labels.max(), like.max())) + 1
    wanted, there = np.bincount(like, minlength=count), np.bincount(labels, minlength=count)
    weights = wanted[labels] / there[labels]
    return np.asarray(weights / weights.mean())


def macro_auc(scores: Array, labels: IntArray, classes: Sequence[int]) -> float:
    """Mean one-against-rest AUROC.

    Args:
        scores: (N, C) class probabilities. labels: (N,). classes: Those that are averaged.
    """
    return float(np.mean([auc(scores[labels == c, c], scores[labels != c, c]) for c in classes]))


def macro_auc_resampled(scores: Array, labels: IntArray, classes: Sequence[int], weights: Array) -> Array:
    """The same under (B, N) bootstrap weights: (B,)."""
    draws = []
    for c in classes:
        inside = labels == c
        draws.append(auc_resampled(scores[inside, c], scores[~inside, c], weights[:, inside], weights[:, ~inside]))
    return np.asarray(np.mean(draws, axis=0))


def dice(score: npt.NDArray[np.float32], truth: npt.NDArray[np.float32]) -> Array:
    """Dice by image and segment, both at threshold one half; NaN where the segment is absent from the truth.

    Args:
        score: (N, K, H, W) coverage. truth: (N, K, H, W) coverage.

    Returns:
        (N, K) float64.
    """
    predicted, real = score >= 0.5, truth >= 0.5
    area = real.sum((2, 3))
    overlap = 2.0 * (predicted & real).sum((2, 3))
    value = overlap / np.maximum(predicted.sum((2, 3)) + area, 1)
    return np.where(area >= SMALLEST, value, np.nan)


def least_areas(masks: npt.NDArray[np.float32]) -> Array:
    """Pixels by segment from which a segmenter counts as seeing it: half of what all but one in twenty masks mark.

    What is smaller is a speck, of which a small network draws many where nothing is.

    Args:
        masks: (N, K, H, W) real coverage.

    Returns:
        (K,) float64, at least one.
    """
    areas = (masks >= 0.5).sum((2, 3)).astype(np.float64)
    present = [column[column >= SMALLEST] for column in areas.T]
    return np.array([max(SMALLEST, 0.5 * float(np.quantile(a, 0.05))) if len(a) else SMALLEST for a in present])


def unmarked(score: npt.NDArray[np.float32], mask: npt.NDArray[np.float32], least: Array) -> npt.NDArray[np.bool_]:
    """(N, K): where a segmenter sees a segment and the mask has none of it. Arguments of :func:`agreement`."""
    return np.asarray(((score >= 0.5).sum((2, 3)) >= least) & ((mask >= 0.5).sum((2, 3)) < SMALLEST))


def agreement(score: npt.NDArray[np.float32], mask: npt.NDArray[np.float32], least: Array) -> Array:
    """Dice of a segmenter and the mask given: 0 where it sees a segment that the mask lacks, NaN where neither has it.

    An emptied mask counts so, where :func:`dice` would pass over it. A false alarm counts the same.

    Args:
        score: (N, K, H, W) coverage. mask: (N, K, H, W) coverage.
        least: (K,) pixels from which the segmenter sees something, see :func:`least_areas`.

    Returns:
        (N, K) float64.
    """
    return np.where(unmarked(score, mask, least), 0.0, dice(score, mask))


def mean_dice(values: Array, weights: Array) -> Array:
    """Weighted mean over images of each segment, then over segments: (N, K), (B, N) to (B,).

    A draw that took no image with any segment gives NaN.
    """
    known = ~np.isnan(values)
    total = weights @ np.where(known, values, 0.0)
    count = weights @ known.astype(np.float64)
    by_segment = np.where(count > 0, total / np.maximum(count, 1e-9), np.nan)
    told = ~np.isnan(by_segment)
    mean = np.where(told, by_segment, 0.0).sum(axis=1) / np.maximum(told.sum(axis=1), 1)
    return np.where(told.any(axis=1), mean, np.nan)


def interval_of_loss(real: Array, synthetic: Array) -> Interval:
    """Of (B,) draws of Dice: by how much the real ones lie above. Draws that are NaN on a side tell nothing."""
    loss = real - synthetic
    return percentiles(loss[~np.isnan(loss)])


def dice_by_segment(values: Array, segments: Sequence[str]) -> dict[str, float]:
    """Mean Dice of each segment that is present somewhere."""
    return {s: float(np.nanmean(values[:, k])) for k, s in enumerate(segments) if not np.isnan(values[:, k]).all()}

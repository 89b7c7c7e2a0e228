"""Two methods on the same cases: is one better, case by case."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import stats

from synthrelease.errors import UnsuitableData

Array = npt.NDArray[np.float64]

FEWEST = 6
"""Pairs below which no two-sided p-value of the signed-rank test can fall under 0.05."""
RESAMPLES = 2000


class PairedGain(NamedTuple):
    """What one method is above another, on the same cases.

    Attributes:
        mean, low, high: Mean difference, with a 95 % interval over resampled cases.
        p_value: Wilcoxon signed-rank, two-sided; 1 where every pair is equal.
        cases: Number of pairs.
    """

    mean: float
    low: float
    high: float
    p_value: float
    cases: int


def paired_gain(better: npt.ArrayLike, than: npt.ArrayLike, rng: np.random.Generator) -> PairedGain:
    """Difference of two scores of the same cases.

    A case is a patient's image that both methods were scored on (Dice, say). The cells of a matrix over scales and tasks are no
    cases: they are of the same images, and a test over them takes what is one finding for many.

    Args:
        better: (N,) scores. than: (N,) scores of the same cases, in the same order. rng: Draws the resamples.

    Raises:
        UnsuitableData: Fewer than six pairs, or scores that are not numbers.
        ValueError: They are not pairs.

    Source: Wilcoxon 1945.
    """
    first, second = np.asarray(better, dtype=np.float64), np.asarray(than, dtype=np.float64)
    if first.shape != second.shape or first.ndim != 1:
        raise ValueError(f"scores of shape {first.shape} and {second.shape} are no pairs")
    if len(first) < FEWEST:
        raise UnsuitableData(
            f"{len(first)} pairs: with fewer than {FEWEST} no signed-rank test can find anything at 5 %",
            fix="Score both methods on more cases.",
        )
    apart = first - second
    if not np.isfinite(apart).all():
        raise UnsuitableData("a score is not a number", fix="Leave out cases that cannot be scored, for both methods.")
    p_value = float(stats.wilcoxon(apart).pvalue) if apart.any() else 1.0
    means = apart[rng.integers(len(apart), size=(RESAMPLES, len(apart)))].mean(axis=1)
    low, high = np.quantile(means, (0.025, 0.975))
    return PairedGain(float(apart.mean()), float(low), float(high), p_value, len(apart))

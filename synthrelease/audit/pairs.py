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
        mean, low, high: Mean difference of the cases, with a 95 % interval over resampled owners.
        p_value: Wilcoxon signed-rank over the owners' means, two-sided; 1 where every pair is equal.
        cases: Number of pairs.
        owners: Number of those they are of.
    """

    mean: float
    low: float
    high: float
    p_value: float
    cases: int
    owners: int


def paired_gain(
    better: npt.ArrayLike, than: npt.ArrayLike, rng: np.random.Generator, *, owners: npt.ArrayLike | None = None
) -> PairedGain:
    """Difference of two scores of the same cases.

    A case is a patient's image that both methods were scored on (Dice, say). The cells of a matrix over scales and tasks are no
    cases: they are of the same images, and a test over them takes what is one finding for many. Nor are images of one patient,
    neighbouring slices above all, as many findings: what is drawn again is patients.

    Args:
        better: (N,) scores. than: (N,) scores of the same cases, in the same order. rng: Draws the resamples.
        owners: (N,) whose case each is; None: each is of somebody else.

    Raises:
        UnsuitableData: Cases of fewer than six, or scores that are not numbers.
        ValueError: They are not pairs.

    Source: Wilcoxon 1945.
    """
    first, second = np.asarray(better, dtype=np.float64), np.asarray(than, dtype=np.float64)
    if first.shape != second.shape or first.ndim != 1:
        raise ValueError(f"scores of shape {first.shape} and {second.shape} are no pairs")
    whose = np.arange(len(first)) if owners is None else np.asarray(owners)
    if whose.shape != first.shape:
        raise ValueError(f"owners of shape {whose.shape} for scores of shape {first.shape}")
    _, owner, sizes = np.unique(whose, return_inverse=True, return_counts=True)
    if len(sizes) < FEWEST:
        raise UnsuitableData(
            f"{len(sizes)} pairs: with fewer than {FEWEST} no signed-rank test can find anything at 5 %",
            fix="Score both methods on more cases.",
        )
    apart = first - second
    if not np.isfinite(apart).all():
        raise UnsuitableData("a score is not a number", fix="Leave out cases that cannot be scored, for both methods.")
    sums = np.bincount(owner, apart)
    p_value = float(stats.wilcoxon(sums / sizes).pvalue) if sums.any() else 1.0
    drawn = rng.integers(len(sizes), size=(RESAMPLES, len(sizes)))
    low, high = np.quantile(sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1), (0.025, 0.975))
    return PairedGain(float(apart.mean()), float(low), float(high), p_value, len(apart), len(sizes))

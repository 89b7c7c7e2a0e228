"""Intervals and tests as pure functions: every number of an audit that claims something passes through here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import stats

Array = npt.NDArray[np.float64]


class Interval(NamedTuple):
    """``low <= truth <= high`` at the confidence that the maker of the interval names."""

    low: float
    high: float


def clopper_pearson(hits: int, trials: int, confidence: float = 0.95) -> Interval:
    """Exact two-sided interval of a proportion; never too short.

    >>> [round(x, 4) for x in clopper_pearson(0, 300)]
    [0.0, 0.0122]
    >>> [round(x, 4) for x in clopper_pearson(59, 59, 0.9)]
    [0.9505, 1.0]
    """
    if not 0 <= hits <= trials or trials < 1:
        raise ValueError("hits must lie between 0 and trials, and trials be at least 1")
    tail = (1.0 - confidence) / 2.0
    low = 0.0 if hits == 0 else float(stats.beta.ppf(tail, hits, trials - hits + 1))
    high = 1.0 if hits == trials else float(stats.beta.ppf(1.0 - tail, hits + 1, trials - hits))
    return Interval(low, high)


def upper_bound(hits: int, trials: int, confidence: float = 0.95) -> float:
    """Exact one-sided upper bound of a proportion (the upper end of a two-sided interval at ``2 confidence - 1``).

    >>> round(upper_bound(0, 300), 5)
    0.00994
    """
    return clopper_pearson(hits, trials, 2.0 * confidence - 1.0).high


def lower_bound(hits: int, trials: int, confidence: float = 0.95) -> float:
    """Exact one-sided lower bound of a proportion.

    >>> round(lower_bound(59, 59), 4)
    0.9505
    """
    return clopper_pearson(hits, trials, 2.0 * confidence - 1.0).low


def wilson(hits: int, trials: int, confidence: float = 0.95) -> Interval:
    """Score interval of a proportion; shorter than Clopper-Pearson, right on average only.

    >>> [round(x, 4) for x in wilson(7, 10)]
    [0.3968, 0.8922]
    """
    if not 0 <= hits <= trials or trials < 1:
        raise ValueError("hits must lie between 0 and trials, and trials be at least 1")
    z = float(stats.norm.ppf(0.5 + confidence / 2.0))
    rate = hits / trials
    centre = (rate + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z / (1 + z * z / trials) * np.sqrt(rate * (1 - rate) / trials + z * z / (4 * trials**2))
    return Interval(max(0.0, float(centre - half)), min(1.0, float(centre + half)))


def holm(p_values: Sequence[float]) -> list[float]:
    """Step-down adjusted p-values: rejecting those at or below alpha keeps the family-wise error at alpha.

    >>> [round(p, 3) for p in holm([0.01, 0.04, 0.03])]
    [0.03, 0.06, 0.06]
    """
    order = np.argsort(p_values, kind="stable")
    adjusted = np.empty(len(p_values))
    running = 0.0
    for rank, index in enumerate(order):
        running = max(running, min(1.0, (len(p_values) - rank) * float(p_values[index])))
        adjusted[index] = running
    return [float(p) for p in adjusted]


def at_least(hits: int, trials: int, rate: float) -> float:
    """P(Binomial(trials, rate) >= hits): how surprising so many hits are when the true rate is ``rate`` at most.

    >>> round(at_least(25, 300, 0.05), 4)
    0.0093
    """
    return float(stats.binom.sf(hits - 1, trials, rate))


@dataclass(frozen=True)
class ExponentialTail:
    """Conservative model of the upper tail of a null distribution.

    Attributes:
        body: Sorted null values; below ``start`` the p-value is the conformal rank.
        start: The 80th percentile u of the null.
        scale: Upper confidence bound on the mean excess, sigma_U = 2 sum(e) / chi2_.05(2 m).
    """

    body: Array
    start: float
    scale: float

    TAIL = 0.2

    @classmethod
    def fit(cls, null: Array, *, copies: int = 1, floor: float = 1e-3) -> ExponentialTail:
        """Fit to null scores.

        A free generalised-Pareto fit gives short tails by accident and false alarms by the dozen; one parameter,
        taken at its upper 95 % bound, does not.

        Args:
            null: Scores under the null, at least 25.
            copies: How many of the scores tell the same story (blocks that share a decoy); divides the count of
                excesses that the confidence bound may use.
            floor: Smallest scale believed, in units of the score.
        """
        body = np.sort(np.asarray(null, dtype=np.float64))
        if len(body) < 25:
            raise ValueError("a tail needs at least 25 null scores")
        start = float(np.quantile(body, 1.0 - cls.TAIL))
        excess = body[body > start] - start
        count = max(2.0, len(excess) / copies)
        mean = float(excess.mean()) if len(excess) else 0.0
        scale = 2.0 * mean * count / float(stats.chi2.ppf(0.05, 2.0 * count))
        return cls(body, start, max(floor, scale))

    def p(self, scores: Array) -> Array:
        """P(null >= score), on the safe side."""
        scores = np.asarray(scores, dtype=np.float64)
        above = len(self.body) - np.searchsorted(self.body, scores, side="left")
        rank = (1.0 + above) / (len(self.body) + 1.0)
        tail = self.TAIL * np.exp(-np.maximum(scores - self.start, 0.0) / self.scale)
        return np.minimum(1.0, np.where(scores > self.start, tail, np.maximum(rank, self.TAIL)))


def patient_resamples(patients: int, resamples: int, rng: np.random.Generator) -> Array:
    """Bootstrap weights: (resamples, patients), each row counts how often a patient was drawn; rows sum to patients."""
    return rng.multinomial(patients, np.full(patients, 1.0 / patients), size=resamples).astype(np.float64)


def percentiles(draws: Array, confidence: float = 0.95) -> Interval:
    """Percentile interval of bootstrap draws.

    >>> [round(x, 6) for x in percentiles(np.arange(101.0), 0.9)]
    [5.0, 95.0]
    """
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(draws, [tail, 1.0 - tail])
    return Interval(float(low), float(high))


def wins(positive: Array, negative: Array) -> Array:
    """Matrix (positives, negatives): 1 where the positive scores higher, 1/2 for a tie, 0 otherwise."""
    difference = positive[:, None] - negative[None, :]
    return 0.5 * (np.sign(difference) + 1.0)


def auc(positive: Array, negative: Array) -> float:
    """Area under the ROC curve: P(positive > negative) + P(tie) / 2.

    >>> auc(np.array([1.0, 2.0]), np.array([0.0, 1.0]))
    0.875
    """
    return float(wins(positive, negative).mean())


def auc_resampled(positive: Array, negative: Array, weights_p: Array, weights_n: Array) -> Array:
    """AUC under bootstrap weights: (B, positives) and (B, negatives) to (B,)."""
    table = wins(positive, negative)
    total = np.einsum("bi,bi->b", weights_p @ table, weights_n)
    return np.asarray(total / np.maximum(weights_p.sum(1) * weights_n.sum(1), 1e-12))

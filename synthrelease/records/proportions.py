"""Shares with their uncertainty, for records that need no statistics library."""

from __future__ import annotations

from math import sqrt
from statistics import NormalDist
from typing import NamedTuple


class Share(NamedTuple):
    """``low <= truth <= high`` at the confidence that was asked for."""

    low: float
    high: float


def wilson(hits: int, trials: int, confidence: float = 0.95) -> Share:
    """Score interval of a proportion, in [0, 1]; it is the whole of [0, 1] without a trial.

    Raises:
        ValueError: More hits than trials, or fewer than none.

    Source: Wilson, JASA 1927.

    >>> [round(x, 4) for x in wilson(7, 10)], wilson(0, 0)
    ([0.3968, 0.8922], Share(low=0.0, high=1.0))
    """
    if not 0 <= hits <= trials:
        raise ValueError(f"{hits} hits of {trials} trials")
    if trials == 0:
        return Share(0.0, 1.0)
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    rate, weight = hits / trials, z * z / trials
    centre = (rate + weight / 2) / (1 + weight)
    half = z / (1 + weight) * sqrt(rate * (1 - rate) / trials + weight / (4 * trials))
    return Share(max(0.0, centre - half), min(1.0, centre + half))

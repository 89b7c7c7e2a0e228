"""Whether a share of right answers is that of guessing: two one-sided exact tests against 0.5.

    H1: p <= 0.5 - margin      p-value  P(X >= x | n, 0.5 - margin)
    H2: p >= 0.5 + margin      p-value  P(X <= x | n, 0.5 + margin)

Both rejected at level alpha: equivalent to guessing within the margin (TOST). A difference that is not significant is no
equivalence: it may come of too few answers.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import ceil

import numpy as np
from scipy import stats

from synthrelease.audit.intervals import Interval, clopper_pearson
from synthrelease.errors import UsageError

CHANCE = 0.5
MARGIN, ALPHA, POWER = 0.10, 0.05, 0.8
_STABLE = 20
_MOST = 20_000


@dataclass(frozen=True)
class Tost:
    """Two one-sided tests of a share against 0.5.

    Attributes:
        p: The larger of the two p-values.
        interval: Exact interval at confidence 1 - 2 alpha; inside the margin just when both tests reject.
        equivalent: Whether both tests reject.
    """

    p: float
    interval: Interval
    equivalent: bool


def tost(hits: int, trials: int, margin: float = MARGIN, alpha: float = ALPHA) -> Tost:
    """Test whether a share lies within the margin of 0.5.

    Raises:
        UsageError: A margin or level that is none.

    Source: Schuirmann 1987; exact binomial tails.

    >>> tost(100, 200).equivalent, tost(54, 100).equivalent, tost(124, 200).equivalent
    (True, False, False)
    """
    _check(margin, alpha)
    below = float(stats.binom.sf(hits - 1, trials, CHANCE - margin))
    above = float(stats.binom.cdf(hits, trials, CHANCE + margin))
    p = max(below, above)
    return Tost(p, clopper_pearson(hits, trials, 1 - 2 * alpha), p < alpha)


def power_of(trials: int, margin: float = MARGIN, alpha: float = ALPHA, share: float = CHANCE) -> float:
    """Chance that so many answers show equivalence when the true share of right ones is ``share``.

    >>> round(power_of(200), 2), round(power_of(100), 2)
    (0.77, 0.24)
    """
    _check(margin, alpha)
    hits = np.arange(trials + 1)
    shown = (stats.binom.sf(hits - 1, trials, CHANCE - margin) < alpha) & (
        stats.binom.cdf(hits, trials, CHANCE + margin) < alpha
    )
    return float(stats.binom.pmf(hits[shown], trials, share).sum())


@lru_cache(maxsize=64)
def answers_needed(margin: float = MARGIN, alpha: float = ALPHA, power: float = POWER) -> int:
    """Answers of one reader from which on equivalence is shown with that power, when the reader guesses.

    The exact power goes up in teeth: it is asked for at this number and at the next ones.

    Raises:
        UsageError: More than 20,000 would be needed.

    >>> answers_needed(0.10), answers_needed(0.20)
    (228, 58)
    """
    _check(margin, alpha)
    z = float(stats.norm.ppf(1 - alpha) + stats.norm.ppf((1 + power) / 2))
    trials = 2 * ceil(0.7 * 0.125 * (z / margin) ** 2)
    while trials <= _MOST:
        if all(power_of(trials + more, margin, alpha) >= power for more in range(0, _STABLE, 2)):
            return trials
        trials += 2
    raise UsageError(f"a margin of {margin:g} needs more than {_MOST} answers", fix="Take a wider margin.")


def _check(margin: float, alpha: float) -> None:
    if not (0.01 <= margin < CHANCE and 0 < alpha < CHANCE):
        raise UsageError(
            f"margin {margin:g} and level {alpha:g}", fix="Take a margin from 0.01 to below 0.5, a level below 0.5."
        )

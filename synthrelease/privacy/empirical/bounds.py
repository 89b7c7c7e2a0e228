"""From scores and coins to lower bounds on epsilon, corrected for every line that was drawn.

The three methods differ in what they ask of the mechanism and of the canaries:

    one-run         nothing: any mechanism, canaries may depend on each other
    f-DP one-run    that the trade-off between the two errors is at worst a Gaussian's
    Gaussian        that, and independent canaries: in one run, such that share no coordinate
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from synthrelease.privacy.empirical.fdp_one_run import one_run_mu
from synthrelease.privacy.empirical.gaussian import epsilon_of_mu, gaussian_mu
from synthrelease.privacy.empirical.one_run import one_run_epsilon
from synthrelease.privacy.empirical.scores import GUESSED

Array = npt.NDArray[np.float64]
Coins = npt.NDArray[np.bool_]

LEVEL = 0.05


class Method(StrEnum):
    """How a bound was made."""

    ONE_RUN = "one-run"
    FDP_ONE_RUN = "f-DP one-run"
    GAUSSIAN = "Gaussian"


@dataclass(frozen=True)
class LowerBound:
    """Epsilon is at least this, at the audit's confidence for all bounds of one method together.

    Attributes:
        method: Which bound.
        score: Of which score.
        epsilon: In [0, 60].
        mu: Gaussian-DP parameter behind it; None for the bound that knows none.
    """

    method: Method
    score: str
    epsilon: float
    mu: float | None = None

    def to_json(self) -> dict[str, Any]:
        """As a record holds it."""
        return {"method": str(self.method), "score": self.score, "epsilon": self.epsilon, "mu": self.mu}


def right_guesses(scores: Array, included: Coins, guesses: int) -> int:
    """How many are right when the highest half of ``guesses`` is called in, the lowest half out, the rest not guessed.

    Args:
        scores: (m,). Equal scores are told apart by their place, which the coins do not depend on.
        included: (m,) the coins.
        guesses: Even, at most m.
    """
    order = np.argsort(scores, kind="stable")
    half = guesses // 2
    return int((~included[order[:half]]).sum() + included[order[len(order) - half :]].sum())


def lower_bounds(
    score: Array,
    included: Coins,
    thresholds: Sequence[float],
    *,
    name: str,
    delta: float,
    level: float,
    independent: bool = True,
) -> tuple[LowerBound, ...]:
    """The bounds of one score; each method's holds at ``level``, over all its thresholds or numbers of guesses.

    Args:
        score: (m,) higher for canaries that took part; a score that is not finite counts as the lowest.
        included: (m,) the coins.
        thresholds: Fixed beforehand.
        name: Of the score.
        delta: Of the claim.
        level: Allowed error; a Bonferroni share when there are several scores.
        independent: Whether the canaries are, so that the Gaussian bound may be taken.
    """
    scores = np.where(np.isfinite(score), score, -np.inf)
    canaries = len(scores)
    counts = sorted({2 * int(share * canaries / 2) for share in GUESSED} - {0})
    one, fdp = 0.0, 0.0
    for guesses in counts:
        correct = right_guesses(scores, included, guesses)
        each = level / len(counts)
        one = max(one, one_run_epsilon(canaries=canaries, guesses=guesses, correct=correct, delta=delta, level=each))
        fdp = max(fdp, one_run_mu(canaries=canaries, guesses=guesses, correct=correct, level=each))
    found = [
        LowerBound(Method.ONE_RUN, name, one),
        LowerBound(Method.FDP_ONE_RUN, name, epsilon_of_mu(fdp, delta), fdp),
    ]
    if independent:
        mu = gaussian_bound(scores, included, thresholds, level)
        found.append(LowerBound(Method.GAUSSIAN, name, epsilon_of_mu(mu, delta), mu))
    return tuple(found)


def gaussian_bound(scores: Array, included: Coins, thresholds: Sequence[float], level: float) -> float:
    """The highest mu over thresholds, each at its part of ``level``.

    Args:
        scores: (m,).
        included: (m,) the coins.
        thresholds: Fixed beforehand; a score at or above counts as "took part".
        level: Allowed error of all together.
    """
    inside, outside = scores[included], scores[~included]
    return max(
        gaussian_mu(
            false_positives=int((outside >= threshold).sum()),
            negatives=len(outside),
            false_negatives=int((inside < threshold).sum()),
            positives=len(inside),
            level=level / len(thresholds),
        )
        for threshold in thresholds
    )

"""Lower bound on epsilon from one run, for any mechanism: canaries may depend on each other in any way.

With m coins, r of them guessed and v guessed right, a mechanism that is (epsilon, delta)-DP has

    P[v or more right] <= beta + 2 m delta max_i alpha_i
    beta = P[B >= v],  alpha_i = (P[B >= v - i] - beta) / i,  B ~ Binomial(r, e^epsilon / (1 + e^epsilon))

Source: Steinke, Nasr, Jagielski, "Privacy auditing with one (1) training run", NeurIPS 2023, theorem 3.1.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import brentq
from scipy.special import bdtrc, expit

LARGEST = 60.0
"""Largest epsilon told apart; e^60 to one is beyond any experiment."""


def one_run_p_value(epsilon: float, delta: float, *, canaries: int, guesses: int, correct: int) -> float:
    """Largest chance that an (epsilon, delta)-DP mechanism gives so many correct guesses.

    Args:
        epsilon: Of the hypothesis, >= 0.
        delta: Of the hypothesis; its term is kept.
        canaries: m, all coins, guessed or not.
        guesses: r; how many and which may follow from the outcome, never from the coins.
        correct: v.

    >>> round(one_run_p_value(0.0, 0.0, canaries=10, guesses=10, correct=10), 6)
    0.000977
    """
    if not 0 <= correct <= guesses <= canaries:
        raise ValueError(f"{correct} of {guesses} guesses right among {canaries} canaries")
    chance = float(expit(epsilon))
    # bdtrc(k, n, p) = P[B > k]; at least v means more than v - 1.
    beta = float(bdtrc(correct - 1, guesses, chance)) if correct else 1.0
    if not delta or not correct:
        return min(1.0, beta)
    back = np.arange(1, correct + 1)
    reached = np.where(back == correct, 1.0, bdtrc(np.maximum(correct - back - 1, 0), guesses, chance))
    return min(1.0, beta + 2 * canaries * delta * float(np.max((reached - beta) / back)))


def one_run_epsilon(*, canaries: int, guesses: int, correct: int, delta: float, level: float) -> float:
    """Smallest epsilon that is not rejected at ``level``; smaller ones are, so the true one is at least this.

    Returns:
        In [0, 60]; above the truth with chance at most ``level``.

    >>> round(one_run_epsilon(canaries=1000, guesses=100, correct=95, delta=1e-5, level=0.05), 3)
    2.165
    """

    def excess(epsilon: float) -> float:
        return one_run_p_value(epsilon, delta, canaries=canaries, guesses=guesses, correct=correct) - level

    if excess(0.0) > 0:
        return 0.0
    return LARGEST if excess(LARGEST) <= 0 else float(brentq(excess, 0.0, LARGEST, xtol=1e-6))

"""Lower bound on mu from one run, for a mechanism whose trade-off is at worst that of a Gaussian.

Canaries may depend on each other. Against the bound for any mechanism, the whole trade-off curve is used, not one
point of it, so that more guesses tell more.

Source: Mahloujifar, Melis, Chaudhuri, "Auditing f-differential privacy in one run", ICML 2025, algorithm 3 with two
outcomes a canary.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, ndtri

Array = npt.NDArray[np.float64]

LARGEST_MU = 11.0


def rejected(mu: Array, *, canaries: int, guesses: int, correct: int, level: float) -> npt.NDArray[np.bool_]:
    """Whether so many correct guesses have a chance below ``level`` under mu-Gaussian DP.

    With right and wrong guesses as shares of all canaries, r and h, the recursion goes down from the count that was
    seen to none, bounding what must have been likely before for the tail to be as likely as ``level``; when the shares
    exceed the share of guesses, no such mechanism exists.

    Args:
        mu: (n,) hypotheses, >= 0.
        canaries: All coins.
        guesses: How many were guessed.
        correct: How many of them rightly.
        level: In (0, 1).

    Returns:
        (n,) True where mu-Gaussian DP is rejected.
    """
    if not 0 <= correct <= guesses <= canaries:
        raise ValueError(f"{correct} of {guesses} guesses right among {canaries} canaries")
    right = np.full(len(mu), level * correct / canaries)
    wrong = np.full(len(mu), level * (guesses - correct) / canaries)
    with np.errstate(divide="ignore"):
        for i in range(correct - 1, -1, -1):
            # 1 - f has the inverse Phi(Phi^-1(x) - mu): the share of wrong guesses that comes with right ones.
            least = np.maximum(wrong, ndtr(ndtri(right) - mu))
            right = np.minimum(right + i / (guesses - i) * (least - wrong), 1.0)
            wrong = least
    return np.asarray(right + wrong > guesses / canaries, dtype=bool)


def one_run_mu(*, canaries: int, guesses: int, correct: int, level: float) -> float:
    """Smallest mu that is not rejected, to 0.002 and rounded down; above the truth with chance at most ``level``.

    >>> round(one_run_mu(canaries=1000, guesses=1000, correct=790, level=0.05), 2)
    0.55
    """
    low, high = 0.0, LARGEST_MU
    while high - low > 0.002:
        grid = np.linspace(low, high, 33)
        # The first that stands; between it and the one before lies the bound.
        stands = ~rejected(grid, canaries=canaries, guesses=guesses, correct=correct, level=level)
        if not stands.any():
            return high
        first = int(np.argmax(stands))
        if first == 0:
            return low
        low, high = float(grid[first - 1]), float(grid[first])
    return low

"""Lower bound on mu from error rates, for independent canaries and a trade-off that is at worst a Gaussian's.

A test with false positive rate a and false negative rate b against mu-Gaussian DP has Phi^-1(1 - a) - Phi^-1(b) <= mu.
Both rates are taken at their exact upper confidence bounds.

Source: Nasr et al., "Tight auditing of differentially private machine learning", USENIX Security 2023; Clopper and
Pearson, Biometrika 1934; conversion by Balle and Wang, ICML 2018.
"""

from __future__ import annotations

from scipy.optimize import brentq
from scipy.special import betaincinv, ndtri

from synthrelease.privacy.calibration import gaussian_delta
from synthrelease.privacy.empirical.one_run import LARGEST


def upper_rate(hits: int, trials: int, level: float) -> float:
    """Exact upper bound of a proportion, below the truth with chance at most ``level``.

    >>> round(upper_rate(0, 300, 0.05), 5)
    0.00994
    """
    if not 0 <= hits <= trials:
        raise ValueError(f"{hits} hits of {trials}")
    return 1.0 if hits == trials else float(betaincinv(hits + 1, trials - hits, 1 - level))


def gaussian_mu(*, false_positives: int, negatives: int, false_negatives: int, positives: int, level: float) -> float:
    """Smallest mu that explains the error rates of one test; above the truth with chance at most ``level``.

    >>> round(gaussian_mu(false_positives=100, negatives=500, false_negatives=100, positives=500, level=0.05), 2)
    1.43
    """
    missed = upper_rate(false_negatives, positives, level / 2)
    alarmed = upper_rate(false_positives, negatives, level / 2)
    if missed == 1.0 or alarmed == 1.0:
        return 0.0
    return max(0.0, -float(ndtri(alarmed)) - float(ndtri(missed)))


def epsilon_of_mu(mu: float, delta: float) -> float:
    """The epsilon of mu-Gaussian DP at ``delta``, in [0, 60].

    >>> round(epsilon_of_mu(1.0, 1e-5), 3)
    4.377
    """
    if mu <= 0 or gaussian_delta(0.0, mu) <= delta:
        return 0.0
    if gaussian_delta(LARGEST, mu) > delta:
        return LARGEST
    return float(brentq(lambda epsilon: gaussian_delta(epsilon, mu) - delta, 0.0, LARGEST, xtol=1e-9))

"""What epsilon and delta mean for one person: bounds on attackers who know everybody else.

From the whole privacy loss distribution, not from (epsilon, delta) alone, which is far looser. With delta(e) the privacy
profile at e >= 0, under adding as well as under removing a patient, every attacker with false positive rate a misses
at least

    beta(a) = max(0, sup_e max(1 - delta(e) - exp(e) a, exp(-e) (1 - delta(e) - a)))

Each e gives two straight lines below the true curve, so a grid of e can only understate the misses: what is printed
is never better than the truth. The breakpoints between neighbouring lines are where a Gaussian curve touches first, since it
is convex; comparing there bounds it everywhere in between.

Source: Dong, Roth, Su, JRSS B 2022 (trade-off functions, Gaussian DP); Kaissis et al. 2023, Kulynych et al. 2025
(reconstruction and singling out succeed with chance at most 1 - beta(chance of a blind guess)); Gomez et al. 2025 (report mu).
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from functools import lru_cache
from math import sqrt
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from synthrelease.privacy.accounting import COARSE, Mechanism, privacy_loss

FALSE_POSITIVE_RATES = (0.001, 0.01, 0.1)
BLIND_CHANCES = (0.0001, 0.001, 0.01)
PRIOR = 0.1
MU_RATES = (0.001, 0.999)
NOT_STRONG = 0.1
CLEAR = 0.03

FloatArray = npt.NDArray[np.float64]

_GRID = 1001
# Rounding of the accountant's convolutions and the tails that it cuts stay far below this; added to every delta.
_SLACK = 1e-12


def profile(loss: Any) -> tuple[FloatArray, FloatArray]:
    """delta(e) at a grid of e from 0 to where delta falls below 1e-7.

    Returns:
        e and delta(e), both (n,).
    """
    reach = float(loss.get_epsilon_for_delta(1e-7))
    grid = np.linspace(0.0, min(max(reach, 1e-3), 700.0), _GRID)
    delta = np.asarray(loss.get_delta_for_epsilon(grid), dtype=np.float64)
    return grid, np.clip(delta + _SLACK, 0.0, 1.0)


def missed(loss: Any, rates: FloatArray) -> FloatArray:
    """beta(a): lowest miss rate of any attacker at each false positive rate.

    Args:
        loss: Privacy loss distribution of everything composed.
        rates: (n,) false positive rates in (0, 1).

    Returns:
        (n,) in [0, 1].
    """
    return _missed(*profile(loss), rates)


def _missed(grid: FloatArray, delta: FloatArray, rates: FloatArray) -> FloatArray:
    kept, odds, rate = 1 - delta[None, :], np.exp(grid)[None, :], rates[:, None]
    lines = np.maximum(kept - odds * rate, (kept - rate) / odds)
    return np.asarray(np.clip(lines.max(axis=1), 0.0, 1.0), dtype=np.float64)


def _gaussian_mu(grid: FloatArray, delta: FloatArray) -> float:
    """Smallest mu whose Gaussian curve Phi(Phi^-1(1 - a) - mu) stays below beta(a) at every rate a in ``MU_RATES``.

    The lines 1 - delta(e) - exp(e) a of neighbouring e cross at a rate c with misses b >= c; the other half of the curve
    is their mirror image. Infinite where misses vanish.
    """
    odds = np.exp(grid)
    cross = (delta[:-1] - delta[1:]) / (odds[1:] - odds[:-1])
    miss = 1 - delta[:-1] - odds[:-1] * cross
    low, high = MU_RATES
    ends = np.array(MU_RATES)
    # The curve as (rate, misses), its mirror image, and the two ends of the range.
    rates = np.concatenate([cross, miss, ends])
    misses = np.concatenate([miss, cross, _missed(grid, delta, ends)])
    inside = (rates >= low) & (rates <= high)
    return float(np.max(-ndtri(rates[inside]) - ndtri(np.clip(misses[inside], 0.0, 1.0))))


def risk_of(mechanisms: Sequence[Mechanism], interval: float = COARSE) -> dict[str, Any]:
    """Bounds for a report, worst case over attackers and over people.

    Args:
        mechanisms: Everything that was run.
        interval: Grid of the accountant.

    Returns:
        ``mu``: Gaussian-DP parameter whose attack curve is at least as good as the run's at every false positive rate in
        ``mu_false_positive_rates``;
        ``membership_advantage``: most that true minus false positive rate can be;
        ``true_positive_rate``: most that it can be, by false positive rate;
        ``posterior``: most that an accusation is right, by false positive rate, where one in ten who might be accused was
        a member (``prior``);
        ``reconstruction``: most that guessing a record succeeds, by its blind chance.
    """
    return deepcopy(_risk_of(tuple(mechanisms), interval))


@lru_cache(maxsize=32)
def _risk_of(mechanisms: tuple[Mechanism, ...], interval: float) -> dict[str, Any]:
    loss = privacy_loss(mechanisms, interval)
    if loss is None:
        return _bounds(0.0, 0.0, np.array(FALSE_POSITIVE_RATES), np.array(BLIND_CHANCES))
    grid, delta = profile(loss)
    # Drawing patients at random never hurts: without it, all steps together are one Gaussian, and that mu holds too.
    undrawn = sqrt(sum(m.steps / m.noise_multiplier**2 for m in mechanisms))
    return _bounds(
        min(max(0.0, _gaussian_mu(grid, delta)), undrawn),
        float(delta[0]),
        1 - _missed(grid, delta, np.array(FALSE_POSITIVE_RATES)),
        1 - _missed(grid, delta, np.array(BLIND_CHANCES)),
    )


def _bounds(mu: float, advantage: float, hits: FloatArray, guesses: FloatArray) -> dict[str, Any]:
    rates = list(zip(FALSE_POSITIVE_RATES, (float(hit) for hit in hits), strict=True))
    return {
        "mu": mu,
        "mu_false_positive_rates": list(MU_RATES),
        "membership_advantage": advantage,
        "true_positive_rate": {f"{a:g}": hit for a, hit in rates},
        "posterior": {"prior": PRIOR, **{f"{a:g}": posterior(hit, a) for a, hit in rates}},
        "reconstruction": {f"{k:g}": float(g) for k, g in zip(BLIND_CHANCES, guesses, strict=True)},
    }


def posterior(true_positive_rate: float, false_positive_rate: float, prior: float = PRIOR) -> float:
    """Chance that an accused person was a member, p t / (p t + (1 - p) a): Bayes, with t hits at false positive rate a.

    Args:
        true_positive_rate: t, in [0, 1]; an upper bound gives an upper bound.
        false_positive_rate: a, in (0, 1).
        prior: p, the share of members among those who might be accused.

    >>> round(posterior(0.355, 0.01), 3)
    0.798
    """
    hit = prior * true_positive_rate
    return hit / (hit + (1 - prior) * false_positive_rate)


def strength(epsilon: float, risk: dict[str, Any]) -> str:
    """What the bounds amount to in the worst case, in plain words for people who decide.

    Args:
        epsilon: Of the run.
        risk: As :func:`risk_of` gives it.
    """
    hits = float(risk["true_positive_rate"]["0.01"])
    if hits >= 0.9:
        return "In the worst case this bound excludes hardly any attack. Read it as a mitigation, with the audit."
    if hits >= NOT_STRONG or epsilon >= 5:
        return (
            "In the worst case this is not a strong guarantee: the bound still allows an attack that finds many members with "
            "few false accusations. It is a mitigation, to be read with the audit."
        )
    if hits >= CLEAR:
        return (
            "In the worst case this is a moderate guarantee: an attack may do clearly better than blind guessing, but finds "
            "few members. Read it with the audit."
        )
    return "In the worst case an attack does little better than blind guessing. Read it with the audit all the same."

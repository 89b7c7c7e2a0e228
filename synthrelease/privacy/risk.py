"""What epsilon and delta mean for one person: bounds on attackers who know everybody else.

From the whole privacy loss distribution, not from (epsilon, delta) alone, which is far looser: with e over all real
numbers and delta(e) the privacy profile, an attacker with false positive rate a misses at least

    beta(a) = max(0, sup_e max(1 - delta(e) - exp(e) a, exp(-e) (1 - delta(e) - a)))

Source: Dong, Roth, Su, JRSS B 2022 (trade-off functions); Kaissis et al. 2023, Kulynych et al. 2025 (reconstruction
and singling out succeed with chance at most 1 - beta(chance of a blind guess)).
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from synthrelease.privacy.accounting import COARSE, Mechanism, privacy_loss

FALSE_POSITIVE_RATES = (0.001, 0.01, 0.1)
BLIND_CHANCES = (0.0001, 0.001, 0.01)

FloatArray = npt.NDArray[np.float64]


def missed(loss: Any, rates: FloatArray) -> FloatArray:
    """beta(a): lowest miss rate of any attacker at each false positive rate.

    Args:
        loss: Privacy loss distribution of everything composed.
        rates: (n,) false positive rates in (0, 1).

    Returns:
        (n,) in [0, 1].
    """
    reach = float(loss.get_epsilon_for_delta(1e-9))
    reach = min(reach, 700.0) if np.isfinite(reach) else 700.0
    grid = np.linspace(-reach - 1, reach + 1, 4001)
    delta = np.asarray(loss.get_delta_for_epsilon(grid), dtype=np.float64)
    kept = 1 - delta
    first = kept[None, :] - np.exp(grid)[None, :] * rates[:, None]
    second = np.exp(-grid)[None, :] * (kept[None, :] - rates[:, None])
    return np.asarray(np.clip(np.maximum(first.max(axis=1), second.max(axis=1)), 0.0, 1.0), dtype=np.float64)


def risk_of(mechanisms: Sequence[Mechanism], interval: float = COARSE) -> dict[str, Any]:
    """Bounds for a report, worst case over attackers and over people.

    Args:
        mechanisms: Everything that was run.
        interval: Grid of the accountant.

    Returns:
        ``mu``: Gaussian-DP parameter that dominates the run at false positive rates of 0.1 % to 99.9 %;
        ``membership_advantage``: most that true minus false positive rate can be;
        ``true_positive_rate``: most that it can be, by false positive rate;
        ``reconstruction``: most that guessing a record succeeds, by its blind chance.
    """
    return deepcopy(_risk_of(tuple(mechanisms), interval))


@lru_cache(maxsize=32)
def _risk_of(mechanisms: tuple[Mechanism, ...], interval: float) -> dict[str, Any]:
    loss = privacy_loss(mechanisms, interval)
    if loss is None:
        nothing = {f"{a:g}": a for a in FALSE_POSITIVE_RATES}
        return {
            "mu": 0.0,
            "membership_advantage": 0.0,
            "true_positive_rate": nothing,
            "reconstruction": {f"{k:g}": k for k in BLIND_CHANCES},
        }
    rates = np.concatenate([np.geomspace(1e-3, 0.5, 60), 1 - np.geomspace(1e-3, 0.5, 60)])
    misses = missed(loss, rates)
    inside = (misses > 1e-9) & (misses < 1)
    mu = float(np.max(ndtri(1 - rates[inside]) - ndtri(misses[inside]))) if inside.any() else 40.0
    hits = 1 - missed(loss, np.array(FALSE_POSITIVE_RATES))
    guesses = 1 - missed(loss, np.array(BLIND_CHANCES))
    return {
        "mu": max(0.0, mu),
        "membership_advantage": float(loss.get_delta_for_epsilon(0.0)),
        "true_positive_rate": {f"{a:g}": float(t) for a, t in zip(FALSE_POSITIVE_RATES, hits, strict=True)},
        "reconstruction": {f"{k:g}": float(g) for k, g in zip(BLIND_CHANCES, guesses, strict=True)},
    }

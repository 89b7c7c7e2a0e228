"""How much noise a target epsilon asks for, and how the budget is split between moments and gradient steps.

The budget is split in squared Gaussian-DP mu, the quantity that adds up: a full-batch Gaussian of multiplier s has
mu^2 = 1/s^2, T Poisson-subsampled steps have about q^2 T (exp(1/sigma^2) - 1) (Bu, Dong, Long, Su, 2020). The split is
approximate; the guarantee is not: one common factor on the multipliers of all gradient steps is found with the real
accountant over *all* mechanisms.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from math import exp, expm1, log, log1p, sqrt

from scipy.optimize import brentq
from scipy.special import log_ndtr, ndtr

from synthrelease.errors import PolicyError
from synthrelease.privacy.accounting import COARSE, FINE, Mechanism, check_target, epsilon_of
from synthrelease.privacy.names import GRADIENT_STEPS

TOLERANCE = 0.005


def gaussian_delta(epsilon: float, mu: float) -> float:
    """delta(epsilon) of mu-Gaussian DP: Phi(-e/mu + mu/2) - exp(e) Phi(-e/mu - mu/2) (Balle and Wang, 2018)."""
    return float(ndtr(-epsilon / mu + mu / 2) - exp(epsilon + float(log_ndtr(-epsilon / mu - mu / 2))))


def mu_of(epsilon: float, delta: float) -> float:
    """The mu whose Gaussian DP guarantee is exactly (epsilon, delta)."""
    return float(brentq(lambda mu: gaussian_delta(epsilon, mu) - delta, 1e-6, 100.0, xtol=1e-12))


def split_moments(mu: float, shares: Mapping[str, float]) -> tuple[Mechanism, ...]:
    """Full-batch Gaussians that together have Gaussian-DP ``mu``; each gets its share of mu^2."""
    total = sum(shares.values())
    return tuple(Mechanism(name, 1 / (mu * sqrt(share / total))) for name, share in shares.items())


def _solve(
    build: Callable[[float], tuple[Mechanism, ...]], guess: float, target: float, delta: float
) -> tuple[Mechanism, ...]:
    """Smallest scale (to the tolerance) at which ``build(scale)`` stays within ``target`` on the fine grid.

    ``build`` must be monotone: a larger scale is more noise.
    """

    def excess(x: float) -> float:
        return epsilon_of(build(exp(x)), delta, COARSE) - target

    low = high = log(guess)
    while excess(high) > 0:
        high += 0.2
    while excess(low) < 0 and low > -5:
        low -= 0.2
    # The upper end of the bracket keeps within the target; xtol is relative noise, about 1e-4.
    x = float(brentq(excess, low, high, xtol=5e-5)) + 5e-5 if low < high else high
    slope = (excess(x) - excess(x + 0.02)) / 0.02
    best: float | None = None
    for _ in range(12):
        gap = target - epsilon_of(build(exp(x)), delta, FINE)
        if gap >= 0:
            best = x
            if gap <= TOLERANCE:
                break
        elif best is not None:
            break
        # Aim a little inside the target; the fine grid reads lower than the coarse one, so x mostly goes down.
        x -= (gap - TOLERANCE / 3) / max(slope, 1e-6)
    if best is None:
        raise PolicyError(
            f"no noise level reaches epsilon {target} at delta {delta}", fix="Use fewer steps or a larger epsilon."
        )
    return build(exp(best))


def calibrate(
    *,
    epsilon: float,
    delta: float,
    shares: Mapping[str, float],
    moments_share: float = 1.0,
    sampling_probability: float = 1.0,
    steps: int = 0,
    step_shares: Mapping[str, float] | None = None,
) -> tuple[Mechanism, ...]:
    """Mechanisms whose total epsilon is at most the target, and within 0.01 of it.

    Args:
        epsilon: Target of everything together.
        delta: At this delta.
        shares: Full-batch releases by name, with their relative shares of the moments' part; may be empty.
        moments_share: Share of squared mu that the full-batch releases get, in (0, 1]; unused without gradient steps.
        sampling_probability: q of the gradient steps, the same for every group.
        steps: Number of gradient steps; 0 gives everything to the releases.
        step_shares: Groups that are stepped together, by mechanism name, with their relative shares of the steps' part;
            None = one group, ``gradient_steps``. Each group draws its own patients: composing Poisson-sampled
            mechanisms is valid for independent draws only.

    Returns:
        The releases in the order of ``shares``, then the groups in theirs when there are steps.

    Raises:
        PolicyError: The target cannot be met, or nothing is left to spend it on.
    """
    check_target(epsilon, delta)
    groups = {GRADIENT_STEPS: 1.0} if step_shares is None else dict(step_shares)
    if any(not share > 0 for share in (*shares.values(), *groups.values())):
        raise ValueError("every share of the budget must be above 0")
    if steps and moments_share >= 1 and shares:
        raise PolicyError(
            "privacy.moments_share 1 leaves nothing for the gradient steps",
            fix="Lower moments_share, or set steps to 0.",
        )
    if not (steps and groups) and not shares:
        raise PolicyError(
            "no mechanism to calibrate: no moments and no gradient steps", fix="Set privacy.steps above 0."
        )
    return _calibrated(
        epsilon, delta, tuple(shares.items()), moments_share, sampling_probability, steps, tuple(groups.items())
    )


@lru_cache(maxsize=32)
def _calibrated(
    epsilon: float,
    delta: float,
    shares: tuple[tuple[str, float], ...],
    moments_share: float,
    q: float,
    steps: int,
    groups: tuple[tuple[str, float], ...],
) -> tuple[Mechanism, ...]:
    mu = mu_of(epsilon, delta)
    if not (steps and groups):
        return _solve(lambda scale: split_moments(mu / scale, dict(shares)), 1.0, epsilon, delta)
    released = split_moments(mu * sqrt(moments_share), dict(shares)) if shares else ()
    left = mu**2 * (1 - moments_share if shares else 1.0)
    total = sum(share for _, share in groups)
    sigmas = {name: multiplier_of_steps(left * share / total, q, steps) for name, share in groups}
    return _solve(
        lambda scale: (*released, *(Mechanism(name, scale * sigma, q, steps) for name, sigma in sigmas.items())),
        1.0,
        epsilon,
        delta,
    )


def multiplier_of_steps(squared_mu: float, q: float, steps: int) -> float:
    """Noise multiplier of T steps that together have about the given squared mu; the inverse of :func:`mu_of_steps`."""
    return sqrt(steps / squared_mu) if q == 1 else 1 / sqrt(log1p(squared_mu / (q**2 * steps)))


def mu_of_steps(mechanism: Mechanism) -> float:
    """Gaussian-DP mu of subsampled steps by the central limit, q sqrt(T (exp(1/sigma^2) - 1)); exact, sqrt(T)/sigma, at q = 1.

    For splitting a budget, never for a claim.
    """
    q, steps, sigma = mechanism.sampling_probability, mechanism.steps, mechanism.noise_multiplier
    return sqrt(steps) / sigma if q == 1 else q * sqrt(steps * expm1(1 / sigma**2))

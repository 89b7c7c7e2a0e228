"""What is computed of a canary's outcome, and where the lines are drawn: fixed by the plan before anything runs.

A mechanism's outcome on the canary coordinates is x of shape (uses, m), in clip norms. With noise multiplier s and
sampling probability q, and by the claim, a canary that takes part adds one with chance q to normal noise of deviation s:

    likelihood   sum of log(1 - q + q exp((2 x - 1) / (2 s^2)))     the best score against the claimed mechanism
    sum          sum of (q / s^2) (x - q / 2)                       the best linear one; a few lost steps do not hurt it
    alone        the sum of one full-batch mechanism: what shows when a single release forgot its noise
    spread       sum of (x - mean)^2 / s^2 over a sampled mechanism's steps: nothing but participation varies where
                 the noise of all steps is the same

Mean and deviation of the first two are known under the claim, with and without the canary. Thresholds lie where the
claim balances both errors, half a deviation to both sides, and far out in the tail, where only a broken mechanism gets.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from synthrelease.privacy.accounting import Mechanism

Array = npt.NDArray[np.float64]
Outcomes = Mapping[str, Array]
"""(uses, m) by name of the mechanism."""

AROUND = (-0.5, 0.0, 0.5)
TAIL = 3.0
GUESSED = (0.1, 0.2, 1.0)
"""Shares of the canaries that are guessed, half as members and half as non-members, for the bounds from one run."""


@dataclass(frozen=True)
class Statistic:
    """One score of a canary with everything that is decided beforehand.

    Attributes:
        name: A public word.
        share: Part of the allowed error that its bounds may use; all statistics together have 1.
        thresholds: Scores at or above count as "took part".
        score: Outcomes -> (m,), higher for canaries that took part.
    """

    name: str
    share: float
    thresholds: tuple[float, ...]
    score: Callable[[Outcomes], Array]


def log_ratio(x: Array, mechanism: Mechanism) -> Array:
    """Log likelihood of x with the canary over that without, in one use of a mechanism; any shape."""
    s, q = mechanism.noise_multiplier, mechanism.sampling_probability
    shift = (2 * x - 1) / (2 * s**2)
    return shift if q == 1.0 else np.logaddexp(np.log1p(-q), np.log(q) + shift)


def likelihood(mechanisms: Sequence[Mechanism], outcomes: Outcomes) -> Array:
    """(m,) log likelihood ratio of everything the canary could touch."""
    parts = [log_ratio(outcomes[m.name], m).sum(axis=0) for m in mechanisms]
    return np.asarray(np.sum(parts, axis=0), dtype=np.float64)


def weighted_sum(mechanisms: Sequence[Mechanism], outcomes: Outcomes) -> Array:
    """(m,) sum of outcomes, each weighed by its use against the noise."""
    parts = [_weight(m) * (outcomes[m.name] - m.sampling_probability / 2).sum(axis=0) for m in mechanisms]
    return np.asarray(np.sum(parts, axis=0), dtype=np.float64)


def spread(mechanism: Mechanism, outcomes: Outcomes) -> Array:
    """(m,) sum of squared deviations from a canary's mean, in noise variances."""
    x = outcomes[mechanism.name]
    return np.asarray(((x - x.mean(axis=0)) ** 2).sum(axis=0) / mechanism.noise_multiplier**2, dtype=np.float64)


def statistics(mechanisms: Sequence[Mechanism]) -> tuple[Statistic, ...]:
    """The scores of an audit of these mechanisms, as claimed; fixed before a canary is drawn.

    Args:
        mechanisms: The plan's, each used as often as planned.
    """
    full = [m for m in mechanisms if m.sampling_probability == 1 and len(mechanisms) > 1]
    stepped = [m for m in mechanisms if m.sampling_probability < 1 and m.steps > 1]
    found = [
        Statistic("likelihood", 0.6, _lines(_likelihood_law(mechanisms)), lambda o: likelihood(mechanisms, o)),
        Statistic("sum", 0.2, _lines(_sum_law(mechanisms)), lambda o: weighted_sum(mechanisms, o)),
    ]
    for m in full:
        found.append(Statistic(f"{m.name} alone", 0.1 / len(full), (m.steps / 2,), _sum_of(m)))
    for m in stepped:
        # A canary that was sampled at all spreads by at least (1 - 1/T) / s^2 where noise adds nothing; half of it.
        half = 0.5 * (1 - 1 / m.steps) / m.noise_multiplier**2
        found.append(Statistic(f"spread of {m.name}", 0.1 / len(stepped), (half,), _spread_of(m)))
    whole = sum(statistic.share for statistic in found)
    return tuple(replace(statistic, share=statistic.share / whole) for statistic in found)


def _sum_of(m: Mechanism) -> Callable[[Outcomes], Array]:
    return lambda outcomes: np.asarray(outcomes[m.name].sum(axis=0), dtype=np.float64)


def _spread_of(m: Mechanism) -> Callable[[Outcomes], Array]:
    return lambda outcomes: spread(m, outcomes)


@dataclass(frozen=True)
class _Law:
    """Mean and deviation of a score under the claim, without and with the canary."""

    mean_out: float
    deviation_out: float
    mean_in: float
    deviation_in: float


def _lines(law: _Law) -> tuple[float, ...]:
    """Thresholds: around the point where both errors are equal, and far in the tail of those who did not take part."""
    both = law.deviation_out + law.deviation_in
    middle = (law.mean_out * law.deviation_in + law.mean_in * law.deviation_out) / both
    around = tuple(middle + step * law.deviation_out for step in AROUND)
    return (*around, max(law.mean_out, law.mean_in) + TAIL * law.deviation_out)


def _weight(m: Mechanism) -> float:
    return m.sampling_probability / m.noise_multiplier**2


def _sum_law(mechanisms: Sequence[Mechanism]) -> _Law:
    """Exact: the sum of normals, plus binomial participation."""
    half = sum(m.steps * _weight(m) * m.sampling_probability / 2 for m in mechanisms)
    noise = sum(m.steps * (_weight(m) * m.noise_multiplier) ** 2 for m in mechanisms)
    coin = sum(m.steps * _weight(m) ** 2 * m.sampling_probability * (1 - m.sampling_probability) for m in mechanisms)
    return _Law(-half, float(np.sqrt(noise)), half, float(np.sqrt(noise + coin)))


def _likelihood_law(mechanisms: Sequence[Mechanism]) -> _Law:
    """By Gauss-Hermite quadrature of one use of each mechanism; uses are independent, so means and variances add."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(201)
    weights = weights / weights.sum()
    mean = np.zeros(2)
    variance = np.zeros(2)
    for m in mechanisms:
        s, q = m.noise_multiplier, m.sampling_probability
        out, taken = log_ratio(s * nodes, m), log_ratio(s * nodes + 1, m)
        first = np.array([weights @ out, (1 - q) * (weights @ out) + q * (weights @ taken)])
        second = np.array([weights @ out**2, (1 - q) * (weights @ out**2) + q * (weights @ taken**2)])
        mean += m.steps * first
        variance += m.steps * (second - first**2)
    deviation = np.sqrt(np.maximum(variance, 1e-300))
    return _Law(float(mean[0]), float(deviation[0]), float(mean[1]), float(deviation[1]))

"""What canaries would show of mechanisms that are exactly as claimed: how far a bound can be expected to reach."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from synthrelease.privacy.accounting import Mechanism
from synthrelease.privacy.empirical.bounds import LEVEL, Coins, gaussian_bound
from synthrelease.privacy.empirical.gaussian import epsilon_of_mu
from synthrelease.privacy.empirical.scores import statistics

Array = npt.NDArray[np.float64]

RUNS = 7


def exact_outcomes(
    mechanisms: Sequence[Mechanism], canaries: int, rng: np.random.Generator
) -> tuple[Coins, dict[str, Array]]:
    """Coins (m,) and outcomes (uses, m) of mechanisms that do what they claim; no code of training takes part."""
    included = rng.random(canaries) < 0.5
    outcomes = {}
    for m in mechanisms:
        taken = included & (rng.random((m.steps, canaries)) < m.sampling_probability)
        outcomes[m.name] = taken + m.noise_multiplier * rng.normal(size=(m.steps, canaries))
    return included, outcomes


def expected_bound(mechanisms: Sequence[Mechanism], canaries: int, delta: float) -> float:
    """Median Gaussian bound on epsilon over a few simulated audits.

    An audit far below it has lost its canaries, or meets more noise than was planned: it says little then.
    """
    rng = np.random.default_rng(0)
    decided = statistics(mechanisms)
    reached = []
    for _ in range(RUNS):
        included, outcomes = exact_outcomes(mechanisms, canaries, rng)
        mus = [gaussian_bound(s.score(outcomes), included, s.thresholds, LEVEL * s.share) for s in decided]
        reached.append(epsilon_of_mu(max(mus), delta))
    return float(np.median(reached))

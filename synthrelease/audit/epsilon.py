"""Lower bounds on epsilon from membership scores of patients whose membership was drawn by lot.

    one-run          any mechanism, patients may depend on each other (Steinke et al. 2023)
    f-DP one-run     the same for a trade-off that is at worst a Gaussian's (Mahloujifar et al. 2025)
    two-sided        ln((TPR_L - delta) / FPR_U) and ln((TNR_L - delta) / FNR_U), Clopper-Pearson at a line that was
                     fixed on another half of the patients (Jagielski et al. 2020)
    Gaussian         mu from both error rates at that line (Nasr et al. 2023)

The last two take patients for independent, which those of one training are not quite: they are told, and only the
first decides.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import log
from typing import Any

import numpy as np
import numpy.typing as npt

from synthrelease.audit.intervals import lower_bound, upper_bound
from synthrelease.privacy.empirical.bounds import right_guesses
from synthrelease.privacy.empirical.fdp_one_run import one_run_mu
from synthrelease.privacy.empirical.gaussian import epsilon_of_mu, gaussian_mu
from synthrelease.privacy.empirical.one_run import one_run_epsilon, one_run_p_value

Array = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

GUESSED = (0.1, 0.3, 0.9)
"""Shares of the patients that are guessed: leaks of a few, of some, of nearly all; coins fall too unevenly for all."""


LINES = (0.0, 0.02, 0.1, 0.5, 0.9, 0.98, 1.0)
"""Quantiles of members and of others that are tried as a line on the first half."""


@dataclass(frozen=True)
class AuditedEpsilon:
    """Lower bounds of one score, each holding at the level asked for; 0 where nothing is shown.

    Attributes:
        one_run, fdp_one_run, two_sided, gaussian: Epsilon at the claim's delta.
        p_of_claim: Of "the mechanism keeps its claim", by the one-run bound.
    """

    one_run: float
    fdp_one_run: float
    two_sided: float
    gaussian: float
    p_of_claim: float

    def to_json(self) -> dict[str, Any]:
        """As a record holds it."""
        return asdict(self)


def audited_epsilon(
    members: Array, others: Array, epsilon: float, delta: float, level: float, rng: np.random.Generator
) -> AuditedEpsilon:
    """What the scores prove.

    Args:
        members: (n1,) scores of patients trained on, higher = more a member. others: (n0,) of the others.
        epsilon: Claimed. delta: Claimed. level: Allowed error of each bound.
        rng: Draws the coins and the halves.
    """
    score, included = fair_coins(members, others, rng)
    canaries = len(score)
    counts = sorted({2 * int(share * canaries / 2) for share in GUESSED} - {0})
    each = level / len(counts)
    one = mu = 0.0
    p = 1.0
    for guesses in counts:
        right = right_guesses(score, included, guesses)
        one = max(one, one_run_epsilon(canaries=canaries, guesses=guesses, correct=right, delta=delta, level=each))
        mu = max(mu, one_run_mu(canaries=canaries, guesses=guesses, correct=right, level=each))
        p = min(p, one_run_p_value(epsilon, delta, canaries=canaries, guesses=guesses, correct=right))
    two_sided, gaussian = _at_a_line(members, others, delta, level, rng)
    return AuditedEpsilon(one, epsilon_of_mu(mu, delta), two_sided, gaussian, min(1.0, p * len(counts)))


def fair_coins(members: Array, others: Array, rng: np.random.Generator) -> tuple[Array, BoolArray]:
    """Patients whose membership is as good as a fair coin's, one by one, though the split had fixed sizes.

    A binomial number of members and the rest of the others are drawn: given a split by lot, that is exactly how
    independent fair coins fall.

    Returns:
        (m,) scores and (m,) who is a member, in random order.
    """
    smaller = min(len(members), len(others))
    total = coins(smaller)
    heads = int(np.clip(rng.binomial(total, 0.5), total - smaller, smaller))
    chosen = rng.permutation(len(members))[:heads], rng.permutation(len(others))[: total - heads]
    score = np.concatenate([members[chosen[0]], others[chosen[1]]])
    included = np.arange(total) < heads
    order = rng.permutation(total)
    return score[order], included[order]


def _at_a_line(
    members: Array, others: Array, delta: float, level: float, rng: np.random.Generator
) -> tuple[float, float]:
    """Two-sided and Gaussian bound at the line that served best on one half, measured on the other."""
    halves = [np.array_split(rng.permutation(side), 2) for side in (members, others)]
    (member_a, member_b), (other_a, other_b) = halves
    lines = np.unique(np.concatenate([np.quantile(side, LINES) for side in (member_a, other_a)]))
    line = max(lines, key=lambda t: _two_sided(member_a >= t, other_a >= t, delta, level))
    hits, false = member_b >= line, other_b >= line
    mu = gaussian_mu(
        false_positives=int(false.sum()),
        negatives=len(false),
        false_negatives=int((~hits).sum()),
        positives=len(hits),
        level=level,
    )
    return _two_sided(hits, false, delta, level), epsilon_of_mu(mu, delta)


def _two_sided(hits: BoolArray, false: BoolArray, delta: float, level: float) -> float:
    """max(ln((TPR_L - delta) / FPR_U), ln((TNR_L - delta) / FNR_U)), at least 0; a quarter of the level a bound."""
    confidence = 1.0 - level / 4.0
    found = [0.0]
    for good, bad in ((hits, false), (~false, ~hits)):
        low = lower_bound(int(good.sum()), len(good), confidence) - delta
        high = upper_bound(int(bad.sum()), len(bad), confidence)
        if low > 0.0 and high > 0.0:
            found.append(log(low / high))
    return max(found)


def coins(patients: int) -> int:
    """Coins that can be tossed with so many patients of each kind, so that neither runs out but once in ten thousand.

    >>> [coins(n) for n in (60, 300)]
    [89, 530]
    """
    return max(2, 2 * patients - int(np.ceil(4.0 * np.sqrt(patients))))


def ceilings(patients: int, delta: float, level: float) -> dict[str, float]:
    """Epsilon that a perfect attack proves with so many patients of each kind, by the bound that decides and the usual one.

    >>> {name: round(value, 2) for name, value in ceilings(300, 0.0, 0.05).items()}
    {'one_run': 4.75, 'two_sided': 4.39}
    """
    total = coins(patients)
    most = 2 * int(GUESSED[-1] * total / 2)
    one_run = one_run_epsilon(canaries=total, guesses=most, correct=most, delta=delta, level=level / len(GUESSED))
    low, high = lower_bound(patients, patients, 1.0 - level / 2.0), upper_bound(0, patients, 1.0 - level / 2.0)
    return {"one_run": one_run, "two_sided": max(0.0, log(max(low - delta, 1e-300) / high))}

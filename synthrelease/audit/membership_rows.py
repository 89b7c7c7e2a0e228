"""What is reported of any membership attack: area under the curve, hit rates at fixed false-positive rates, control."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt
from scipy import stats

from synthrelease.audit.attacks import needed, resolvable, threshold_at
from synthrelease.audit.case import AuditCase
from synthrelease.audit.images import ImageSet
from synthrelease.audit.intervals import (
    auc,
    auc_resampled,
    clopper_pearson,
    lower_bound,
    patient_resamples,
    percentiles,
    upper_bound,
)
from synthrelease.audit.measurement import Excess, Measurement
from synthrelease.records.findings import Baseline, Direction, Power, Statistic

Array = npt.NDArray[np.float64]
Scores = Mapping[str, tuple[Array, Array]]

RATES = (0.1, 0.01, 0.001)
MAIN_RATE, FALLBACK_RATE = 0.01, 0.1
RESAMPLES = 500
MEASURABLE = 0.05

CONTROL_ERROR = 0.001
"""Chance that the control between members voids sound attacks; it is a test of the instrument, asked in every audit."""


def measurable_p(members: Array, others: Array, rate: float) -> float:
    """p-value of "members exceed the threshold no more often than others do": Fisher's exact test, one-sided.

    The threshold is fixed on one half of the non-members (every second one), the rates are compared with the other.

    Args:
        members: (n1,) scores. others: (n0,) scores. rate: False-positive rate that the threshold is set for.
    """
    calibration, rest = others[::2], others[1::2]
    threshold = threshold_at(calibration, rate)
    hits, false = int(np.sum(members > threshold)), int(np.sum(rest > threshold))
    table = [[hits, len(members) - hits], [false, len(rest) - false]]
    return float(stats.fisher_exact(table, alternative="greater").pvalue)


def hits_at(members: Array, others: Array, rate: float) -> int:
    """Members above the score that ``rate`` of the non-members exceed at most."""
    return int(np.sum(members > threshold_at(others, rate)))


def name_at(rate: float) -> str:
    """What the statistic is called."""
    return f"members found at {rate:.0%} false positives"


def control_between_members(members: Array, rng: np.random.Generator) -> tuple[float, float]:
    """Two random halves of the members, who are all members: AUC, and p-value of its difference from one half."""
    order = rng.permutation(len(members))
    half = len(members) // 2
    first, second = members[order[:half]], members[order[half:]]
    p = float(stats.mannwhitneyu(first, second, alternative="two-sided").pvalue) if np.ptp(members) > 0 else 1.0
    return auc(first, second), p


def membership_measurement(scores: Scores, counts: dict[str, int], rng: np.random.Generator) -> Measurement:
    """The worst of several attacks fixed beforehand, at 1 % false positives or at the coarser row.

    Args:
        scores: By attack, (n1,) of members and (n0,) of non-members, higher = more a member.
        counts: Public size of each role.
        rng: Of the bootstrap and of the control.

    Returns:
        The interval holds for all attacks together: its lower end pays for the choice among them, its upper end need
        not, since every attack has to stay below the threshold for a pass.
    """
    attacks: Sequence[str] = tuple(scores)
    members, others = (len(side) for side in scores[attacks[0]])
    fallback = not resolvable(others, MAIN_RATE)
    rate = FALLBACK_RATE if fallback else MAIN_RATE
    rows = {name: _row(*scores[name], rng) for name in attacks}
    hits = {name: hits_at(*scores[name], rate) for name in attacks}
    worst = max(attacks, key=lambda name: hits[name])
    controls = {name: control_between_members(scores[name][0], rng) for name in attacks}
    measurable = min(1.0, len(attacks) * min(measurable_p(*scores[name], rate) for name in attacks))
    note = (
        f"at {rate:.0%} false positives the best of {len(attacks)} attacks hits {hits[worst] / members:.1%} of members"
    )
    low = lower_bound(hits[worst], members, 1.0 - 0.05 / len(attacks))
    if measurable <= MEASURABLE:
        note += f": measurable, more than of non-members (Fisher p = {measurable:.2g})"
    dead = [
        name for name in attacks if not np.all(np.isfinite(scores[name][0])) or not np.ptp(np.concatenate(scores[name]))
    ]
    broken = [name for name in attacks if controls[name][1] * len(attacks) < CONTROL_ERROR]
    unable = ""
    if dead:
        unable = f"the attack {dead[0]} gives everybody the same score, or none: it measures no membership"
    elif broken:
        unable = (
            f"the attack {broken[0]} tells halves of the members apart, who are all members: it measures no membership"
        )
    return Measurement(
        Statistic(
            name_at(rate), hits[worst] / members, low, upper_bound(hits[worst], members, 0.95), 0.9, Direction.LOWER
        ),
        Baseline(holdout=_half_against_half(scores[worst][0], rate, rng), random=rate),
        Power(smallest_detectable(members, rate, len(attacks)), f"hit rate at {rate:.0%} false positives"),
        counts,
        excess=Excess(hits[worst], members, len(attacks)),
        fallback=fallback,
        unable=unable,
        note=note,
        details={
            "attacks": rows,
            "worst_attack": worst,
            "control_auc_between_members": {name: value for name, (value, _) in controls.items()},
            "measurable_p": measurable,
            "non_members_needed": {f"{r:.1%}": needed(r) for r in RATES},
        },
    )


def _half_against_half(members: Array, rate: float, rng: np.random.Generator) -> float:
    order = rng.permutation(len(members))
    half = len(members) // 2
    return hits_at(members[order[:half]], members[order[half:]], rate) / half


def _row(members: Array, others: Array, rng: np.random.Generator) -> dict[str, Any]:
    draws = auc_resampled(
        members,
        others,
        patient_resamples(len(members), RESAMPLES, rng),
        patient_resamples(len(others), RESAMPLES, rng),
    )
    row: dict[str, Any] = {"auc": auc(members, others), "auc_95": list(percentiles(draws))}
    for rate in RATES:
        if not resolvable(len(others), rate):
            row[f"tpr_at_{rate:.1%}_fpr"] = f"not resolvable with {len(others)} non-members"
            continue
        threshold = threshold_at(others, rate)
        hits, false = int(np.sum(members > threshold)), int(np.sum(others > threshold))
        row[f"tpr_at_{rate:.1%}_fpr"] = {
            "tpr": hits / len(members),
            "tpr_95": list(clopper_pearson(hits, len(members))),
            "fpr": false / len(others),
            "fpr_95": list(clopper_pearson(false, len(others))),
        }
    return row


def smallest_detectable(members: int, rate: float, attacks: int) -> float | None:
    """Smallest hit rate that would be proven above chance (alpha .05 over all attacks) with power 80 %."""
    critical = int(stats.binom.isf(0.05 / attacks, members, rate)) + 1
    return float(stats.beta.ppf(0.8, critical, members - critical + 1)) if critical <= members else None


_KNOWN: WeakKeyDictionary[AuditCase, dict[str, tuple[Array, Array]]] = WeakKeyDictionary()


def model_scores(case: AuditCase) -> dict[str, tuple[Array, Array]]:
    """The model's scores of training patients and of holdout patients, by name; worked out once for a case.

    Empty where there is no model, no holdout, or the model gives no score to real images.
    """
    if case.scorer is None or case.holdout is None:
        return {}
    if case not in _KNOWN:
        ours, theirs = case.scorer(case.train), case.scorer(case.holdout)
        _KNOWN[case] = {n: (by_patient(ours[n], case.train), by_patient(theirs[n], case.holdout)) for n in ours}
    return _KNOWN[case]


def by_patient(values: Array, images: ImageSet) -> Array:
    """(P,) the largest score over each patient's images; a score that is not finite counts as the lowest."""
    _, column = np.unique(images.patient, return_inverse=True)
    best = np.full(int(column.max()) + 1, -np.inf)
    np.maximum.at(best, column, np.where(np.isfinite(values), values, -np.inf))
    finite = best[np.isfinite(best)]
    return np.where(np.isfinite(best), best, finite.min() if len(finite) else 0.0)

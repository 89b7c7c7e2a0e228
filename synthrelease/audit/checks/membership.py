"""Membership: can a recipient tell that a patient was in the training set?"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from synthrelease.audit.attacks import ATTACKS, attack_scores, needed, resolvable, threshold_at
from synthrelease.audit.case import AuditCase
from synthrelease.audit.intervals import (
    auc,
    auc_resampled,
    clopper_pearson,
    lower_bound,
    patient_resamples,
    percentiles,
    upper_bound,
)
from synthrelease.audit.measurement import Excess, Measurement, holdout_missing, unable
from synthrelease.records.findings import Baseline, Criterion, Direction, Power, Statistic

Array = npt.NDArray[np.float64]

RATES = (0.1, 0.01, 0.001)
MAIN_RATE, FALLBACK_RATE = 0.01, 0.1
RESAMPLES = 500


class Membership:
    """Hit rate on training patients at a false-positive rate set on patients never seen; the worst of three attacks."""

    id = "membership"
    question = "Can a recipient tell from the archive whether a given patient was trained on?"
    criterion = Criterion.MEMBERSHIP
    needs_sound_split = True

    def measure(self, case: AuditCase, rng: np.random.Generator) -> Measurement:
        """Attack every patient; the row at 1 % decides, or the fallback row at 10 % where 1 % cannot be resolved."""
        missing = holdout_missing(case)
        if missing:
            return unable(_name(MAIN_RATE), Direction.LOWER, missing, n=case.counts)
        scores = attack_scores(case)
        members, others = (len(side) for side in scores["distance"])
        fallback = not resolvable(others, MAIN_RATE)
        rate = FALLBACK_RATE if fallback else MAIN_RATE
        rows = {name: _row(*scores[name], rng) for name in ATTACKS}
        hits = {name: _hits(*scores[name], rate) for name in ATTACKS}
        worst = max(ATTACKS, key=lambda name: hits[name])
        confidence = 1.0 - 0.05 / len(ATTACKS)
        control = _control(scores[worst][0], rate, rng)
        note = f"at {rate:.0%} false positives the best of {len(ATTACKS)} attacks hits {hits[worst] / members:.1%} of members"
        return Measurement(
            Statistic(
                _name(rate),
                hits[worst] / members,
                lower_bound(hits[worst], members, confidence),
                upper_bound(hits[worst], members, confidence),
                0.95,
                Direction.LOWER,
            ),
            Baseline(holdout=control, random=rate),
            Power(_smallest_detectable(members, rate), f"hit rate at {rate:.0%} false positives"),
            case.counts,
            excess=Excess(hits[worst], members, len(ATTACKS)),
            fallback=fallback,
            note=note,
            details={
                "attacks": rows,
                "worst_attack": worst,
                "non_members_needed": {f"{r:.1%}": needed(r) for r in RATES},
            },
        )


def _name(rate: float) -> str:
    return f"members found at {rate:.0%} false positives"


def _hits(members: Array, others: Array, rate: float) -> int:
    return int(np.sum(members > threshold_at(others, rate)))


def _control(members: Array, rate: float, rng: np.random.Generator) -> float:
    """Hit rate of the attack between two random halves of the training patients, who are all members."""
    order = rng.permutation(len(members))
    half = len(members) // 2
    return _hits(members[order[:half]], members[order[half:]], rate) / half


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


def _smallest_detectable(members: int, rate: float) -> float | None:
    """Smallest hit rate that would be proven above chance (alpha .05 over three attacks) with power 80 %."""
    critical = int(stats.binom.isf(0.05 / len(ATTACKS), members, rate)) + 1
    return float(stats.beta.ppf(0.8, critical, members - critical + 1)) if critical <= members else None

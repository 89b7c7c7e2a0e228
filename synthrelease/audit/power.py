"""What an audit of this size could have shown at all, and what to add so that it can show more.

Follows from the numbers of patients and images, the significance and the thresholds alone; nothing private is looked
at. Every figure is an exact binomial one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil, log
from typing import Any

from scipy import stats

from synthrelease.audit.intervals import at_least, clopper_pearson, upper_bound
from synthrelease.audit.measurement import MINIMUM_HOLDOUT
from synthrelease.audit.profile import Profile
from synthrelease.records.findings import Finding

RATES = (0.1, 0.01, 0.001)
"""False-positive rates at which membership is told."""

POWER = 0.8
"""Probability with which "detectable" means detected."""

SENSITIVITY = 0.95
"""Lower bound of a copy check's recall that 59 planted copies found of 59 prove."""

_MOST = 10_000_000


def power_block(
    counts: Mapping[str, int], findings: Sequence[Finding], profile: Profile, claimed_epsilon: float | None
) -> dict[str, Any]:
    """The power of an audit as plain values, for audit.json.

    Args:
        counts: Images and patients by role, see :attr:`AuditCase.counts`.
        findings: What was found; tells which copy bound was reached.
        profile: Thresholds.
        claimed_epsilon: The claim that an attack would have to refute; None: there is none.

    Returns:
        alpha, power; ``copy_rate``: smallest share of copies that 0 flags exclude, by check, with the threshold;
        ``membership``: a row a false-positive rate, ``resolvable``, hit rate detectable, non-members needed;
        ``largest_epsilon``: what a perfect attack could prove, against the claim; ``add``: sentences on what to add.
    """
    alpha = profile.significance.value
    members, others = counts["train_patients"], counts["holdout_patients"]
    images = counts["synthetic_images"]
    rows = [membership_row(members, others, rate, _tolerated(profile, rate), alpha) for rate in RATES]
    largest = largest_epsilon(min(members, others), alpha)
    copies = _copy_rows(findings, images, alpha)
    return {
        "alpha": alpha,
        "power": POWER,
        "copy_rate": copies,
        "membership": rows,
        "largest_epsilon": {
            "provable": largest,
            "claimed": claimed_epsilon,
            "can_refute_claim": None if claimed_epsilon is None else largest > claimed_epsilon,
        },
        "add": _add(members, others, images, rows, copies, claimed_epsilon, largest, alpha),
    }


def largest_epsilon(patients: int, alpha: float = 0.05) -> float:
    """Epsilon that an attack without a single error would prove, with that many patients on each side.

    Clopper-Pearson at ``alpha / 2`` for either rate (facts of Nasr et al. 2021, Jagielski et al. 2020).

    >>> [round(largest_epsilon(n), 2) for n in (100, 300, 1000)]
    [3.28, 4.39, 5.6]
    """
    if patients < 1:
        return 0.0
    wrong = upper_bound(0, patients, 1.0 - alpha / 2.0)
    return max(0.0, log((1.0 - wrong) / wrong)) if wrong < 1.0 else 0.0


def patients_to_refute(epsilon: float, alpha: float = 0.05) -> int | None:
    """Patients on each side from which a perfect attack could prove more than ``epsilon``; None: beyond ten million.

    >>> patients_to_refute(4.39), patients_to_refute(20.0)
    (300, None)
    """
    low, high = 1, _MOST
    if largest_epsilon(high, alpha) <= epsilon:
        return None
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if largest_epsilon(middle, alpha) > epsilon else (middle + 1, high)
    return low


def membership_row(members: int, others: int, rate: float, tolerated: float | None, alpha: float) -> dict[str, Any]:
    """What can be said of membership at one false-positive rate.

    ``others_needed`` is the number of non-members from which that rate can be proven at all (0 of them accused);
    ``detectable`` the smallest hit rate that would fail the threshold, or show more than chance where the profile has
    none, with a probability of :data:`POWER`.
    """
    needed = ceil(log(alpha) / log(1.0 - rate))
    null = rate if tolerated is None else tolerated
    found = _detectable(members, null, alpha) if members else None
    resolvable = others >= needed
    return {
        "false_positive_rate": rate,
        "resolvable": resolvable,
        "others_needed": needed,
        "against": null,
        "detectable": found if resolvable else None,
    }


def _detectable(trials: int, null: float, alpha: float) -> float | None:
    """Smallest true rate at which ``more than null`` is proven with probability POWER."""
    hits = int(stats.binom.isf(alpha, trials, null)) + 1
    while hits <= trials and at_least(hits, trials, null) > alpha:
        hits += 1
    return float(stats.beta.ppf(POWER, hits, trials - hits + 1)) if hits <= trials else None


def images_needed(rate: float, sensitivity: float = SENSITIVITY, alpha: float = 0.05) -> int:
    """Synthetic images without a flag that bound the copy rate by ``rate``.

    >>> images_needed(0.01), images_needed(0.005)
    (314, 630)
    """
    return ceil(log(alpha) / log(1.0 - rate * sensitivity))


def _copy_rows(findings: Sequence[Finding], images: int, alpha: float) -> list[dict[str, Any]]:
    """A row for every check whose power is a share of synthetic images."""
    best = clopper_pearson(0, images, 1.0 - 2.0 * alpha).high / SENSITIVITY if images else None
    rows = []
    for finding in findings:
        power = finding.power
        if finding.threshold is None or "share of synthetic images" not in f"{power.unit} {finding.statistic.name}":
            continue
        rows.append(
            {
                "check": finding.id,
                "detectable": power.smallest_detectable,
                "possible": best,
                "threshold": finding.threshold.value,
                "images_needed": images_needed(finding.threshold.value, alpha=alpha)
                if finding.threshold.value
                else None,
            }
        )
    return rows


def _tolerated(profile: Profile, rate: float) -> float | None:
    settings = profile.checks.get("membership")
    if settings is None:
        return None
    if rate == RATES[1]:
        return settings.threshold.value
    return settings.fallback.value if rate == RATES[0] and settings.fallback else None


def _add(
    members: int,
    others: int,
    images: int,
    rows: Sequence[Mapping[str, Any]],
    copies: Sequence[Mapping[str, Any]],
    claimed: float | None,
    largest: float,
    alpha: float,
) -> list[str]:
    """What would turn an open question into a decision, a sentence each."""
    told = []
    if others < MINIMUM_HOLDOUT:
        told.append(
            f"{MINIMUM_HOLDOUT - others} more held-out patients: with fewer than {MINIMUM_HOLDOUT} nothing is compared"
        )
    if members < MINIMUM_HOLDOUT:
        told.append(f"{MINIMUM_HOLDOUT - members} more training patients: with fewer nothing is compared")
    for row in rows:
        if not row["resolvable"]:
            told.append(
                f"{row['others_needed'] - others} more held-out patients: membership at "
                f"{_percent(row['false_positive_rate'])} false positives"
            )
    wanted = max((row["images_needed"] or 0 for row in copies), default=0)
    if images < wanted:
        told.append(f"{wanted - images} more synthetic images: a copy rate as low as the threshold can be excluded")
    if claimed is not None and largest <= claimed:
        needed = patients_to_refute(claimed, alpha)
        side = "more than ten million" if needed is None else f"{needed:,}".replace(",", " ")
        told.append(
            f"{side} patients on each side: only then could any attack refute the claimed epsilon of {claimed:.3g}; "
            "until then no finding here confirms it"
        )
    return told


def _percent(rate: float) -> str:
    return f"{100 * rate:g} %"

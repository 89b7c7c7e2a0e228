"""What a check hands to the gate, and what a check is."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from synthrelease.audit.case import AuditCase
from synthrelease.audit.intervals import at_least
from synthrelease.records.findings import Baseline, Criterion, Direction, Power, Statistic

MINIMUM_HOLDOUT = 60
"""Holdout patients below which no leak statistic is attempted."""


@dataclass(frozen=True)
class Excess:
    """Hits of the worst of several attacks fixed beforehand; the threshold of the profile is the null.

    Attributes:
        hits, trials: Of the worst attack.
        attacks: How many were tried; paid for by Bonferroni.
    """

    hits: int
    trials: int
    attacks: int = 1

    def p(self, limit: float) -> float:
        """p-value of "the hit rate is at most ``limit``"."""
        return min(1.0, self.attacks * at_least(self.hits, self.trials, limit))


@dataclass(frozen=True)
class Explanation:
    """What a privacy officer is told of a check, in plain words; the question it asks stands with the check.

    Attributes:
        how: How it is answered.
        good: What a good answer looks like.
        weakness: What it is known not to see.
        source: Where the method comes from.
    """

    how: str
    good: str
    weakness: str
    source: str


@dataclass(frozen=True)
class Measurement:
    """A number with its interval, its baselines and its power; not yet a verdict.

    Attributes:
        statistic: The number that the threshold of the profile is held against.
        p_value: Of the null hypothesis "no leak"; None where the number is an exact count or ``excess`` is given.
        excess: Evidence that the statistic is above the threshold of the profile, where that is the null.
        unable: Why nothing could be decided (public text); empty when it could.
        not_applicable: The question does not arise here (no DICOM headers, no masks), for the reason in ``unable``.
        doubt: Why the check cannot pass although nothing failed (public text): a flag that nobody has looked at yet.
        controls_missed: Planted leaks that the check did not find well enough to be believed when it finds nothing.
        fallback: The statistic belongs to the profile's fallback threshold, not to the main one.
        note: One sentence of public text on what was seen.
        private: Plain values that name real patients; they go to the internal annex and never into audit.json.
    """

    statistic: Statistic
    baseline: Baseline = field(default_factory=Baseline)
    power: Power = field(default_factory=Power)
    n: dict[str, int] = field(default_factory=dict)
    p_value: float | None = None
    excess: Excess | None = None
    unable: str = ""
    not_applicable: bool = False
    doubt: str = ""
    controls_missed: tuple[str, ...] = ()
    fallback: bool = False
    note: str = ""
    details: dict[str, Any] = field(default_factory=dict)
    private: Mapping[str, Any] = field(default_factory=dict)


class Check(Protocol):
    """One question of the audit."""

    id: str
    question: str
    criterion: Criterion
    explanation: Explanation
    needs_sound_split: bool
    """Its null hypothesis takes train and holdout patients for exchangeable."""

    def measure(self, case: AuditCase, rng: np.random.Generator) -> Measurement:
        """Answer in numbers. Raises only on a bug; what cannot be answered is said in ``unable``."""
        ...


def unable(
    name: str, direction: Direction, reason: str, *, not_applicable: bool = False, n: dict[str, int] | None = None
) -> Measurement:
    """A measurement that says why there is none."""
    statistic = Statistic(name, None, None, None, 0.95, direction)
    return Measurement(statistic, unable=reason, not_applicable=not_applicable, n=n or {})


def stream(check: Check, seed: int) -> np.random.Generator:
    """A check's own stream of randomness, so that leaving one out does not change the others."""
    return np.random.default_rng(np.random.SeedSequence([seed, zlib.crc32(check.id.encode())]))


def broken(check: Check, case: AuditCase, error: Exception) -> Measurement:
    """The measurement of a check that broke: it decides nothing, and tells only the kind of error.

    The error's text may hold a private value.
    """
    reason = f"the check could not run ({type(error).__name__})"
    return unable(check.id, Direction.LOWER, reason, n=case.counts)


def holdout_missing(case: AuditCase, minimum: int = MINIMUM_HOLDOUT) -> str:
    """Why the holdout cannot serve as the control, or an empty string."""
    if case.holdout is None:
        return (
            f"no holdout: without at least {minimum} patients that the generator never saw, likeness to training "
            "patients cannot be told from likeness to everybody"
        )
    have = case.holdout.patient_count
    if have < minimum:
        return f"the holdout has {have} patients; at least {minimum} are needed"
    if case.train.patient_count < minimum:
        return f"the training side has {case.train.patient_count} patients; at least {minimum} are needed"
    return ""

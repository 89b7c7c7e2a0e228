"""The one place where a number becomes a verdict: by the bad end of its interval, and after Holm.

- FAIL: a tested check whose p-value stays at or below the significance after Holm over the required checks; a counted
  one whose good end is already beyond the threshold.
- PASS: the bad end of the interval is within the threshold and the check recovered its planted leaks.
- INCONCLUSIVE: everything else. Too little evidence is neither good nor bad.

The claim "all required checks pass" needs no correction (each must pass); the claim "some check fails" gets Holm's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from synthrelease.audit.intervals import holm
from synthrelease.audit.measurement import Check, Measurement
from synthrelease.audit.profile import CheckSettings, Limit, Profile
from synthrelease.records.findings import Criterion, Direction, Finding, Verdict

SPLIT = "split_sound"


@dataclass(frozen=True)
class Judgement:
    """The verdict on one check."""

    verdict: Verdict
    reason: str
    required: bool
    limit: Limit | None
    p_value: float | None = None
    p_adjusted: float | None = None


def judge(measured: Mapping[Check, Measurement], profile: Profile) -> dict[str, Judgement]:
    """Verdicts of all checks that ran, by identifier.

    Args:
        measured: What each check found.
        profile: Thresholds, and which checks count.
    """
    voided = _voided(measured)
    p_values: dict[str, float] = {}
    for check, measurement in measured.items():
        limit = _limit(measurement, profile.checks[check.id])
        if measurement.unable or limit is None or (check.needs_sound_split and voided):
            continue
        if measurement.excess is not None:
            p_values[check.id] = measurement.excess.p(limit.value)
        elif measurement.p_value is not None:
            p_values[check.id] = measurement.p_value
    family = [check.id for check in measured if check.id in p_values and profile.checks[check.id].required]
    adjusted = dict(p_values) | dict(zip(family, holm([p_values[i] for i in family]), strict=True))
    return {
        check.id: _judge_one(
            check,
            measurement,
            profile.checks[check.id],
            voided if check.needs_sound_split else "",
            p_values.get(check.id),
            adjusted.get(check.id),
            profile.significance.value,
        )
        for check, measurement in measured.items()
    }


def _voided(measured: Mapping[Check, Measurement]) -> str:
    """Why comparisons with the holdout mean nothing, or an empty string."""
    for check, measurement in measured.items():
        if check.id == SPLIT:
            return measurement.unable
    return "the split was not examined"


def _limit(measurement: Measurement, settings: CheckSettings) -> Limit | None:
    return settings.fallback if measurement.fallback else settings.threshold


def _judge_one(
    check: Check,
    measurement: Measurement,
    settings: CheckSettings,
    voided: str,
    p_value: float | None,
    p_adjusted: float | None,
    alpha: float,
) -> Judgement:
    limit = _limit(measurement, settings)
    required = settings.required and not measurement.not_applicable

    def say(verdict: Verdict, reason: str) -> Judgement:
        return Judgement(verdict, reason, required, limit, p_value, p_adjusted)

    statistic = measurement.statistic
    if measurement.unable:
        return say(Verdict.INCONCLUSIVE, measurement.unable)
    if voided:
        return say(
            Verdict.INCONCLUSIVE, f"the holdout is no fair control: {voided}. Seen all the same: {measurement.note}"
        )
    if limit is None:
        reason = "the holdout is too small for 1 % false positives (299 patients) and the profile allows no coarser row"
        return say(Verdict.INCONCLUSIVE, f"{reason}. {measurement.note}")
    if statistic.value is None or statistic.low is None or statistic.high is None:
        return say(Verdict.INCONCLUSIVE, "no number came out")
    good, bad = statistic.low, statistic.high
    beyond, within = good > limit.value, bad <= limit.value
    if statistic.direction is Direction.HIGHER:
        good, bad = statistic.high, statistic.low
        beyond, within = good < limit.value, bad >= limit.value
    if (p_adjusted <= alpha) if p_adjusted is not None else beyond:
        return say(Verdict.FAIL, measurement.note)
    if measurement.doubt:
        return say(Verdict.INCONCLUSIVE, f"{measurement.doubt}. {measurement.note}")
    if measurement.controls_missed:
        missed = ", ".join(measurement.controls_missed)
        return say(Verdict.INCONCLUSIVE, f"planted leaks were not found well enough ({missed}). {measurement.note}")
    if within:
        return say(Verdict.PASS, measurement.note)
    reason = f"the interval ends at {bad:.3g}, the threshold is {limit.value:.3g}"
    return say(Verdict.INCONCLUSIVE, f"{measurement.note}; {reason}")


def overall(
    findings: Iterable[Finding], profile: Profile, *, fidelity: bool, known: Iterable[Check]
) -> tuple[Verdict, str]:
    """The verdict over required checks: those of fidelity, or all the others. Neither rescues the other.

    Returns:
        The verdict and one sentence.
    """
    present = {finding.id: finding for finding in findings}
    family = [
        check.id
        for check in known
        if profile.checks[check.id].required and (check.criterion is Criterion.FIDELITY) == fidelity
    ]
    skipped = [i for i in family if i not in present]
    counted = [present[i] for i in family if i in present and present[i].required]
    failed = [f.id for f in counted if f.verdict is Verdict.FAIL]
    open_ = [f.id for f in counted if f.verdict is Verdict.INCONCLUSIVE]
    if failed:
        return Verdict.FAIL, f"failed: {', '.join(failed)}"
    if skipped:
        return Verdict.INCONCLUSIVE, f"required checks were not run: {', '.join(skipped)}"
    if open_:
        return Verdict.INCONCLUSIVE, f"undecided: {', '.join(open_)}"
    if not counted:
        return Verdict.INCONCLUSIVE, "no required check applies"
    kind = "fidelity" if fidelity else "privacy and conformance"
    return Verdict.PASS, f"all {len(counted)} required {kind} checks passed"

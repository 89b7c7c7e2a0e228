"""Runs the checks in order and writes down what they found. The same seed gives the same record, but for seconds.

A check that was measured before an interruption is read back and not measured again, see :mod:`.journal`.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Collection, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from synthrelease.audit.annex import InternalAnnex, annex_of
from synthrelease.audit.case import AuditCase
from synthrelease.audit.checks import CHECKS
from synthrelease.audit.duplicates import set_aside_duplicates
from synthrelease.audit.gate import SPLIT, judge, overall
from synthrelease.audit.journal import Journal, Measured, key_of, measurement_of, plain
from synthrelease.audit.measurement import Check, Measurement, broken, stream
from synthrelease.audit.power import power_block
from synthrelease.audit.profile import Profile
from synthrelease.errors import UsageError
from synthrelease.records.findings import AuditRecord, Finding
from synthrelease.records.progress import Progress, Silent


def check_ids() -> tuple[str, ...]:
    """Identifiers of all checks, in the order in which they run."""
    return tuple(check.id for check in CHECKS)


def run_audit(
    case: AuditCase,
    profile: Profile,
    seed: int,
    *,
    progress: Progress | None = None,
    digests: Mapping[str, str] | None = None,
    only: Collection[str] | None = None,
    keep: Path | None = None,
    inputs: Any = None,
    prior: Mapping[str, Any] | None = None,
) -> tuple[AuditRecord, InternalAnnex]:
    """Audit a synthetic archive.

    Args:
        case: The private and synthetic images.
        profile: Thresholds and which checks count.
        seed: Of permutations, resamples and classifiers.
        progress: Told of each check.
        digests: Of what is judged, by name; written into the record.
        only: Run these checks alone (and the split's, on which others stand); a required check left out makes the
            verdict inconclusive.
        keep: Private folder for measurements, so that a killed audit goes on where it was; removed at the end. None:
            nothing is kept.
        inputs: JSON-like values that identify the files behind the case; measurements kept for others are stale.
        prior: What is known of earlier audits; written into the record.

    Returns:
        The record for audit.json, and the annex that stays inside.

    Raises:
        UsageError: ``only`` names a check that does not exist.
    """
    progress = progress or Silent()
    unknown = sorted(set(only or ()) - set(check_ids()))
    if unknown:
        raise UsageError(f"no check named {', '.join(unknown)}", fix=f"Checks: {', '.join(check_ids())}.")
    chosen = [check for check in CHECKS if not only or check.id in only or check.id == SPLIT]
    case = set_aside_duplicates(case)
    journal = None
    if keep is not None:
        settings = profile.model_dump(mode="json", by_alias=True)
        journal = Journal(keep, key_of(case, seed, settings, _versions(), [dict(digests or {}), inputs]))
    measured, seconds = _measured(chosen, case, seed, journal, progress)
    judgements = judge(measured, profile)
    findings = tuple(
        Finding(
            id=check.id,
            question=check.question,
            criterion=check.criterion,
            verdict=judgements[check.id].verdict,
            required=judgements[check.id].required,
            statistic=m.statistic,
            baseline=m.baseline,
            threshold=limit.threshold() if (limit := judgements[check.id].limit) else None,
            power=m.power,
            n=m.n,
            seed=seed,
            seconds=seconds[check.id],
            reason=judgements[check.id].reason,
            p_value=judgements[check.id].p_value,
            p_adjusted=judgements[check.id].p_adjusted,
            details=m.details,
        )
        for check, m in measured.items()
    )
    verdict, reason = overall(findings, profile, fidelity=False, known=CHECKS)
    fidelity, _ = overall(findings, profile, fidelity=True, known=CHECKS)
    record = AuditRecord(
        verdict,
        reason,
        fidelity,
        findings,
        profile.name,
        seed,
        dict(digests or {}),
        case.counts,
        _versions(),
        power_block(case.counts, findings, profile, case.claimed_epsilon),
        dict(prior or {}),
    )
    annex = annex_of(case, {check.id: found for check, found in measured.items()})
    if journal is not None:
        journal.remove()
    return record, annex


def _measured(
    checks: Collection[Check], case: AuditCase, seed: int, journal: Journal | None, progress: Progress
) -> tuple[dict[Check, Measurement], dict[str, float]]:
    """Every check's measurement, from the journal or anew, and its seconds."""
    kept = {check.id: found for check in checks if journal and (found := journal.read(check.id))}
    if kept:
        progress.note(f"{len(kept)} of {len(checks)} checks were measured before the interruption: not repeated")
    progress.stage("audit", len(checks))
    measured: dict[Check, Measurement] = {}
    seconds: dict[str, float] = {}
    for number, check in enumerate(checks, start=1):
        found = kept.get(check.id)
        if found is None:
            progress.step(number - 1, f"at {check.id}")
            started = time.monotonic()
            measurement, broke = _measure(check, case, seed)
            found = Measured(measurement, time.monotonic() - started)
            # What broke for want of memory or room is asked again when the audit goes on.
            if journal is not None and not broke:
                journal.write(check.id, found)
        measured[check], seconds[check.id] = found.measurement, found.seconds
        progress.step(number, f"{check.id} {found.seconds:.1f} s")
    return measured, seconds


def _measure(check: Check, case: AuditCase, seed: int) -> tuple[Measurement, bool]:
    """What a check found, and whether it broke."""
    try:
        # Through JSON and back, so that a measurement is the same whether it was kept or not.
        return measurement_of(plain(check.measure(case, stream(check, seed)))), False
    except Exception as error:
        return broken(check, case, error), True


def _versions() -> dict[str, str]:
    names = ("synthrelease", "numpy", "scipy", "torch", "pydicom")
    return {"python": platform.python_version()} | {name: metadata.version(name) for name in names}

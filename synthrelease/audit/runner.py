"""Runs the checks in order and writes down what they found. The same seed gives the same record, but for seconds.

A check that was measured before an interruption is read back and not measured again, see :mod:`.journal`.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from synthrelease.audit.case import AuditCase
from synthrelease.audit.checks import CHECKS
from synthrelease.audit.checks.near_copies import image_p
from synthrelease.audit.duplicates import set_aside_duplicates
from synthrelease.audit.gate import SPLIT, judge, overall
from synthrelease.audit.journal import Journal, Measured, key_of, measurement_of, plain
from synthrelease.audit.measurement import Check, Measurement, broken, holdout_missing, stream
from synthrelease.audit.power import power_block
from synthrelease.audit.profile import Profile
from synthrelease.errors import UsageError
from synthrelease.records.findings import AuditRecord, Finding
from synthrelease.records.progress import Progress, Silent

LOOK_ALIKES = 24
ANNEX_SCHEMA = "synthrelease.annex/1"


@dataclass(frozen=True)
class LookAlike:
    """One synthetic image beside the real images most like it.

    Attributes:
        synthetic_row: Row in the synthetic store. train_row, holdout_row: Rows in the private store.
        train_similarity, holdout_similarity: Best correlation over shifts and orientations, in [0, 1].
        p_value: Of "strangers are that much more alike", for this image alone.
        copy: Whether it is flagged after correction for the number of images.
    """

    synthetic_row: int
    train_row: int
    holdout_row: int
    train_similarity: float
    holdout_similarity: float
    p_value: float
    copy: bool


@dataclass(frozen=True)
class InternalAnnex:
    """What names real patients: never part of audit.json, never leaves the house."""

    look_alikes: tuple[LookAlike, ...] = ()
    schema: str = ANNEX_SCHEMA
    checks: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Further private values of single checks, by check."""

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)


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
    private = {check.id: m.private for check, m in measured.items() if m.private}
    annex = replace(_annex(case), checks=private)
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


def _annex(case: AuditCase) -> InternalAnnex:
    """The synthetic images that look most like a training patient, beside that patient and the nearest holdout one."""
    if holdout_missing(case) or len(case.synthetic) < 30 or case.holdout is None:
        return InternalAnnex()
    comparison, trained = case.search("whole").comparison, case.patients.train_count
    p = image_p(case)
    pairs = []
    for i in np.argsort(p, kind="stable")[:LOOK_ALIKES]:
        _, tables = next(comparison.similarity(case.synthetic.take(np.array([i]))))
        alike = tables.max(axis=(0, 1))
        columns = int(alike[:trained].argmax()), trained + int(alike[trained:].argmax())
        near, far = (comparison.sighting(case.synthetic, int(i), column) for column in columns)
        pairs.append(
            LookAlike(
                int(case.synthetic.rows[i]),
                int(case.train.rows[near.image]),
                int(case.holdout.rows[far.image - len(case.train)]),
                near.similarity,
                far.similarity,
                float(p[i]),
                bool(p[i] * len(p) <= 0.05),
            )
        )
    return InternalAnnex(tuple(pairs))


def _versions() -> dict[str, str]:
    names = ("synthrelease", "numpy", "scipy", "torch", "pydicom")
    return {"python": platform.python_version()} | {name: metadata.version(name) for name in names}

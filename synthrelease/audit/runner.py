"""Runs the checks in order and writes down what they found. The same seed gives the same record, but for seconds."""

from __future__ import annotations

import platform
import time
import zlib
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from importlib import metadata
from typing import Any

import numpy as np

from synthrelease.audit.case import AuditCase
from synthrelease.audit.checks import CHECKS
from synthrelease.audit.copies import CopyTest, margins
from synthrelease.audit.gate import SPLIT, judge, overall
from synthrelease.audit.measurement import Check, Measurement, holdout_missing, unable
from synthrelease.audit.profile import Profile
from synthrelease.errors import UsageError
from synthrelease.records.findings import AuditRecord, Direction, Finding
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
    progress.stage("audit", len(chosen))
    measured: dict[Check, Measurement] = {}
    seconds: dict[str, float] = {}
    for number, check in enumerate(chosen, start=1):
        started = time.monotonic()
        measured[check] = _measure(check, case, seed)
        seconds[check.id] = time.monotonic() - started
        progress.step(number, f"{check.id} {seconds[check.id]:.1f} s")
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
        verdict, reason, fidelity, findings, profile.name, seed, dict(digests or {}), case.counts, _versions()
    )
    return record, _annex(case)


def _measure(check: Check, case: AuditCase, seed: int) -> Measurement:
    """One check with its own stream of randomness, so that leaving one out does not change the others."""
    rng = np.random.default_rng(np.random.SeedSequence([seed, zlib.crc32(check.id.encode())]))
    try:
        return check.measure(case, rng)
    except Exception as error:
        # Only the kind of error is told: its text may hold a private value. A check that broke decides nothing.
        return unable(check.id, Direction.LOWER, f"the check could not run ({type(error).__name__})", n=case.counts)


def _annex(case: AuditCase) -> InternalAnnex:
    """The synthetic images that look most like a training patient, beside that patient and the nearest holdout one."""
    if holdout_missing(case) or len(case.synthetic) < 30 or case.holdout is None:
        return InternalAnnex()
    search, patients = case.search("whole"), case.patients
    synthetic = search.synthetic["whole"]
    p = CopyTest.towards_train(synthetic, search.holdout["whole"]).p(margins(synthetic))
    pairs = []
    for i in np.argsort(p, kind="stable")[:LOOK_ALIKES]:
        who = synthetic.who[i]
        trained = [int(w) for w in who if w < patients.train_count]
        held = [int(w) for w in who if w >= patients.train_count]
        if not trained or not held:
            continue
        near, far = (search.comparison.sighting(case.synthetic, int(i), side[0]) for side in (trained, held))
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

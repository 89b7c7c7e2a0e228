"""From the synthetic archive to a verdict."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from math import inf, isinf
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from synthrelease.archive.texts import expected_texts
from synthrelease.audit.case import AuditCase, case_from_folders, case_from_stores
from synthrelease.audit.expectation import Expectation
from synthrelease.audit.profile import Profile, load_profile
from synthrelease.audit.runner import check_ids, run_audit
from synthrelease.cohort.ingest import ingest
from synthrelease.cohort.store import CohortStore
from synthrelease.cohort.survey import settings_for
from synthrelease.dicom.release.settings import ArchiveSettings
from synthrelease.dicom.release.templates import release_templates
from synthrelease.errors import IntegrityError, UsageError
from synthrelease.policy.loader import load_policy, policy_digest
from synthrelease.policy.schema import CohortSettings, Policy, Window
from synthrelease.policy.shipped import shipped_file
from synthrelease.privacy.accounting import composed_epsilon
from synthrelease.records.digests import digest_of_file
from synthrelease.records.files import atomic_write_json, canonical_json
from synthrelease.records.ledger import Ledger
from synthrelease.records.manifest import MANIFEST, lines_of, problems
from synthrelease.records.runs import Run
from synthrelease.workflow.beginning import policy_of
from synthrelease.workflow.desk import Desk, threads
from synthrelease.workflow.sampling import archive_labels, archive_record, settings_of
from synthrelease.workflow.training import source_folder

AUDIT_RESOLUTION = 64


def audit_run(desk: Desk, run: Run) -> dict[str, Any]:
    """Judge the run's archive as a recipient would read it; writes audit.json, its private annex and both reports."""
    policy = policy_of(run)
    archive = run.read(run.archive_record, "sample")
    run.require(run.archive, "sample")
    # First of all: what the archive must be follows from policy and generator, not from anything that is read later.
    settings, labels = settings_of(run, policy), archive_labels(policy)
    expectation = Expectation(release_templates(settings), expected_texts(settings, labels), labels)
    desk.progress.stage("checking the archive's digests")
    _check_archive(run, policy, archive, settings, labels, desk.threads or os.cpu_count() or 1)
    profile_file = shipped_file("audits", policy.audit.profile)
    if digest_of_file(profile_file) != run.read(run.plan, "train")["audit_profile_digest"]:
        raise IntegrityError(
            f"the audit profile '{policy.audit.profile}' was changed after the run was planned",
            fix="Thresholds are frozen before training: restore the profile, or start a new run.",
        )
    desk.progress.stage("reading the archive back")
    synthetic = ingest(
        archive_reading(policy.cohort), run.archive, run.synthetic_store, split=None, progress=desk.progress.step
    )
    cohort = CohortStore.open(run.require(run.cohort, "train"))
    case = case_from_stores(
        cohort,
        synthetic,
        real_folder=source_folder(desk, run, policy),
        synthetic_folder=run.archive,
        expectation=expectation,
    )
    digests = {
        "policy": policy_digest(policy),
        "training": digest_of_file(run.training),
        "archive": digest_of_file(run.archive_record),
        "audit_profile": digest_of_file(profile_file),
    }
    spent = ledger_facts(desk.ledger(policy), policy)
    return _judge(desk, run, case, load_profile(str(profile_file), check_ids()), policy.audit.seed, digests, spent)


def _check_archive(
    run: Run,
    policy: Policy,
    archive: Mapping[str, Any],
    settings: ArchiveSettings,
    labels: npt.NDArray[np.uint8],
    readers: int,
) -> None:
    """Refuse an archive that is not, file by file, the one of its record, or a record that says what nobody derives."""
    if archive.get("software_version") != settings.software_version:
        raise IntegrityError(
            f"the archive was not sampled by this version, {settings.software_version}",
            fix="Audit it with the version that sampled it, or sample it again: `synthrelease sample`.",
        )
    manifest = run.archive / MANIFEST
    if not manifest.is_file() or any(problems(run.archive, threads=readers)):
        raise IntegrityError(
            "the archive is not the one that was sampled: a file was changed, added or removed",
            fix="Sample it again: `synthrelease sample`.",
        )
    files = size_bytes = 0
    for path, _ in lines_of(manifest):
        files += 1
        size_bytes += (run.archive / path).stat().st_size
    record = archive_record(run, policy, settings, labels, digest_of_file(manifest), files, size_bytes)
    if canonical_json(record) != canonical_json(dict(archive)):
        raise IntegrityError(
            "archive.json or the archive was changed: the record is not what policy, generator and archive give",
            fix="Sample it again: `synthrelease sample`.",
        )


def ledger_facts(ledger: Ledger, policy: Policy) -> dict[str, Any] | None:
    """What all runs on the cohort cost together, for the report; None where no ledger is at hand."""
    charges = ledger.charges()
    delta = policy.privacy.delta
    if not charges:
        return None
    # A run without privacy names no delta, and makes the figure infinite at any.
    composed = inf if delta is None else composed_epsilon(ledger, delta)
    cap = ledger.cap
    caps = [c for c in (policy.privacy.lifetime_epsilon, cap.epsilon if cap else None) if c is not None]
    return {
        "composed_epsilon": None if isinf(composed) else composed,
        "delta": delta,
        "runs": len(charges),
        "lifetime_epsilon": min(caps, default=None),
    }


def archive_reading(cohort: CohortSettings) -> CohortSettings:
    """How an archive that synthrelease wrote is read back: full stored range, own labels.csv, DICOM."""
    return cohort.model_copy(
        update={"reader": "dicom", "window": Window(mode="full"), "label": type(cohort.label)(), "masks": "optional"}
    )


def audit_folders(
    desk: Desk, real: Path, holdout: Path | None, synthetic: Path, policy_name: str | None, profile_name: str | None
) -> Run:
    """Judge a synthetic folder against real ones, whoever made it; writes a folder of its own below the runs.

    Without a holdout the checks that need one are inconclusive: distances alone never clear a release.
    """
    folders = {"real": real, "holdout": holdout, "synthetic": synthetic}
    for role, folder in folders.items():
        if folder is not None and not folder.exists():
            raise UsageError(f"the {role} folder is not there", fix=f"Check --{role}.")
    given = {role: folder for role, folder in folders.items() if folder is not None}
    if policy_name is not None:
        settings = load_policy(shipped_file("policies", policy_name)).cohort
    else:
        desk.progress.stage("looking at the folders")
        settings = settings_for(list(given.values()), AUDIT_RESOLUTION)
    profile = shipped_file("audits", profile_name or "standard")
    judged = load_profile(str(profile), check_ids())
    run = Run(desk.home / f"audit-{datetime.now(UTC):%Y%m%d-%H%M%S-%f}")
    sets = {}
    for role, folder in given.items():
        desk.progress.stage(f"reading the {role} folder")
        target = run.synthetic_store if role == "synthetic" else run.folder / f"{role}.private"
        store = ingest(settings, folder, target, split=None, progress=desk.progress.step)
        for reason, count in store.manifest.refused.items():
            desk.progress.note(f"{role}: left out {count}: {reason}")
        sets[role] = store
    case = case_from_folders(
        sets["real"], sets.get("holdout"), sets["synthetic"], real_folder=real, synthetic_folder=synthetic
    )
    digests = {f"{role}_store": store.manifest.digest for role, store in sets.items()}
    _judge(desk, run, case, judged, 0, {**digests, "audit_profile": digest_of_file(profile)})
    return run


def _judge(
    desk: Desk,
    run: Run,
    case: AuditCase,
    profile: Profile,
    seed: int,
    digests: dict[str, str],
    spent: dict[str, Any] | None = None,
) -> dict[str, Any]:
    with threads(desk.threads):
        record, annex = run_audit(case, profile, seed, progress=desk.progress, digests=digests)
    atomic_write_json(run.audit, record.to_json())
    atomic_write_json(run.annex, annex.to_json())
    from synthrelease.report.writing import write_reports

    desk.progress.stage("writing the reports")
    write_reports(run, case, annex, ledger=spent)
    return record.to_json()

"""From the synthetic archive to a verdict."""

from __future__ import annotations

import os
from collections.abc import Mapping
from math import inf, isinf
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from synthrelease.archive.notes import noted_in
from synthrelease.archive.texts import expected_texts
from synthrelease.audit.case import case_from_stores
from synthrelease.audit.comparability import remarks_on
from synthrelease.audit.expectation import Expectation
from synthrelease.audit.profile import load_profile
from synthrelease.audit.runner import check_ids
from synthrelease.cohort.ingest import ingest
from synthrelease.cohort.store import CohortStore
from synthrelease.dicom.opening import list_files
from synthrelease.dicom.release.settings import ArchiveSettings
from synthrelease.dicom.release.templates import release_templates
from synthrelease.errors import IntegrityError
from synthrelease.policy.loader import policy_digest
from synthrelease.policy.schema import CohortSettings, Policy, Window
from synthrelease.policy.shipped import shipped_file
from synthrelease.privacy.accounting import composed_epsilon
from synthrelease.records.digests import digest_of, digest_of_file
from synthrelease.records.files import canonical_json
from synthrelease.records.ledger import Ledger
from synthrelease.records.manifest import MANIFEST, lines_of, problems
from synthrelease.records.runs import Run
from synthrelease.workflow.beginning import policy_of
from synthrelease.workflow.desk import Desk
from synthrelease.workflow.judging import Matter, judge_matter
from synthrelease.workflow.prior import Asked, add_void
from synthrelease.workflow.sampling import archive_labels, archive_record, settings_of
from synthrelease.workflow.scoring import with_model
from synthrelease.workflow.training import source_folder


def audit_run(desk: Desk, run: Run) -> dict[str, Any]:
    """Judge the run's archive as a recipient would read it; writes audit.json, its private annex and both reports."""
    return judge_matter(desk, matter_of_run(desk, run))


def matter_of_run(desk: Desk, run: Run) -> Matter:
    """What is needed to judge the archive of a run.

    Raises:
        IntegrityError: The archive or its record was changed, or the thresholds after planning. A changed archive is
            noted in audits.jsonl: its claim is void.
    """
    policy = policy_of(run)
    archive = run.read(run.archive_record, "sample")
    run.require(run.archive, "sample")
    # First of all: what the archive must be follows from policy and generator, not from anything that is read later.
    settings, labels = settings_of(run, policy), archive_labels(policy, run)
    expectation = Expectation(
        release_templates(settings), expected_texts(settings, labels, noted_in(run.archive, settings)), labels
    )
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
    case = with_model(case, run)
    digests = {
        "policy": policy_digest(policy),
        "training": digest_of_file(run.training),
        "archive": digest_of_file(run.archive_record),
        "audit_profile": digest_of_file(profile_file),
    }
    spent = ledger_facts(desk.ledger(policy), policy)
    profile = load_profile(str(profile_file), check_ids())
    private_inputs = {"real_folder": _fingerprint(case.real_folder), "cohort": cohort.manifest.digest}
    return Matter(
        run,
        case,
        profile,
        policy.audit.seed,
        digests,
        run.audits,
        Asked.of(digests["training"], digests["archive"], [policy.audit.seed, digests["audit_profile"]]),
        private_inputs,
        remarks_on(case),
        [str(run.folder.resolve())],
        spent,
        lambda: _require_same_archive(desk, run),
    )


def _require_same_archive(desk: Desk, run: Run) -> None:
    """The archive is the one that was measured."""
    desk.progress.stage("checking the archive's digests again")
    if any(problems(run.archive, threads=desk.threads or os.cpu_count() or 1)):
        add_void(run.audits, digest_of_file(run.training))
        raise IntegrityError(
            "the archive was changed while it was audited: no verdict is written",
            fix="Let nobody write there. An archive from which images were taken out is another archive, and its "
            "claim is void: sample it again.",
        )


def _fingerprint(folder: Path | None) -> str:
    """Names, sizes and times of the files of a folder, as one digest; contents are not read."""
    if folder is None or not folder.is_dir():
        return ""
    stamps = []
    for path in list_files(folder):
        stamp = path.stat()
        stamps.append(f"{os.fsencode(path.relative_to(folder)).hex()} {stamp.st_size} {stamp.st_mtime_ns}")
    return digest_of(stamps)


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
        add_void(run.audits, digest_of_file(run.training))
        raise IntegrityError(
            "the archive is not the one that was sampled: a file was changed, added or removed, so the claim is void",
            fix="Taking flagged images out and shipping the rest makes the archive depend on every patient compared "
            "with. Sample it again: `synthrelease sample`.",
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
    """How an archive that synthrelease wrote is read back: full stored range, DICOM, own labels.csv, which holds classes."""
    return cohort.model_copy(
        update={
            "reader": "dicom",
            "window": Window(mode="full"),
            "label": type(cohort.label)(),
            "findings": None,
            "masks": "optional",
        }
    )

"""The stages in order, a few lines each: what each reads, what it writes, and whose digest it names.

policy -> cohort store -> training.json + checkpoint -> archive + archive.json -> audit.json -> reports
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from math import isinf
from pathlib import Path
from typing import Any

from synthrelease.archive.sampler import draw_samples, label_draw
from synthrelease.archive.writer import ArchiveSettings, write_archive
from synthrelease.audit.case import AuditCase, case_from_folders, case_from_stores
from synthrelease.audit.profile import Profile, load_profile
from synthrelease.audit.runner import check_ids, run_audit
from synthrelease.cohort.ingest import ingest
from synthrelease.cohort.phantom import write_phantom_cohort
from synthrelease.cohort.split import SplitDraw
from synthrelease.cohort.store import CohortStore
from synthrelease.cohort.survey import settings_for
from synthrelease.errors import IntegrityError, Interrupted, SynthreleaseError, UsageError
from synthrelease.generators.registry import load_generator
from synthrelease.policy.loader import load_policy, policy_digest, policy_from, resolved
from synthrelease.policy.schema import CohortSettings, Policy, Window
from synthrelease.policy.shipped import shipped_file
from synthrelease.privacy.accounting import composed_epsilon
from synthrelease.records.digests import digest_of, digest_of_file, manifest_of
from synthrelease.records.files import atomic_write_json, read_json
from synthrelease.records.ledger import Ledger
from synthrelease.records.progress import Progress
from synthrelease.records.runs import Run, new_run
from synthrelease.training.train import begun, train

PHANTOM_SIZE = 128
AUDIT_RESOLUTION = 64


@dataclass(frozen=True)
class Desk:
    """Where the work happens.

    Attributes:
        home: Folder of runs.
        ledgers: Folder of ledgers, one a cohort.
        progress: Told how far each stage is.
        threads: Threads for training; None: all cores.
    """

    home: Path
    ledgers: Path
    progress: Progress
    threads: int | None = None

    def with_ledgers(self, folder: Path) -> Desk:
        """The same desk over another folder of ledgers."""
        return replace(self, ledgers=folder)

    def ledger(self, policy: Policy) -> Ledger:
        """The ledger of the policy's cohort."""
        return Ledger(self.ledgers / f"{policy.cohort.name}.jsonl")


def begin(desk: Desk, policy_name: str, cohort: str | None, *, resume: bool, stem: str | None = None) -> Run:
    """A new run of a policy, or the unfinished one to go on with.

    The run keeps the policy without the cohort's folder: that path is private and is kept apart.

    Raises:
        UsageError: ``resume``, and no unfinished run of this policy is there.
    """
    path = shipped_file("policies", policy_name)
    policy = load_policy(path, cohort)
    source = policy.cohort.source
    if source != "phantom" and not Path(source).exists():
        raise UsageError("the cohort folder is not there", fix="Name it with --cohort or in cohort.source.")
    place = source if source == "phantom" else str(Path(source).resolve())
    kept = resolved(policy)
    kept["cohort"]["source"] = "phantom" if source == "phantom" else "folder"
    digest = policy_digest(policy_from(kept))
    if resume:
        return _unfinished(desk.home, digest, place)
    profile = shipped_file("audits", policy.audit.profile)
    load_profile(str(profile), check_ids())
    run = new_run(desk.home, stem or path.stem, kept, datetime.now(UTC))
    run.folder.chmod(0o700)  # what a run holds of real patients is for its owner alone
    atomic_write_json(run.source, {"source": place})
    frozen = {"policy": digest, "audit_profile": policy.audit.profile, "audit_profile_digest": digest_of_file(profile)}
    atomic_write_json(run.plan, frozen)
    return run


def _unfinished(home: Path, digest: str, place: str) -> Run:
    """The newest run of that policy on that cohort which has no audit yet."""
    runs = [Run(path.parent) for path in home.glob("*/policy.resolved.json")]
    mine = [run for run in runs if run.plan.exists() and read_json(run.plan)["policy"] == digest]
    here = [run for run in mine if run.source.exists() and read_json(run.source)["source"] == place]
    unfinished = [run for run in here if not run.audit.exists()]
    if not unfinished:
        told = "on this cohort " if mine and not here else ""
        raise UsageError(
            f"there is no unfinished run of this policy {told}to resume", fix="Leave --resume out to start one."
        )
    return max(unfinished, key=lambda run: run.policy.stat().st_mtime_ns)


def policy_of(run: Run) -> Policy:
    """The policy that was frozen when the run began.

    Raises:
        IntegrityError: It was changed since.
    """
    policy = policy_from(run.read(run.policy, "train"))
    if policy_digest(policy) != run.read(run.plan, "train")["policy"]:
        raise IntegrityError("the run's policy was changed after it was frozen", fix="Start a new run.")
    return policy


def source_folder(desk: Desk, run: Run, policy: Policy) -> Path:
    """The private archive's folder; a phantom cohort is simulated once and kept beside the runs."""
    source = run.read(run.source, "train")["source"]
    if source != "phantom":
        return Path(source)
    phantom = policy.cohort.phantom
    folder = desk.home / "phantoms" / f"{phantom.patients}-{phantom.seed}-{PHANTOM_SIZE}"
    if not folder.exists():
        desk.progress.stage("simulating patients", phantom.patients)
        write_phantom_cohort(
            folder,
            patients=phantom.patients,
            seed=phantom.seed,
            size=PHANTOM_SIZE,
            processes=os.cpu_count() or 1,
            progress=lambda done, _total: desk.progress.step(done),
        )
    return folder


def open_cohort(desk: Desk, run: Run, policy: Policy) -> CohortStore:
    """The run's private pixel store; reads the private archive the first time and draws the split."""
    if run.cohort.exists():
        return CohortStore.open(run.cohort)
    folder = source_folder(desk, run, policy)
    desk.progress.stage("reading the private archive")
    draw = SplitDraw(policy.cohort.holdout_fraction)
    store = ingest(policy.cohort, folder, run.cohort, split=draw, progress=desk.progress.step)
    told = store.manifest
    desk.progress.note(
        f"{told.images} images of {told.patients} patients; {told.train_patients} train, {told.holdout_patients} holdout"
        + (
            f", {told.aside_patients} on neither side (they share an image with a training patient)"
            if told.aside_patients
            else ""
        )
    )
    for reason, count in told.refused.items():
        desk.progress.note(f"left out {count}: {reason}")
    return store


def train_run(desk: Desk, run: Run, *, resume: bool) -> dict[str, Any]:
    """Train, charging the ledger before the first look at the data; writes training.json and the checkpoint."""
    policy = policy_of(run)
    try:
        store = open_cohort(desk, run, policy)
        # A run that was interrupted before it was charged has nothing to resume: it begins now.
        resume = resume and begun(run.folder)
        with threads(desk.threads):
            return train(policy, store, run.folder, ledger=desk.ledger(policy), resume=resume, progress=desk.progress)
    except Interrupted:
        raise
    except SynthreleaseError:
        if not begun(run.folder):
            shutil.rmtree(run.folder, ignore_errors=True)  # refused before anything was charged: no run is left
        raise


@contextmanager
def threads(count: int | None) -> Iterator[None]:
    """Compute with that many threads."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count or os.cpu_count() or 1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def sample_run(desk: Desk, run: Run) -> dict[str, Any]:
    """Sample the archive from the checkpoint alone; writes archive/ and archive.json."""
    policy = policy_of(run)
    run.require(run.training, "train")
    own = [charge for charge in desk.ledger(policy).history() if charge.run == run.name]
    if own and all(charge.voided for charge in own):
        raise IntegrityError(
            "the run's charge was voided, so nothing may come out of it", fix="Start a new run; it is charged anew."
        )
    generator = load_generator(run.checkpoint)
    cohort, wanted = policy.cohort, policy.archive
    labels = label_draw(cohort.classes, wanted.class_shares, wanted.images, wanted.seed)
    spacing = cohort.field_of_view_mm / cohort.resolution
    training = digest_of_file(run.training)
    settings = ArchiveSettings(
        release_name=policy.release.name,
        segments=cohort.segments,
        classes=cohort.classes,
        spacing_mm=(spacing, spacing),
        software_version=version("synthrelease"),
        study_date=wanted.release_date,
        body_part=cohort.body_part,
        edition=run.read(run.training, "train")["digests"]["generator"],
    )
    desk.progress.stage("sampling", wanted.images)
    with threads(desk.threads):
        samples = draw_samples(generator, labels, wanted.seed)
        written = write_archive(run.archive, samples, settings, progress=desk.progress.step)
    record = {
        "schema": "synthrelease.archive/1",
        "parents": {"training": training, "policy": policy_digest(policy)},
        "release_name": policy.release.name,
        "images": written.images,
        "segmentations": written.segmentations,
        "class_counts": dict(written.labels),
        "segments": list(cohort.segments),
        "resolution": cohort.resolution,
        "spacing_mm": [spacing, spacing],
        "size_bytes": written.size_bytes,
        "seed": wanted.seed,
        "filtered": 0,
        "files": dict(written.files),
        "archive_digest": digest_of(dict(written.files)),
    }
    atomic_write_json(run.archive_record, record)
    return record


def audit_run(desk: Desk, run: Run) -> dict[str, Any]:
    """Judge the run's archive as a recipient would read it; writes audit.json, its private annex and both reports."""
    policy = policy_of(run)
    archive = run.read(run.archive_record, "sample")
    run.require(run.archive, "sample")
    desk.progress.stage("checking the archive's digests")
    if manifest_of(run.archive) != archive["files"]:
        raise IntegrityError(
            "the archive is not the one that was sampled: a file was changed, added or removed",
            fix="Sample it again: `synthrelease sample`.",
        )
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
        cohort, synthetic, real_folder=source_folder(desk, run, policy), synthetic_folder=run.archive
    )
    digests = {
        "policy": policy_digest(policy),
        "training": digest_of_file(run.training),
        "archive": archive["archive_digest"],
        "audit_profile": digest_of_file(profile_file),
    }
    spent = ledger_facts(desk.ledger(policy), policy)
    return _judge(desk, run, case, load_profile(str(profile_file), check_ids()), policy.audit.seed, digests, spent)


def ledger_facts(ledger: Ledger, policy: Policy) -> dict[str, Any] | None:
    """What all runs on the cohort cost together, for the report; None where no ledger is at hand."""
    charges = ledger.charges()
    delta = policy.privacy.delta
    if not charges or delta is None:
        return None
    composed = composed_epsilon(ledger, delta)
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

"""The ``train`` stage: reserve, train, settle, record."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from synthrelease.cohort.store import CohortStore, Split
from synthrelease.errors import IntegrityError
from synthrelease.generators.protocol import Calibrated, Generator
from synthrelease.generators.registry import build, save_generator
from synthrelease.generators.um.model import UmGenerator
from synthrelease.policy.generators import Stepped
from synthrelease.policy.loader import policy_digest
from synthrelease.policy.schema import Policy
from synthrelease.privacy.account import Account
from synthrelease.privacy.budget import reserve, settle
from synthrelease.privacy.high_water import mark_of
from synthrelease.privacy.noise import NoiseSource, OsNoise
from synthrelease.privacy.overlap import Patients
from synthrelease.privacy.plan import PrivacyPlan
from synthrelease.privacy.strict import assert_strict, strict_problems
from synthrelease.records.digests import digest_of, digest_of_file
from synthrelease.records.files import atomic_write_json, read_json, sweep_partials
from synthrelease.records.ledger import Charge, Ledger
from synthrelease.records.progress import Progress
from synthrelease.training.backends import backends_of
from synthrelease.training.checkpoint import Checkpoint, RunIdentity
from synthrelease.training.events import EventLog
from synthrelease.training.exclusive import alone_with
from synthrelease.training.guides import guide_told, taken_guide
from synthrelease.training.interrupt import listening
from synthrelease.training.maps import guidance_told, public_images, require_maps
from synthrelease.training.patients import Images, TrainingPatients
from synthrelease.training.planning import few_masks_of, plan_of, spec_of
from synthrelease.training.record import training_record
from synthrelease.training.run import TrainingRun

RECORD = "training.json"
WEIGHTS = "generator.safetensors"
CLAIM = "claim.json"


def train(
    policy: Policy,
    store: CohortStore,
    run_folder: Path,
    *,
    ledger: Ledger,
    resume: bool,
    progress: Progress,
    stop_after: int | None = None,
) -> dict[str, Any]:
    """Train the policy's generator on the training patients of a store.

    The plan is charged to the ledger in full before anything is computed of the patients but whether they can be trained on,
    and settled by what was run. The first
    Control-C finishes the step in flight; a killed process loses at most the steps since the last save, which stay
    counted and are not run again, so epsilon is that of an uninterrupted run.

    Args:
        policy: A checked policy.
        store: The cohort.
        run_folder: ``runs/NAME``; gets ``training.json``, ``events.jsonl`` and ``checkpoint/``.
        ledger: Of the cohort.
        resume: Go on with the run in ``run_folder``; its reservation is continued, not charged again.
        progress: Shown to the caller.
        stop_after: Stop, as Control-C does, after so many steps of this process.

    Returns:
        The content of ``training.json``.

    Raises:
        BudgetExceeded: The ledger does not cover the run.
        IntegrityError: A run is there already, or another policy, cohort or plan is resumed, or the run's reservation
            was voided or settled by a copy of the run.
        Interrupted: Stopped on request.
        PolicyError: The plan is impossible, or the network mixes patients.
        UsageError: Another process trains this run.
        UnsuitableData: No usable patient, too few to set some apart, too few maps for the archive, public images that are
            of the cohort, or the disk is full.
    """
    with alone_with(run_folder):
        for folder in (run_folder, run_folder / "checkpoint"):
            sweep_partials(folder)
        return train_with(
            policy,
            store,
            store.patients(Split.TRAIN),
            store.manifest.digest,
            run_folder,
            ledger=ledger,
            resume=resume,
            progress=progress,
            stop_after=stop_after,
            noise=OsNoise(),
            patient_ids=store.patient_ids,
        )


def begun(run_folder: Path) -> bool:
    """Whether a run was charged and can be resumed."""
    return Checkpoint(run_folder / "checkpoint").started


def train_with(
    policy: Policy,
    images: Images,
    training_patients: npt.NDArray[np.int64],
    cohort_digest: str,
    run_folder: Path,
    *,
    ledger: Ledger,
    resume: bool,
    progress: Progress,
    stop_after: int | None,
    noise: NoiseSource,
    patient_ids: Sequence[str] = (),
) -> dict[str, Any]:
    """:func:`train` with its randomness put in: tests record and replay noise; nothing else may.

    ``patient_ids`` is everybody in the cohort, holdout included, by ``issuer|id``: the audit reads them all.
    """
    checkpoint = Checkpoint(run_folder / "checkpoint")
    guide, given = taken_guide(policy), public_images(policy)  # refused before anything is charged
    told = guidance_told(policy, given)
    if told is not None and "warning" in told:
        progress.note(told["warning"])
    plan = plan_of(policy)
    identity = RunIdentity(
        run=run_folder.name,
        policy_digest=policy_digest(policy),
        cohort_digest=cohort_digest,
        plan_digest=plan.digest if plan else "",
        reservation="",
    )
    if resume:
        identity = checkpoint.identity(identity)
        charge = ledger.charge_of(identity.reservation)
        if charge.settled:
            return _settled_record(charge, run_folder, checkpoint)
    spec = spec_of(policy)
    generator = build(policy.generator, spec)
    for elsewhere in (guide, given):
        if elsewhere is not None:
            elsewhere.give(generator)
    # What is refused is refused before anything is charged: nothing is released by asking who can be drawn.
    backends = backends_of(generator, spec, plan, progress) if plan else {}
    patients = TrainingPatients(images, training_patients, spec.segments, few_masks=few_masks_of(policy))
    if given is not None:
        given.require_strangers(images)
    patients, apart = _parted(policy, generator, patients)
    if not resume:
        known = Patients(patient_ids, policy.cohort.phantom.seed if policy.cohort.source == "phantom" else None)
        identity = _begin(policy, plan, identity, checkpoint, ledger, progress, known)
    mark = mark_of(ledger.path, identity.reservation)
    account = Account(checkpoint.account_path, plan, identity.reservation, mark=mark, resume=True) if plan else None
    with listening() as stop:
        run = TrainingRun(
            policy=policy,
            spec=spec,
            generator=generator,
            patients=patients,
            apart=apart,
            account=account,
            noise=noise,
            checkpoint=checkpoint,
            events=EventLog(run_folder / "events.jsonl"),
            progress=progress,
            stop=stop,
            stop_after=stop_after,
            backends=backends,
        )
        generator, position = run.train()
    save_generator(checkpoint.folder, generator, policy.generator)
    made = digest_of_file(checkpoint.folder / WEIGHTS)
    record = training_record(
        policy,
        identity,
        account,
        position,
        generator_digest=made,
        sums_digest=checkpoint.sums_digest(),
        guide=guide_told(policy, guide),
        guidance=told,
    )
    # What settles the charge is kept first: a process that dies in between still finds the record that it is bound to.
    atomic_write_json(checkpoint.folder / RECORD, record)
    charge = ledger.charge_of(identity.reservation)
    if charge.settled:
        raise _copied(identity.run)
    if plan is not None:
        assert_strict(strict_problems(record, charge, plan=plan.to_json()))
    settle(
        ledger,
        identity.reservation,
        account.mechanisms() if account else (),
        training_digest=digest_of(record),
    )
    atomic_write_json(run_folder / RECORD, record)
    return record


def _parted(
    policy: Policy, generator: Generator, patients: TrainingPatients
) -> tuple[TrainingPatients, TrainingPatients | None]:
    """Who is learned from, and who is set apart to calibrate: without a claim alone, since moments' samples do it under one."""
    settings = policy.generator
    if policy.privacy.mode == "private" or not (isinstance(generator, Calibrated) and isinstance(settings, Stepped)):
        return patients, None
    left, apart = patients.parted(generator.calibration_share, settings.seed)
    if isinstance(generator, UmGenerator):
        require_maps(policy, torch.from_numpy(apart.labels(apart.all_rows)))
    return left, apart


def _begin(
    policy: Policy,
    plan: PrivacyPlan | None,
    identity: RunIdentity,
    checkpoint: Checkpoint,
    ledger: Ledger,
    progress: Progress,
    patients: Patients,
) -> RunIdentity:
    """Charge the run, then note what it is."""
    if checkpoint.started:
        raise IntegrityError(f"the run {identity.run} was begun already", fix="Go on with --resume.")
    claim = checkpoint.folder / CLAIM
    if not claim.exists():
        atomic_write_json(claim, {"claim": secrets.token_hex(16)})
    charge = reserve(
        ledger,
        plan,
        run=identity.run,
        policy_digest=identity.policy_digest,
        cohort_digest=identity.cohort_digest,
        who=policy.roles.operator,
        lifetime_epsilon=policy.privacy.lifetime_epsilon,
        enforce=policy.cohort.source != "phantom",
        patients=patients,
        claim=str(read_json(claim)["claim"]),
    )
    _tell(charge, progress)
    begun = replace(identity, reservation=charge.reservation)
    # A process that died before run.json never counted anything, since counting comes after; what did is not begun anew.
    if checkpoint.counted:
        raise IntegrityError(
            f"the checkpoint of {identity.run} holds released values but no run.json",
            fix="Restore run.json, or start a new run; the ledger keeps this one charged in full.",
        )
    checkpoint.account_path.unlink(missing_ok=True)
    if plan is not None:
        mark = mark_of(ledger.path, begun.reservation)
        Account(checkpoint.account_path, plan, begun.reservation, mark=mark, resume=False)
    checkpoint.begin(begun)
    return begun


def _tell(charge: Charge, progress: Progress) -> None:
    """What the operator should know of the reservation; names of cohorts, never how many patients or who."""
    if charge.body.get("over_cap"):
        progress.note(str(charge.body["over_cap"]))
    if charge.body.get("overlapping"):
        names = ", ".join(charge.body["overlapping"])
        progress.note(f"this cohort shares patients with {names}: what they have spent counts for it as well")
    if charge.body.get("overlap_unknown"):
        names = ", ".join(charge.body["overlap_unknown"])
        progress.note(f"runs on {names} did not note their patients: whether cohorts overlap cannot be told")


def _settled_record(charge: Charge, run_folder: Path, checkpoint: Checkpoint) -> dict[str, Any]:
    """The record of a run that was settled: in its place, or kept by a process that died before it got there."""
    if (run_folder / RECORD).exists():
        return dict(read_json(run_folder / RECORD))
    kept = checkpoint.folder / RECORD
    record = dict(read_json(kept)) if kept.exists() else {}
    if digest_of(record) != charge.body.get("training_digest"):
        raise _copied(charge.run)
    atomic_write_json(run_folder / RECORD, record)
    return record


def _copied(run: str) -> IntegrityError:
    return IntegrityError(
        f"the reservation of {run} was settled by another copy of this run",
        fix="One reservation pays for one run: destroy this copy and start a new run.",
    )

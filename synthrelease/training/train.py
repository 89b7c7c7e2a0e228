"""The ``train`` stage: reserve, train, settle, record."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from synthrelease.cohort.store import CohortStore, Split
from synthrelease.errors import IntegrityError
from synthrelease.generators.registry import save_generator
from synthrelease.policy.loader import policy_digest
from synthrelease.policy.schema import Policy
from synthrelease.privacy.account import Account
from synthrelease.privacy.budget import reserve, settle
from synthrelease.privacy.noise import NoiseSource, OsNoise
from synthrelease.privacy.plan import PrivacyPlan
from synthrelease.records.digests import digest_of, digest_of_file
from synthrelease.records.files import atomic_write_json, read_json
from synthrelease.records.ledger import Ledger
from synthrelease.records.progress import Progress
from synthrelease.training.checkpoint import Checkpoint, RunIdentity
from synthrelease.training.events import EventLog
from synthrelease.training.exclusive import alone_with
from synthrelease.training.interrupt import listening
from synthrelease.training.patients import Images, TrainingPatients
from synthrelease.training.planning import plan_of, spec_of
from synthrelease.training.record import training_record
from synthrelease.training.run import TrainingRun

RECORD = "training.json"
WEIGHTS = "generator.safetensors"


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

    The plan is charged to the ledger in full before any training pixel is used, and settled by what was run. The first
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
        IntegrityError: A run is there already, or another policy, cohort or plan is resumed.
        Interrupted: Stopped on request.
        PolicyError: The plan is impossible, or the network mixes patients.
        UsageError: Another process trains this run.
        UnsuitableData: No usable patient, or the disk is full.
    """
    with alone_with(run_folder):
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
) -> dict[str, Any]:
    """:func:`train` with its randomness put in: tests record and replay noise; nothing else may."""
    checkpoint = Checkpoint(run_folder / "checkpoint")
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
        if charge.settled and (run_folder / RECORD).exists():
            return dict(read_json(run_folder / RECORD))
    else:
        identity = _begin(policy, plan, identity, checkpoint, ledger, progress)
    account = Account(checkpoint.account_path, plan, identity.reservation, resume=True) if plan else None
    spec = spec_of(policy)
    with listening() as stop:
        run = TrainingRun(
            policy=policy,
            spec=spec,
            patients=TrainingPatients(images, training_patients, spec.segments),
            account=account,
            noise=noise,
            checkpoint=checkpoint,
            events=EventLog(run_folder / "events.jsonl"),
            progress=progress,
            stop=stop,
            stop_after=stop_after,
        )
        generator, position = run.train()
    save_generator(checkpoint.folder, generator, policy.generator)
    record = training_record(
        policy, identity, account, position, generator_digest=digest_of_file(checkpoint.folder / WEIGHTS)
    )
    if not ledger.charge_of(identity.reservation).settled:
        settle(
            ledger,
            identity.reservation,
            account.mechanisms() if account else (),
            training_digest=digest_of(record),
        )
    atomic_write_json(run_folder / RECORD, record)
    return record


def _begin(
    policy: Policy,
    plan: PrivacyPlan | None,
    identity: RunIdentity,
    checkpoint: Checkpoint,
    ledger: Ledger,
    progress: Progress,
) -> RunIdentity:
    """Charge the run, then note what it is."""
    if checkpoint.started:
        raise IntegrityError(f"the run {identity.run} was begun already", fix="Go on with --resume.")
    charge = reserve(
        ledger,
        plan,
        run=identity.run,
        policy_digest=identity.policy_digest,
        cohort_digest=identity.cohort_digest,
        who=policy.roles.operator,
        lifetime_epsilon=policy.privacy.lifetime_epsilon,
        enforce=policy.cohort.source != "phantom",
    )
    if charge.body.get("over_cap"):
        progress.note(str(charge.body["over_cap"]))
    begun = replace(identity, reservation=charge.reservation)
    # What a process left that died before run.json never counted anything: counting comes after.
    checkpoint.account_path.unlink(missing_ok=True)
    if plan is not None:
        Account(checkpoint.account_path, plan, begun.reservation, resume=False)
    checkpoint.begin(begun)
    return begun

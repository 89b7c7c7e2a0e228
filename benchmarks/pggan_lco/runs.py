"""A run by the product's own stages, kept between calls: training takes most of an hour on one shared core."""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.pediatric import HOME, write_table
from synthrelease.audit.case import AuditCase, case_from_stores
from synthrelease.cohort.ingest import ingest
from synthrelease.cohort.store import CohortStore
from synthrelease.errors import Interrupted, UsageError
from synthrelease.generators.pggan.model import PgganGenerator
from synthrelease.generators.registry import load_generator
from synthrelease.policy.generators import PgganGenerator as Settings
from synthrelease.policy.schema import Policy
from synthrelease.records.files import atomic_write_json, atomic_write_text, read_json
from synthrelease.records.progress import Silent
from synthrelease.records.runs import Run
from synthrelease.training.train import train
from synthrelease.workflow import Desk, begin, sample_run, train_run
from synthrelease.workflow.auditing import archive_reading
from synthrelease.workflow.beginning import policy_of
from synthrelease.workflow.training import open_cohort

PACKAGE = HOME / "synthrelease"
TRAINED_BY = ("network", "critic", "growth", "losses", "guide", "model")
QUICK_PATIENTS = 420
WARMED = "warmed.safetensors"
"""Beside a private run: its trainer's state at the end of the warm-up."""

Note = Callable[[str], None]


@dataclass(frozen=True)
class Trained:
    """A trained run.

    Attributes:
        desk, run, policy: As the workflow knows them.
        settings: Of its generator.
        training: training.json.
        minutes: CPU minutes of training, reading the cohort included; sampling CPU seconds are in ``sampled_seconds``.
        warmed: What a private run's trainer was one step before the end of its warm-up.
    """

    desk: Desk
    run: Run
    policy: Policy
    settings: Settings
    training: dict[str, Any]
    minutes: float
    sampled_seconds: float
    warmed: Path

    @property
    def generator(self) -> PgganGenerator:
        """From its checkpoint."""
        made = load_generator(self.run.checkpoint)
        assert isinstance(made, PgganGenerator)
        return made

    @property
    def cohort(self) -> CohortStore:
        """The private store."""
        return CohortStore.open(self.run.cohort)


def trained(name: str, *, quick: bool, note: Note) -> Trained:
    """The run of a policy in ``benchmarks/policies``, trained and sampled; one that was is taken as it is.

    Args:
        name: Of the policy. quick: Few patients and steps. note: Told what goes on.
    """
    text = (HOME / "benchmarks" / "policies" / f"{name}.yaml").read_text(encoding="utf-8")
    table = write_table(
        HOME / "build" / ("cxr-pediatric-quick" if quick else "cxr-pediatric"), QUICK_PATIENTS if quick else None
    )
    if quick:
        text = shortened(text)
    home = HOME / "build" / "pggan_lco" / f"{name}-{_digest(text)}"
    path = home / f"{name}.yaml"
    home.mkdir(parents=True, exist_ok=True)
    atomic_write_text(path, text)
    # A measurement of one data set that is public: it has a ledger of its own.
    desk = Desk(home, home / "ledgers", Silent(), 1)
    run = _run(desk, path, table)
    spent = home / "seconds.json"
    told: dict[str, float] = read_json(spent) if spent.exists() else {"training": 0.0, "sampling": 0.0}
    if not run.training.exists():
        note(f"{name}: training")
        began = time.process_time()
        try:
            _stop_when_warm(desk, run, home / WARMED)
            train_run(desk, run, resume=(run.checkpoint / "run.json").exists())
        finally:
            told["training"] += time.process_time() - began
            atomic_write_json(spent, told)
    if not run.archive_record.exists():
        note(f"{name}: sampling")
        began = time.process_time()
        sample_run(desk, run)
        told["sampling"] = time.process_time() - began
        atomic_write_json(spent, told)
    policy = policy_of(run)
    settings = policy.generator
    assert isinstance(settings, Settings)
    minutes = told["training"] / 60
    return Trained(desk, run, policy, settings, read_json(run.training), minutes, told["sampling"], home / WARMED)


def case_of(trained: Trained) -> AuditCase:
    """The audit's case over the run's archive, read back as a recipient would.

    Nothing is judged by thresholds here, so a run outlives a change of the audit's profile, which a verdict must not.
    """
    run = trained.run
    reading = archive_reading(trained.policy.cohort)
    synthetic = ingest(reading, run.archive, run.synthetic_store, split=None, progress=trained.desk.progress.step)
    return case_from_stores(trained.cohort, synthetic)


def _stop_when_warm(desk: Desk, run: Run, kept: Path) -> None:
    """Train a private run that has not begun up to the last step of its warm-up, and keep a copy of where it stands."""
    policy = policy_of(run)
    if policy.privacy.mode != "private" or (run.checkpoint / "run.json").exists():
        return
    assert isinstance(policy.generator, Settings)
    store, warm = open_cohort(desk, run, policy), policy.generator.warmup_steps
    with suppress(Interrupted):
        train(
            policy,
            store,
            run.folder,
            ledger=desk.ledger(policy),
            resume=False,
            progress=desk.progress,
            stop_after=warm - 1,
        )
    shutil.copyfile(run.checkpoint / "trainer.safetensors", kept)


def _run(desk: Desk, policy: Path, table: Path) -> Run:
    """The run that is there, or a new one."""
    there = [Run(path.parent) for path in desk.home.glob("*/policy.resolved.json")]
    done = [run for run in there if run.training.exists()]
    if done:
        return done[-1]
    with suppress(UsageError):
        return begin(desk, str(policy), str(table), resume=True)
    return begin(desk, str(policy), str(table), resume=False)


def shortened(text: str) -> str:
    """A policy that trains in seconds; what comes out is noise."""
    kept = []
    for line in text.splitlines():
        key = line.strip().split(":")[0]
        few = {"steps": "steps: 12", "warmup_steps": "warmup_steps: 12", "batch": "batch: 8", "width": "width: 8"}
        few |= {"expected_patients": "expected_patients: 290", "delta": "delta: 1e-4", "resolution": "resolution: 16"}
        if key == "archive":
            kept.append("archive: {images: 24}")
        elif key in few and line.strip() != "steps: 0":
            kept.append(line[: len(line) - len(line.lstrip())] + few[key])
        else:
            kept.append(line)
    return "\n".join(kept) + "\n"


def _digest(policy: str) -> str:
    """Of the policy and the generator's own files: a change makes another run. After a change of the loop, remove the folder."""
    whole = hashlib.sha256(policy.encode())
    for name in TRAINED_BY:
        whole.update((PACKAGE / "generators" / "pggan" / f"{name}.py").read_bytes())
    return whole.hexdigest()[:12]

"""From the private archive to a trained generator."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from synthrelease.cohort.ingest import ingest
from synthrelease.cohort.phantom import write_phantom_cohort
from synthrelease.cohort.split import SplitDraw
from synthrelease.cohort.store import CohortStore
from synthrelease.errors import Interrupted, SynthreleaseError
from synthrelease.policy.rules import shows_several_findings
from synthrelease.policy.schema import Policy
from synthrelease.records.runs import PHANTOM_SIZE, Run, simulated_cohort
from synthrelease.training.guides import taken_guide
from synthrelease.training.maps import public_images
from synthrelease.training.train import begun, train
from synthrelease.workflow.beginning import policy_of
from synthrelease.workflow.desk import Desk, threads


def source_folder(desk: Desk, run: Run, policy: Policy) -> Path:
    """The private archive's folder; a phantom cohort is simulated once and kept beside the runs."""
    source = run.read(run.source, "train")["source"]
    if source != "phantom":
        return Path(source)
    phantom = policy.cohort.phantom
    several = shows_several_findings(policy)
    folder = simulated_cohort(desk.home, phantom.patients, phantom.seed, several=several)
    if not folder.exists():
        desk.progress.stage("simulating patients", phantom.patients)
        write_phantom_cohort(
            folder,
            patients=phantom.patients,
            seed=phantom.seed,
            size=PHANTOM_SIZE,
            processes=os.cpu_count() or 1,
            progress=lambda done, _total: desk.progress.step(done),
            several=several,
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
        # What comes from elsewhere is looked for first: reading a cohort may take an hour.
        taken_guide(policy)
        public_images(policy)
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

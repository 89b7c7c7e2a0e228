"""The whole making of a release, from a private folder to the archive, with its randomness in a tape."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from synthrelease import workflow
from synthrelease.cohort.split import SplitDraw
from synthrelease.cohort.store import CohortStore, Split
from synthrelease.privacy import mechanism
from synthrelease.records.files import canonical_json
from synthrelease.records.ledger import Ledger
from synthrelease.records.progress import Silent
from synthrelease.records.runs import Run, new_run
from synthrelease.release.extracts import record_extract
from synthrelease.release.statement.registry import registry_yaml
from synthrelease.release.statement.stating import state
from synthrelease.release.statement.text import statement_text
from synthrelease.training import backends
from synthrelease.training.train import train_with
from synthrelease.workflow import beginning
from synthrelease.workflow import training as stages
from tests.properties.replay_cohort import CLASSES, HOLDOUT, SEGMENT
from tests.properties.replay_tape import Call, Deck, Tape, Told

MOMENTS = {"name": "moments", "image_frequencies": 4, "mask_frequencies": 3}
DIFFUSION = {**MOMENTS, "name": "diffusion", "width": 8, "warmup_steps": 2, "batch": 4, "sampler_steps": 2}
OTHERS: dict[str, dict[str, Any]] = {
    "um": {**MOMENTS, "name": "um", "width": 8, "warmup_steps": 2, "batch": 4, "superpixels": 16, "labelled_share": 0.6},
    "um, procedural guidance": {
        **MOMENTS, "name": "um", "width": 8, "warmup_steps": 2, "batch": 4, "superpixels": 16, "guidance": "procedural",
    },
    "pggan": {**MOMENTS, "name": "pggan", "width": 8, "warmup_steps": 3, "batch": 4, "minibatch_stddev": False},
    "drai": {**MOMENTS, "name": "drai", "width": 8, "warmup_steps": 2, "batch": 4, "penalty_on": "generated"},
}  # fmt: skip
"""Every other generator that takes private steps."""
STEPS = 3
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def rules(generator: dict[str, Any], **cohort: Any) -> dict[str, Any]:
    """A policy on the small hospital."""
    return {
        "schema": 1,
        "purpose": "replay",
        "sharing": {"tier": "internal"},
        "roles": {"operator": "Operator", "custodian": "Custodian"},
        "cohort": {
            "name": "hospital",
            "classes": list(CLASSES),
            "segments": [SEGMENT],
            "masks": "optional",
            "resolution": 16,
            "holdout_fraction": HOLDOUT,
            **cohort,
        },
        "privacy": {
            "mode": "private",
            "epsilon": 4.0,
            "delta": 1e-3,
            "expected_patients": 24,
            "sampling_probability": 0.5,
            "steps": STEPS,
            "clip_norm": 0.2,
            "images_per_visit": 2,
            "noise_draws": 2,
        },
        "generator": generator,
        "archive": {"images": 3},
    }


def read(rules: dict[str, Any], source: Path, home: Path, seed: str) -> tuple[workflow.Desk, Run, CohortStore]:
    """Begin a run on a folder and read the private archive into its store, as the workflow does."""
    home.mkdir(parents=True)
    (home / "policy.yaml").write_text(yaml.safe_dump(rules))
    desk = workflow.Desk(home / "runs", home / "ledgers", Silent(), threads=1)

    def named(home: Path, stem: str, policy: dict[str, Any], now: datetime) -> Run:
        return new_run(home, stem, policy, NOW)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(beginning, "new_run", named)
        patch.setattr(stages, "SplitDraw", lambda fraction: SplitDraw(fraction, seed))
        run = workflow.begin(desk, str(home / "policy.yaml"), str(source), resume=False)
        return desk, run, workflow.open_cohort(desk, run, workflow.policy_of(run))


def trainable(store: CohortStore, *, few_masks: bool = False) -> dict[str, Any]:
    """What training reads of each training patient with a usable image, in order: ids, pixels, masks, classes.

    ``few_masks``: An image without masks is usable.
    """
    found = {}
    for patient in store.patients(Split.TRAIN):
        rows = store.rows_of(int(patient))
        rows = rows[store.has_mask[rows]] if store.manifest.segments and not few_masks else rows
        if len(rows):
            content = (store.images(rows).tobytes(), store.masks(rows).tobytes(), store.labels[rows].tolist())
            found[store.patient_ids[patient].split("|", 1)[1]] = content
    return found


def released(desk: workflow.Desk, run: Run, store: CohortStore, tape: Tape) -> tuple[Told, Tape]:
    """Train and sample under a tape; what was done, what may leave, and the tape when it was empty."""
    policy = workflow.policy_of(run)
    trained = trainable(store, few_masks=policy.generator.name == "um")
    deck = Deck(list(trained), tape)
    with pytest.MonkeyPatch.context() as patch, workflow.threads(1):
        patch.setattr(mechanism, "add_noise", deck.add_noise)
        if tape.outputs:  # the check is of random numbers, and was made when the tape was recorded
            patch.setattr(backends, "assert_patients_isolated", lambda *_: None)
        train_with(
            policy,
            store,
            store.patients(Split.TRAIN),
            store.manifest.digest,
            run.folder,
            ledger=desk.ledger(policy),
            resume=False,
            progress=Silent(),
            stop_after=None,
            noise=deck,
            patient_ids=store.patient_ids,
        )
    workflow.sample_run(desk, run)
    told = Told(names_used(run.checkpoint), deck.calls, public(run, desk.ledger(policy)), trained)
    return told, tape if tape.outputs else deck.recorded()


def names_used(checkpoint: Path) -> list[str]:
    """Names of the mechanisms that a run used, in order."""
    lines = (checkpoint / "account.jsonl").read_text().splitlines()
    return [json.loads(line)["mechanism"] for line in lines[1:]]


def public(run: Run, ledger: Ledger) -> dict[str, bytes]:
    """Everything that the claim covers: records, weights, every file of the archive, the statement and the extracts."""
    kept = [run.training, run.archive_record, run.plan, run.policy]
    kept += [*run.checkpoint.glob("generator.*"), *(path for path in run.archive.rglob("*") if path.is_file())]
    content = {path.relative_to(run.folder).as_posix(): path.read_bytes() for path in kept}
    extract = record_extract("training.json", json.loads(content["training.json"]), "digest")
    content["extract of training.json"] = canonical_json(extract)
    statement = state(run.folder, ledger, NOW, releasing=True)
    content["statement as text"] = statement_text(statement).encode()
    content["statement as JSON"] = canonical_json(statement.to_json())
    content["statement for the registry"] = registry_yaml(statement).encode()
    return content


def largest(calls: list[Call], others: list[Call]) -> float:
    """The largest move of a sum, over its clip norm."""
    pairs = zip(calls, others, strict=True)
    return max(float(np.linalg.norm(a.total - b.total)) / a.clip_norm for a, b in pairs)

"""A house of runs as training leaves them, made by hand: records and a ledger, no pixel and no network."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from synthrelease.cli.group import run
from synthrelease.policy.loader import policy_digest, policy_from
from synthrelease.privacy.accounting import ACCOUNTANT, Mechanism, epsilon_of
from synthrelease.records.digests import digest_of
from synthrelease.records.files import atomic_write_json
from synthrelease.records.ledger import Event, Ledger

POLICY: dict[str, Any] = {
    "schema": 1,
    "purpose": "Teach a classifier",
    "sharing": {"tier": "registered"},
    "roles": {"operator": "Olga Operator", "custodian": "Carl Custodian"},
    "cohort": {"name": "chest", "source": "folder", "classes": ["normal", "nodule"], "resolution": 16},
    "privacy": {"mode": "private", "epsilon": 8.0, "delta": 1e-5, "expected_patients": 1000, "lifetime_epsilon": 10.0},
    "generator": {"name": "moments", "image_frequencies": 4},
    "release": {"name": "chest-2026"},
}
MECHANISM = Mechanism("moments", 0.61)


@dataclass(frozen=True)
class Said:
    """What a verb answered."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The answer as a value."""
        return json.loads(self.out)


@pytest.fixture
def say() -> Callable[..., Said]:
    """Runs the command line in this process."""

    def said(*words: object) -> Said:
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = run([str(word) for word in words])
        return Said(code, out.getvalue(), err.getvalue())

    return said


def _trained(folder: Path, policy: dict[str, Any], privacy: dict[str, Any]) -> None:
    """Records of a trained run, and its two entries in the ledger."""
    atomic_write_json(folder / "policy.resolved.json", policy)
    training = {
        "run": folder.name,
        "privacy": privacy,
        "steps": {"finished": 0},
        "digests": {"policy": policy_digest(policy_from(policy))},
    }
    atomic_write_json(folder / "training.json", training)
    ledger = Ledger(folder.parent / "ledgers" / f"{policy['cohort']['name']}.jsonl")
    mechanisms = privacy["mechanisms"]
    terms = {"epsilon": privacy["epsilon"], "delta": privacy["delta"], "plan_digest": "9" * 64} if mechanisms else {}
    body = {"mechanisms": mechanisms, "unbounded": not mechanisms, **terms}
    entry = ledger.append(Event.RESERVED, folder.name, body)
    ledger.spend(entry.hash, mechanisms, training_digest=digest_of(training), **terms)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder of runs with one private run, ``first``."""
    epsilon = epsilon_of([MECHANISM], 1e-5)
    privacy = {
        "mode": "private",
        "unit": "patient",
        "adjacency": "add or remove one patient",
        "epsilon": epsilon,
        "target_epsilon": 8.0,
        "delta": 1e-5,
        "accountant": ACCOUNTANT,
        "mechanisms": [MECHANISM.to_json()],
        "planned": [MECHANISM.to_json()],
        "prv_cross_check": {"accountant": "PRV", "epsilon": epsilon + 0.01, "agrees": True},
        "plan_digest": "9" * 64,
    }
    _trained(tmp_path / "runs" / "first", POLICY, privacy)
    return tmp_path / "runs"


@pytest.fixture
def plain_home(tmp_path: Path) -> Path:
    """A folder of runs with one run without privacy, ``plain``."""
    privacy = {"mode": "none", "unit": "patient", "epsilon": None, "delta": None, "mechanisms": []}
    policy = {**POLICY, "privacy": {"mode": "none"}, "sharing": {"tier": "internal"}}
    _trained(tmp_path / "plain_runs" / "plain", policy, privacy)
    return tmp_path / "plain_runs"

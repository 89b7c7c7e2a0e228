"""A finished run with a small archive, as the stages would have left it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from synthrelease.policy.loader import policy_digest, policy_from
from synthrelease.records.digests import digest_of, digest_of_file
from synthrelease.records.files import atomic_write_json, atomic_write_text, read_json
from synthrelease.release import approve

NOW = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
COHORT_FOLDER = "/data/wards/ward-seven/chest"
PATIENT = "ZX-4711-KOWALSKI"

POLICY = {
    "schema": 1,
    "purpose": "Teach a classifier of chest radiographs",
    "sharing": {"tier": "controlled", "recipients": ["Example University"], "agreement": "DSA-2026-31"},
    "roles": {
        "operator": "Olga Operator",
        "custodian": "Carl Custodian",
        "approvers": ["Ada Approver", "Ben Botham", "Cleo"],
    },
    "cohort": {"name": "chest", "source": COHORT_FOLDER, "classes": ["normal", "nodule"], "segments": ["lung"]},
    "privacy": {"mode": "private", "epsilon": 8.0, "delta": 1e-5, "expected_patients": 1000},
    "generator": {"name": "moments"},
    "release": {"name": "chest-2026", "expires_after_months": 12, "contact": "data office"},
}


def finding(verdict: str = "pass", **changes: Any) -> dict[str, Any]:
    return {
        "id": "membership",
        "question": "Can somebody tell that a patient was in the cohort?",
        "criterion": "membership",
        "verdict": verdict,
        "required": True,
        "statistic": {
            "name": "TPR at 1% FPR",
            "value": 0.0123456,
            "low": 0.0,
            "high": 0.0345678,
            "confidence": 0.95,
            "direction": "lower is better",
        },
        "baseline": {"holdout": 0.0101234, "random": 0.01},
        "threshold": {"value": 0.05, "because": "policy board"},
        "power": {"smallest_detectable": 0.02, "unit": "share", "planted": {"copy": 1.0}},
        "n": {"train": 1234, "holdout": 567, "synthetic": 1001},
        "seed": 3,
        "seconds": 1.5,
        "reason": "the upper end stays below the threshold",
        "p_value": 0.4,
        "p_adjusted": 0.8,
        "details": {"worst": [PATIENT]},
        **changes,
    }


def write_audit(folder: Path, verdict: str = "pass", **changes: Any) -> None:
    """audit.json over the records as they lie in ``folder``, and the external report that shows it."""
    policy = policy_from(read_json(folder / "policy.resolved.json"))
    atomic_write_json(
        folder / "audit.json",
        {
            "schema": "synthrelease.audit/1",
            "verdict": verdict,
            "reason": "every required check",
            "fidelity": "pass",
            "findings": [finding(verdict)],
            "profile": "standard",
            "seed": 0,
            "digests": {
                "archive": digest_of_file(folder / "archive.json"),
                "training": digest_of_file(folder / "training.json"),
                "policy": policy_digest(policy),
            },
            "counts": {"train_patients": 1234, "synthetic_images": 3},
            "versions": {"synthrelease": "0.1.0"},
            **changes,
        },
    )
    write_report(folder)


def write_report(folder: Path, edition: str = "external") -> None:
    head = (
        f'<meta name="synthrelease-edition" content="{edition}">'
        f'<meta name="synthrelease-audit" content="{digest_of_file(folder / "audit.json")}">'
    )
    atomic_write_text(
        folder / "report-external.html", f"<!doctype html><html><head>{head}</head><body>figures</body></html>"
    )


def write_run(folder: Path, policy: dict[str, Any] = POLICY) -> Path:
    """Everything up to the audit, beside things that must never leave."""
    atomic_write_json(folder / "policy.resolved.json", policy)
    training = {
        "schema": "synthrelease.training/1",
        "parents": {"policy": policy_digest(policy_from(policy))},
        "privacy": {
            "mode": "private",
            "unit": "patient",
            "epsilon": 7.98,
            "delta": 1e-5,
            "accountant": "pld",
            "mechanisms": [{"name": "moments", "noise_multiplier": 1.3, "sampling_probability": 1.0, "steps": 1}],
        },
        "versions": {"python": "3.11", "interpreter": "/opt/hospital/bin/python"},
        "checkpoint": {"path": "checkpoint/generator.safetensors"},
        "patients_seen": [PATIENT],
        "hostname": "gpu-node-seven",
    }
    atomic_write_json(folder / "training.json", training)
    files = {}
    for number in range(3):
        name = f"images/{number:04d}.dcm"
        content = b"synthetic" + bytes([number]) * 50
        (folder / "archive" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "archive" / name).write_bytes(content)
        files[name] = hashlib.sha256(content).hexdigest()
    atomic_write_json(
        folder / "archive.json",
        {
            "archive_digest": digest_of(files),
            "files": files,
            "images": 3,
            "class_counts": {"normal": 2, "nodule": 1},
            "release_name": "chest-2026",
            "segments": ["lung"],
            "resolution": 32,
            "parents": {"training": digest_of_file(folder / "training.json")},
        },
    )
    atomic_write_json(folder / "plan.json", {"privacy": {"epsilon": 8.0}, "cohort_path": COHORT_FOLDER, "minutes": 3})
    (folder / "checkpoint").mkdir(exist_ok=True)
    (folder / "checkpoint" / "generator.safetensors").write_bytes(b"WEIGHTS" * 20)
    (folder / "report-internal.html").write_text("INTERNAL EDITION with real patients", encoding="utf-8")
    (folder / "refused.json").write_text(f'["{COHORT_FOLDER}/bad.dcm"]', encoding="utf-8")
    write_audit(folder)
    return folder


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run that passed and that nobody has signed."""
    return write_run(tmp_path / "runs" / "chest")


@pytest.fixture
def signed(run: Path) -> Path:
    """A run that two people have approved."""
    approve(run, "Ada Approver", "privacy officer", "I read the report.", NOW)
    approve(run, "Ben Botham", "custodian", "Agreed.", NOW)
    return run


@pytest.fixture
def audit_of() -> Callable[..., None]:
    return write_audit

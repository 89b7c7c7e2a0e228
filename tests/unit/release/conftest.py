"""A finished run with a small archive, as the stages would have left it."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from synthrelease.policy.loader import policy_digest, policy_from
from synthrelease.privacy.accounting import ACCOUNTANT, Mechanism, epsilon_of
from synthrelease.privacy.scope import ADJACENCY
from synthrelease.records.digests import digest_of, digest_of_file
from synthrelease.records.files import atomic_write_json, atomic_write_text, read_json
from synthrelease.records.ledger import Event, Ledger
from synthrelease.records.manifest import MANIFEST, manifest_bytes
from synthrelease.release import approve, seal

NOW = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
COHORT_FOLDER = "/data/wards/ward-seven/chest"
PATIENT = "ZX-4711-KOWALSKI"
MOMENTS = (Mechanism("moments", 0.61),)
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER_KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))

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


def claim(mechanisms: tuple[Mechanism, ...], delta: float = 1e-5) -> dict[str, Any]:
    """The claim of a run that went to its end."""
    epsilon = epsilon_of(mechanisms, delta)
    return {
        "mode": "private",
        "unit": "patient",
        "adjacency": ADJACENCY,
        "epsilon": epsilon,
        "target_epsilon": 8.0,
        "delta": delta,
        "accountant": ACCOUNTANT,
        "mechanisms": [m.to_json() for m in mechanisms],
        "planned": [m.to_json() for m in mechanisms],
        "clip_norms": {m.name: 1.0 for m in mechanisms},
        "prv_cross_check": {"accountant": "PRV", "epsilon": epsilon + 0.01, "agrees": True},
        "plan_digest": "9" * 64,
    }


def charge(folder: Path, ledger: Ledger) -> Ledger:
    """Enter a run as training would have: reserved as planned, settled by its record."""
    training = read_json(folder / "training.json")
    privacy = training["privacy"]
    private = privacy["mode"] == "private"
    terms = {"epsilon": privacy["epsilon"], "delta": privacy["delta"]} if private else {}
    reserved = {"mechanisms": privacy.get("planned", []), "unbounded": not private, **terms}
    if private:
        reserved["plan_digest"] = privacy["plan_digest"]
    entry = ledger.append(Event.RESERVED, training["run"], reserved)
    ledger.spend(entry.hash, privacy["mechanisms"], training_digest=digest_of(training), **terms)
    return ledger


ARCHIVE_FILES = {
    **{f"DICOM/P{n:06d}/S0000001/{kind}0000001": kind.encode() * 40 + bytes([n]) for n in (1, 2, 3) for kind in "IM"},
    "labels.csv": b"file,label\n",
    "README.md": b"# Synthetic\n",
    "croissant.json": b'{"name": "chest-2026"}\n',
}


def write_archive(folder: Path, files: Mapping[str, bytes], **changes: Any) -> None:
    """archive/ with its manifest, and archive.json over it."""
    shutil.rmtree(folder / "archive", ignore_errors=True)
    for name, content in files.items():
        (folder / "archive" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "archive" / name).write_bytes(content)
    manifest = manifest_bytes((name, hashlib.sha256(content).hexdigest()) for name, content in files.items())
    (folder / "archive" / MANIFEST).write_bytes(manifest)
    digest = hashlib.sha256(manifest).hexdigest()
    atomic_write_json(
        folder / "archive.json",
        {
            "schema": "synthrelease.archive/2",
            "archive_digest": digest,
            "manifest": {"sha256": digest, "files": len(files), "bytes": sum(map(len, files.values()))},
            "edition": "e" * 64,
            "image_class": "DX",
            "bits": 12,
            "images_per_patient": 1,
            "images": 3,
            "class_counts": {"normal": 2, "nodule": 1},
            "release_name": "chest-2026",
            "segments": ["lung"],
            "resolution": 32,
            "spacing_mm": [9.375, 9.375],
            "parents": {"training": digest_of_file(folder / "training.json")},
            **changes,
        },
    )


NO_CLAIM = {"mode": "none", "unit": "patient", "epsilon": None, "delta": None, "mechanisms": []}


def write_run(folder: Path, policy: dict[str, Any] = POLICY, privacy: dict[str, Any] | None = None) -> Path:
    """Everything up to the audit, beside things that must never leave."""
    atomic_write_json(folder / "policy.resolved.json", policy)
    training = {
        "schema": "synthrelease.training/1",
        "parents": {"policy": policy_digest(policy_from(policy))},
        "run": folder.name,
        "privacy": claim(MOMENTS) if privacy is None else privacy,
        "steps": {"finished": 0},
        "versions": {"python": "3.11", "interpreter": "/opt/hospital/bin/python"},
        "checkpoint": {"path": "checkpoint/generator.safetensors"},
        "patients_seen": [PATIENT],
        "hostname": "gpu-node-seven",
    }
    atomic_write_json(folder / "training.json", training)
    write_archive(folder, ARCHIVE_FILES)
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


def sign(run: Path) -> Path:
    """Two people approve a run."""
    approve(run, "Ada Approver", "privacy officer", "I read the report.", NOW)
    approve(run, "Ben Botham", "custodian", "Agreed.", NOW)
    return run


@pytest.fixture
def signed(run: Path) -> Path:
    """A run that two people have approved."""
    return sign(run)


@pytest.fixture
def signed_plain(plain: Path) -> Path:
    """The same without privacy."""
    return sign(plain)


@pytest.fixture
def signed_overclaim(tmp_path: Path) -> Path:
    """A run whose record states less than its mechanisms cost, and which everybody signed all the same."""
    return sign(write_run(tmp_path / "runs" / "chest", privacy={**claim(MOMENTS), "epsilon": 1.0}))


@pytest.fixture
def audit_of() -> Callable[..., None]:
    return write_audit


@pytest.fixture
def ledger(run: Path) -> Ledger:
    """The cohort's ledger, which holds the run."""
    return charge(run, Ledger(run.parent / "ledgers" / "chest.jsonl"))


@pytest.fixture
def stepped(run: Path) -> Path:
    """The same run, trained by gradient steps after a release of counts; its records agree."""
    mechanisms = (Mechanism("class_counts", 1.5), Mechanism("gradient_steps", 1.1, 0.2, 30))
    training = read_json(run / "training.json")
    atomic_write_json(run / "training.json", {**training, "privacy": claim(mechanisms), "steps": {"finished": 30}})
    return run


@pytest.fixture
def plain_policy() -> dict[str, Any]:
    """A policy without privacy."""
    return {**POLICY, "privacy": {"mode": "none"}, "sharing": {"tier": "internal"}}


@pytest.fixture
def plain_run_of() -> Callable[[Path, dict[str, Any]], Path]:
    """Writes a run of a policy without privacy, which two people have approved."""
    return lambda folder, policy: sign(write_run(folder, policy, NO_CLAIM))


@pytest.fixture
def plain(tmp_path: Path, plain_policy: dict[str, Any]) -> Path:
    """A run without privacy."""
    return write_run(tmp_path / "runs" / "plain", plain_policy, NO_CLAIM)


@pytest.fixture
def signed_real_maps(tmp_path: Path, plain_policy: dict[str, Any]) -> Path:
    """A run without privacy whose images were painted after maps of real ones, approved."""
    policy = {**plain_policy, "generator": {"name": "um", "guidance": "real"}}
    return sign(write_run(tmp_path / "runs" / "painted", policy, NO_CLAIM))


@pytest.fixture
def sign_of() -> Callable[[Path], Path]:
    return sign


@pytest.fixture
def archive_of() -> Callable[..., None]:
    return write_archive


@pytest.fixture
def key() -> Ed25519PrivateKey:
    """The house's key."""
    return KEY


@pytest.fixture
def other_key() -> Ed25519PrivateKey:
    """Somebody else's."""
    return OTHER_KEY


@pytest.fixture
def pack(signed: Path, tmp_path: Path) -> Path:
    """A sealed pack, signed by the house's key."""
    seal(signed, tmp_path / "pack", NOW, key=KEY)
    return tmp_path / "pack"


@pytest.fixture
def unsigned_pack(signed: Path, tmp_path: Path) -> Path:
    """The same without a signature."""
    seal(signed, tmp_path / "unsigned", NOW, key=None)
    return tmp_path / "unsigned"


@pytest.fixture
def charged() -> Callable[[Path], Ledger]:
    """Enters a run into its cohort's ledger, as its records stand."""
    return lambda folder: charge(folder, Ledger(folder.parent / "ledgers" / "chest.jsonl"))

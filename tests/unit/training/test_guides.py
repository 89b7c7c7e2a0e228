"""A guide of another run steers this one only where it cannot tell of patients outside of the claim."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from discs_archive import Archive, policy

from synthrelease.errors import IntegrityError, PolicyError, UsageError
from synthrelease.generators.registry import load_generator
from synthrelease.policy.loader import resolved
from synthrelease.privacy.noise import OsNoise
from synthrelease.records.ledger import Ledger
from synthrelease.records.progress import Silent
from synthrelease.training.guides import taken_guide
from synthrelease.training.train import train_with


def run_of(folder: Path, mode: str, source: str, **settings: Any) -> Path:
    """A finished run of the discs whose policy says where its cohort came from."""
    archive, own = Archive(), policy("pggan", mode, settings)
    own = own.model_copy(
        update={"cohort": own.cohort.model_copy(update={"source": source, "classes": own.cohort.classes})}
    )
    train_with(
        own,
        archive,
        archive.patients,
        "cohort",
        folder,
        ledger=Ledger(folder.parent / f"{folder.name}.jsonl"),
        resume=False,
        progress=Silent(),
        stop_after=None,
        noise=OsNoise(),
    )
    (folder / "policy.resolved.json").write_text(json.dumps(resolved(own)))
    return folder


@pytest.fixture(scope="module")
def ordinary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on patients, without privacy."""
    return run_of(tmp_path_factory.mktemp("guides") / "ordinary", "none", "folder")


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on simulated patients, without privacy."""
    return run_of(tmp_path_factory.mktemp("guides") / "simulated", "none", "phantom")


def test_a_private_generator_with_an_ordinary_guide_is_refused_as_model_inversion(
    ordinary: Path, tmp_path: Path
) -> None:
    archive, ledger = Archive(), Ledger(tmp_path / "discs.jsonl")
    with pytest.raises(PolicyError, match="model inversion") as told:
        train_with(
            policy("pggan", "private", {"guide": str(ordinary)}),
            archive,
            archive.patients,
            "cohort",
            tmp_path / "run",
            ledger=ledger,
            resume=False,
            progress=Silent(),
            stop_after=None,
            noise=OsNoise(),
        )
    assert "guide: moments" in str(told.value.fix)
    assert not ledger.path.exists() or not ledger.history()  # nothing was charged


def test_a_private_generator_may_be_steered_by_a_guide_of_simulated_patients(simulated: Path, tmp_path: Path) -> None:
    record = run_and_record(tmp_path, policy("pggan", "private", {"guide": str(simulated)}))
    assert record["guide"]["kind"] == "public"
    assert record["privacy"]["step_groups"] == {"gradient_steps": ["critic"]}
    theirs = load_generator(simulated / "checkpoint").guide_state()  # type: ignore[attr-defined]
    ours = load_generator(tmp_path / "run" / "checkpoint").guide_state()  # type: ignore[attr-defined]
    assert all(torch.equal(theirs[name], ours[name]) for name in theirs)


def run_and_record(folder: Path, own: Any) -> dict[str, Any]:
    """training.json of a run on the discs."""
    archive = Archive()
    return train_with(
        own,
        archive,
        archive.patients,
        "cohort",
        folder / "run",
        ledger=Ledger(folder / "discs.jsonl"),
        resume=False,
        progress=Silent(),
        stop_after=None,
        noise=OsNoise(),
    )


def test_without_a_claim_an_ordinary_guide_is_taken_and_told(ordinary: Path) -> None:
    found = taken_guide(policy("pggan", "none", {"guide": str(ordinary)}))
    assert found is not None
    assert found.provenance["kind"] == "private internal"


def test_a_folder_that_is_no_run_a_changed_one_and_one_of_other_findings_are_refused(
    simulated: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="neither one of trained, moments nor the folder"):
        taken_guide(policy("pggan", "none", {"guide": str(tmp_path)}))
    other = policy("pggan", "none", {"guide": str(simulated)})
    other = other.model_copy(update={"cohort": other.cohort.model_copy(update={"classes": ("thin", "wide")})})
    with pytest.raises(PolicyError, match=r"knows small, large at 16 px; this policy asks for thin, wide"):
        taken_guide(other)
    weights = simulated / "checkpoint" / "generator.safetensors"
    kept = weights.read_bytes()
    try:
        weights.write_bytes(kept + b"\0")
        with pytest.raises(IntegrityError, match=r"another generator than its training\.json"):
            taken_guide(policy("pggan", "none", {"guide": str(simulated)}))
    finally:
        weights.write_bytes(kept)

"""A guide of another run steers this one only where it cannot tell of patients outside of the claim."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from discs_archive import Archive, policy

from synthrelease.errors import IntegrityError, PolicyError, UsageError
from synthrelease.generators.registry import load_generator
from synthrelease.policy.loader import resolved
from synthrelease.policy.schema import Policy
from synthrelease.privacy.noise import OsNoise
from synthrelease.records.digests import digest_of_file
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


@pytest.fixture(scope="module")
def claimed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on patients under a claim."""
    return run_of(tmp_path_factory.mktemp("guides") / "claimed", "private", "folder")


@pytest.fixture(scope="module")
def handed_on(ordinary: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on simulated patients that took the guide of the ordinary run."""
    return run_of(tmp_path_factory.mktemp("guides") / "handed_on", "none", "phantom", guide=str(ordinary))


def guided_by(run: Path, mode: str = "none") -> Policy:
    """A policy that takes a run's guide."""
    return policy("pggan", mode, {"guide": str(run)})


def told_of(run: Path) -> dict[str, Any]:
    """What a plain run that takes this one's guide tells of it."""
    found = taken_guide(guided_by(run))
    assert found is not None
    return found.provenance


@contextmanager
def edited(*files: Path, change: Callable[[dict[str, Any]], object]) -> Iterator[None]:
    """Records with a word changed by hand, for a while."""
    kept = {file: file.read_bytes() for file in files}
    try:
        for file, content in kept.items():
            values = json.loads(content)
            change(values)
            file.write_text(json.dumps(values))
        yield
    finally:
        for file, content in kept.items():
            file.write_bytes(content)


@pytest.mark.parametrize("guide", ["ordinary", "handed_on", "claimed"])
def test_a_private_generator_with_a_guide_of_other_patients_is_refused_as_model_inversion(
    guide: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """However it came: from its own run, through a run on simulated patients, or under a claim that this plan does not pay."""
    archive, ledger = Archive(), Ledger(tmp_path / "discs.jsonl")
    with pytest.raises(PolicyError, match="model inversion") as told:
        train_with(
            guided_by(request.getfixturevalue(guide), "private"),
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
    assert told_of(ordinary)["kind"] == "private internal"


def test_a_guide_stays_as_private_as_where_it_was_trained_however_often_it_is_handed_on(
    handed_on: Path, claimed: Path, tmp_path: Path
) -> None:
    told = told_of(handed_on)
    assert told == {"kind": "private internal", "training": digest_of_file(handed_on / "training.json")}
    again = run_of(tmp_path / "again", "none", "phantom", guide=str(handed_on))
    assert json.loads((again / "training.json").read_text())["guide"] == told
    assert told_of(again)["kind"] == "private internal"
    under_a_claim = told_of(claimed)
    assert under_a_claim["kind"] == "dp"
    assert 0 < under_a_claim["epsilon"] <= 1.0
    after = told_of(run_of(tmp_path / "after", "none", "phantom", guide=str(claimed)))
    assert after == {**under_a_claim, "training": digest_of_file(tmp_path / "after" / "training.json")}


def test_a_guide_of_simulated_patients_is_public_until_a_run_on_patients_hands_it_on(
    simulated: Path, tmp_path: Path
) -> None:
    simulated_again = run_of(tmp_path / "simulated", "none", "phantom", guide=str(simulated))
    found = taken_guide(guided_by(simulated_again, "private"))
    assert found is not None
    assert found.provenance["kind"] == "public"
    on_patients = run_of(tmp_path / "patients", "none", "folder", guide=str(simulated))
    assert told_of(on_patients)["kind"] == "private internal"


def test_a_run_whose_policy_was_edited_to_simulated_patients_hands_no_guide_on(ordinary: Path) -> None:
    def pretend(values: dict[str, Any]) -> None:
        values["cohort"]["source"] = "phantom"

    for mode in ("none", "private"):
        with (
            edited(ordinary / "policy.resolved.json", change=pretend),
            pytest.raises(IntegrityError, match=r"another policy than its training\.json"),
        ):
            taken_guide(guided_by(ordinary, mode))


def test_a_training_record_that_was_edited_to_a_public_guide_is_found_out(handed_on: Path) -> None:
    record, kept = handed_on / "training.json", handed_on / "checkpoint" / "training.json"
    with (
        edited(record, change=lambda values: values["guide"].update(kind="public")),
        pytest.raises(IntegrityError, match=r"another training\.json than its checkpoint"),
    ):
        taken_guide(guided_by(handed_on, "private"))
    # The policy names another run, so its guide cannot have been trained there; and one that is not told of is not taken.
    changes: tuple[Callable[[dict[str, Any]], object], ...] = (
        lambda values: values["guide"].update(kind="trained"),
        lambda values: values.pop("guide"),
    )
    for change in changes:
        with (
            edited(record, kept, change=change),
            pytest.raises(IntegrityError, match="does not say where its guide came from"),
        ):
            taken_guide(guided_by(handed_on, "private"))


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

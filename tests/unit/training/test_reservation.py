"""A run goes on under the reservation that it was begun with, and under no other."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from discs_archive import Archive, policy

from synthrelease.errors import BudgetExceeded, IntegrityError, Interrupted
from synthrelease.policy.schema import Policy
from synthrelease.privacy.noise import OsNoise
from synthrelease.records.digests import digest_of
from synthrelease.records.ledger import Event, Ledger
from synthrelease.records.progress import Silent
from synthrelease.training import train as train_stage
from synthrelease.training.train import train_with

Train = Callable[..., dict[str, Any]]
IDS = tuple(f"H|{number}" for number in range(24))


class Listening(Silent):
    """Keeps the notes."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture
def train(tmp_path: Path) -> Train:
    """Train on the discs."""

    def run(
        rules: Policy,
        *,
        home: str = "home",
        name: str = "run",
        cohort: str = "discs",
        ids: tuple[str, ...] = IDS,
        resume: bool = False,
        stop_after: int | None = None,
        progress: Silent | None = None,
    ) -> dict[str, Any]:
        archive = Archive()
        return train_with(
            rules,
            archive,
            archive.patients,
            "cohort",
            tmp_path / home / name,
            ledger=Ledger(tmp_path / "ledgers" / f"{cohort}.jsonl"),
            resume=resume,
            progress=progress or Silent(),
            stop_after=stop_after,
            noise=OsNoise(),
            patient_ids=ids,
        )

    return run


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "ledgers" / "discs.jsonl")


def test_a_resumed_run_is_not_charged_again_even_where_the_cap_has_no_room_for_another(
    train: Train, ledger: Ledger
) -> None:
    rules = policy("diffusion", "private")
    with pytest.raises(Interrupted):
        train(rules, stop_after=6)
    ledger.set_cap(1.01, 1e-3, by="Carl")
    record = train(rules, resume=True)
    events = [entry.event for entry in ledger.entries()]
    assert events == [Event.COHORT_REGISTERED, Event.RESERVED, Event.CAPPED, Event.SPENT]
    assert record["privacy"]["epsilon"] == ledger.entries()[1].body["epsilon"]
    with pytest.raises(BudgetExceeded):
        train(rules, name="another")


@pytest.mark.parametrize("mode", ["private", "none"])
def test_a_voided_run_does_not_go_on(train: Train, ledger: Ledger, mode: str, tmp_path: Path) -> None:
    rules = policy("diffusion", mode)
    with pytest.raises(Interrupted):
        train(rules, stop_after=2)
    account = tmp_path / "home" / "run" / "checkpoint" / "account.jsonl"
    before = account.read_bytes() if account.exists() else b""
    ledger.void(ledger.charges()[0].reservation, who="Carl", statement="Destroyed unseen.")
    with pytest.raises(IntegrityError, match="voided") as refusal:
        train(rules, resume=True)
    assert refusal.value.exit_code == 6
    assert (account.read_bytes() if account.exists() else b"") == before
    assert ledger.charges() == ()


def test_a_finished_run_that_was_voided_is_not_handed_out_again(train: Train, ledger: Ledger) -> None:
    rules = policy("moments", "private")
    train(rules)
    ledger.void(ledger.charges()[0].reservation, who="Carl", statement="Destroyed unseen.")
    with pytest.raises(IntegrityError, match="voided"):
        train(rules, resume=True)


def test_a_run_that_is_voided_while_it_runs_leaves_no_record(train: Train, ledger: Ledger, tmp_path: Path) -> None:
    class Voiding(Silent):
        def step(self, done: int, facts: str = "") -> None:
            for charge in ledger.charges():
                ledger.void(charge.reservation, who="Carl", statement="Stopped and destroyed.")

    with pytest.raises(IntegrityError, match="voided"):
        train(policy("moments", "private"), progress=Voiding())
    assert not (tmp_path / "home" / "run" / "training.json").exists()


def test_a_run_that_died_right_after_its_reservation_uses_it(
    train: Train, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules = policy("moments", "private")

    def dies(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(train_stage, "Account", dies)
        with pytest.raises(KeyboardInterrupt):
            train(rules)
    assert len(ledger.charges()) == 1
    train(rules)  # nothing was begun, so there is nothing to resume
    assert [entry.event for entry in ledger.entries()] == [Event.COHORT_REGISTERED, Event.RESERVED, Event.SPENT]


def test_a_run_of_the_same_name_in_another_folder_has_its_own_reservation(train: Train, ledger: Ledger) -> None:
    rules = policy("moments", "private")
    train(rules)
    train(rules, home="other")
    assert len(ledger.charges()) == 2


@pytest.mark.parametrize("place", ["checkpoint", "run"])
def test_a_run_that_died_around_its_settling_gets_the_record_that_the_ledger_is_bound_to(
    train: Train, ledger: Ledger, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, place: str
) -> None:
    rules = policy("moments", "private")
    write = train_stage.atomic_write_json

    def dies(path: Path, value: Any) -> None:
        if path.name == "training.json" and path.parent.name == place:
            raise KeyboardInterrupt
        write(path, value)

    with monkeypatch.context() as patch:
        patch.setattr(train_stage, "atomic_write_json", dies)
        with pytest.raises(KeyboardInterrupt):
            train(rules)
    assert ledger.charges()[0].settled is (place == "run")
    record = train(rules, resume=True)
    (charge,) = ledger.charges()
    assert charge.settled
    assert charge.body["training_digest"] == digest_of(record)
    assert record == json.loads((tmp_path / "home" / "run" / "training.json").read_text())


def test_a_copy_of_a_run_cannot_spend_its_reservation_a_second_time(
    train: Train, ledger: Ledger, tmp_path: Path
) -> None:
    rules = policy("diffusion", "private")
    with pytest.raises(Interrupted):
        train(rules, stop_after=6)
    shutil.copytree(tmp_path / "home", tmp_path / "copy")
    train(rules, resume=True)
    with pytest.raises(IntegrityError, match="another copy"):
        train(rules, home="copy", resume=True)
    assert not (tmp_path / "copy" / "run" / "training.json").exists()
    assert len(ledger.charges()) == 1


def test_of_two_copies_under_way_the_second_is_refused_and_neither_draws_again(
    train: Train, ledger: Ledger, tmp_path: Path
) -> None:
    rules = policy("diffusion", "private")
    with pytest.raises(Interrupted):
        train(rules, stop_after=6)
    shutil.copytree(tmp_path / "home", tmp_path / "copy")

    class Overtaking(Silent):
        overtaken = False

        def step(self, done: int, facts: str = "") -> None:
            if not self.overtaken:
                self.overtaken = True
                train(rules, resume=True)

    with pytest.raises(IntegrityError, match="restored from a copy"):
        train(rules, home="copy", resume=True, progress=Overtaking())
    assert not list(tmp_path.glob("*/run/training.json"))
    (charge,) = ledger.charges()
    assert not charge.settled


def test_a_copy_is_stopped_before_it_draws_when_another_drew_meanwhile(train: Train, tmp_path: Path) -> None:
    rules = policy("diffusion", "private")
    with pytest.raises(Interrupted):
        train(rules, stop_after=6)
    (mark,) = tmp_path.glob("**/*.uses/*")

    class Elsewhere(Silent):
        def step(self, done: int, facts: str = "") -> None:
            mark.write_bytes(mark.read_bytes() + b"\0")

    with pytest.raises(IntegrityError, match="another copy"):
        train(rules, resume=True, progress=Elsewhere())


def test_cohorts_that_share_patients_are_told_by_name(train: Train, tmp_path: Path) -> None:
    rules = policy("moments", "private")
    train(rules)
    notes = Listening()
    train(rules, name="two", cohort="others", ids=("H|3", "H|100"), progress=notes)
    assert notes.notes == ["this cohort shares patients with discs: what they have spent counts for it as well"]
    train(rules, name="three", cohort="third", ids=("H|200",), progress=notes)
    assert len(notes.notes) == 1


def test_a_run_that_knows_no_patients_says_that_overlaps_cannot_be_told(train: Train) -> None:
    rules = policy("moments", "private")
    train(rules, ids=())
    notes = Listening()
    train(rules, name="two", cohort="others", progress=notes)
    assert notes.notes == ["runs on discs did not note their patients: whether cohorts overlap cannot be told"]


def test_simulated_cohorts_of_other_seeds_share_nobody(train: Train) -> None:
    rules = policy("moments", "private")
    assert rules.cohort.source == "phantom"
    other = rules.model_copy(
        update={
            "cohort": rules.cohort.model_copy(update={"phantom": rules.cohort.phantom.model_copy(update={"seed": 8})})
        }
    )
    notes = Listening()
    train(rules)
    train(other, name="two", cohort="others", progress=notes)
    assert notes.notes == []


@pytest.mark.parametrize("loss", ["deleted", "older copy"])
def test_a_ledger_that_lost_a_used_reservation_is_refused(
    train: Train, ledger: Ledger, tmp_path: Path, loss: str
) -> None:
    rules = policy("moments", "private")
    train(rules)
    older = ledger.path.read_bytes()
    train(rules, name="two")
    if loss == "deleted":
        ledger.path.unlink()
    else:
        ledger.path.write_bytes(older)
    with pytest.raises(IntegrityError, match="lacks a reservation"):
        train(rules, name="three")

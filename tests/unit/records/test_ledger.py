"""The ledger shows what was done to it."""

from __future__ import annotations

import json
import multiprocessing
from pathlib import Path
from typing import Any

import pytest

from synthrelease.errors import IntegrityError, UnsuitableData, UsageError
from synthrelease.records.ledger import GENESIS, Event, Ledger

MECHANISM: dict[str, Any] = {"name": "sums", "noise_multiplier": 2.0, "sampling_probability": 1.0, "steps": 1}


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    """Two runs, one of them settled."""
    ledger = Ledger(tmp_path / "ledgers" / "chest.jsonl", clock=lambda: "2026-01-01T00:00:00Z")
    first = ledger.append(Event.RESERVED, "one", {"mechanisms": [MECHANISM, MECHANISM], "delta": 1e-5})
    ledger.spend(first.hash, [MECHANISM], epsilon=1.0)
    ledger.append(Event.RESERVED, "two", {"mechanisms": [MECHANISM], "delta": 1e-5})
    return ledger


def test_the_first_entry_registers_the_cohort(ledger: Ledger) -> None:
    first = ledger.entries()[0]
    assert first.event is Event.COHORT_REGISTERED
    assert first.body["cohort"] == "chest"
    assert first.previous == GENESIS


def test_charges_are_what_was_spent_or_else_reserved(ledger: Ledger) -> None:
    charges = ledger.charges()
    assert [(c.run, c.settled, len(c.mechanisms)) for c in charges] == [("one", True, 1), ("two", False, 1)]


def test_the_head_moves_with_every_entry_and_is_found_again(ledger: Ledger) -> None:
    head = ledger.head
    ledger.append(Event.RELEASED, "one", {"release": "first"})
    assert ledger.head != head
    assert ledger.verify(expect=head) == ledger.head


def test_an_empty_ledger_has_a_head_too(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "none.jsonl")
    assert ledger.head == GENESIS
    assert ledger.entries() == ()
    assert not (tmp_path / "none.jsonl").exists()


@pytest.mark.parametrize("edit", ["change", "remove", "swap", "insert", "garbage", "key", "rehash"])
def test_any_edit_in_the_middle_is_seen(ledger: Ledger, edit: str) -> None:
    lines = ledger.path.read_bytes().splitlines(keepends=True)
    if edit == "change":
        lines[1] = lines[1].replace(b'"noise_multiplier":2.0', b'"noise_multiplier":9.0')
    elif edit == "remove":
        del lines[1]
    elif edit == "swap":
        lines[1], lines[2] = lines[2], lines[1]
    elif edit == "insert":
        lines.insert(2, lines[1])
    elif edit == "garbage":
        lines[1] = b"{}\n"
    elif edit == "key":
        lines[1] = json.dumps({**json.loads(lines[1]), "note": "x"}).encode() + b"\n"
    else:
        raw = json.loads(lines[1])
        raw["body"]["mechanisms"] = []
        lines[1] = json.dumps({**raw, "hash": "0" * 64}).encode() + b"\n"
    ledger.path.write_bytes(b"".join(lines))
    with pytest.raises(IntegrityError, match="changed at entry"):
        ledger.verify()
    with pytest.raises(IntegrityError):
        ledger.append(Event.RESERVED, "three", {})


def test_a_cut_end_is_seen_by_who_noted_the_head(ledger: Ledger) -> None:
    head = ledger.head
    lines = ledger.path.read_bytes().splitlines(keepends=True)
    ledger.path.write_bytes(b"".join(lines[:-1]))
    ledger.verify()
    with pytest.raises(IntegrityError, match="expected head"):
        ledger.verify(expect=head)


def test_a_line_that_was_torn_by_a_crash_is_overwritten(ledger: Ledger) -> None:
    before = ledger.entries()
    ledger.path.write_bytes(ledger.path.read_bytes() + b'{"at":"2026-01-01T00:00:00Z","body":{"mech')
    assert ledger.entries() == before
    ledger.append(Event.RESERVED, "three", {"mechanisms": []})
    assert [entry.run for entry in ledger.entries()[-2:]] == ["two", "three"]


def test_a_run_is_settled_once(ledger: Ledger) -> None:
    reservation = ledger.charges()[0].reservation
    with pytest.raises(UsageError, match="settled already"):
        ledger.spend(reservation, [MECHANISM])


def test_an_unknown_reservation_is_not_settled(ledger: Ledger) -> None:
    with pytest.raises(IntegrityError, match="no reservation"):
        ledger.spend("f" * 64, [MECHANISM])


def test_voiding_needs_a_statement_and_removes_the_charge(ledger: Ledger) -> None:
    reservation = ledger.charges()[1].reservation
    with pytest.raises(UsageError, match="statement"):
        ledger.void(reservation, who="Custodian", statement=" ")
    ledger.void(reservation, who="Custodian", statement="Destroyed unseen.")
    assert [c.run for c in ledger.charges()] == ["one"]
    assert ledger.entries()[-1].body["who"] == "Custodian"


def test_a_run_without_privacy_is_marked(ledger: Ledger) -> None:
    ledger.append(Event.RESERVED, "plain", {"unbounded": True})
    assert ledger.charges()[-1].unbounded


def test_a_folder_that_cannot_be_written_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UnsuitableData, match="locked"):
        Ledger(tmp_path / "file" / "chest.jsonl").append(Event.RESERVED, "one", {})


def _append(path: str, run: str) -> None:
    for _ in range(10):
        Ledger(Path(path)).append(Event.RESERVED, run, {})


def test_processes_that_append_at_once_make_one_chain(tmp_path: Path) -> None:
    path = tmp_path / "chest.jsonl"
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_append, args=(str(path), f"run{i}")) for i in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert all(worker.exitcode == 0 for worker in workers)
    assert len(Ledger(path).entries()) == 31


def test_a_released_run_cannot_be_voided(ledger: Ledger) -> None:
    reservation = ledger.charges()[0].reservation
    ledger.append(Event.RELEASED, "one", {"release": "r"})
    with pytest.raises(UsageError, match="was released"):
        ledger.void(reservation, who="Custodian", statement="Nobody saw it.")
    assert len(ledger.charges()) == 2

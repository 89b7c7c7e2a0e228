"""Cohorts that share a patient are found, by digests that tell nothing else."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from synthrelease.errors import IntegrityError, UnsuitableData
from synthrelease.privacy.overlap import (
    KEY_FILE,
    PatientDigests,
    Patients,
    digests_of,
    house_key,
    note_patients,
    noted_patients,
    patients_path,
)
from synthrelease.records.ledger import Event, Ledger

KEY = bytes(range(32))


def digests(*ids: str, seed: int | None = None) -> PatientDigests:
    return digests_of(Patients(ids, seed), KEY)


@pytest.mark.parametrize(
    ("one", "other", "shared"),
    [
        ("HOSP|1", "HOSP|1", True),
        ("HOSP|1", "HOSP|2", False),
        ("HOSP|1", "OTHER|1", False),
        ("HOSP|1", "|1", True),
        ("|1", "HOSP|1", True),
        ("|1", "|1", True),
        ("|1", "|2", False),
        ("1", "|1", True),
        ("HOSP|1", " hosp | 1 ", True),
        ("HO|SP1", "HOS|P1", False),
        ("|study 1.2.3", "|study 1.2.3", True),
    ],
)
def test_who_is_taken_for_one_person(one: str, other: str, shared: bool) -> None:
    assert digests(one, "HOSP|only one").shares_with(digests("HOSP|only other", other)) is shared


def test_simulated_patients_are_one_only_where_the_seed_is_the_same() -> None:
    ids = ("RAVENSMOOR|PH00001", "RAVENSMOOR|PH00002")
    assert digests(*ids, seed=7).shares_with(digests(*ids[:1], seed=7))
    assert not digests(*ids, seed=7).shares_with(digests(*ids, seed=8))
    assert not digests(*ids, seed=7).shares_with(digests(*ids))
    assert not digests(*ids, seed=7).shares_with(digests("|PH00001"))


def test_nobody_shares_with_nobody() -> None:
    assert not PatientDigests().shares_with(PatientDigests())
    assert not PatientDigests().shares_with(digests("HOSP|1"))
    assert not PatientDigests()
    assert digests("|1")


def test_without_the_key_a_digest_tells_nothing(tmp_path: Path) -> None:
    ledger, key = Ledger(tmp_path / "chest.jsonl"), house_key(tmp_path, make=True)
    assert key is not None
    note_patients(ledger, digests_of(Patients(("HOSP|4711",)), key), key)
    content = patients_path(ledger).read_bytes()
    assert b"4711" not in content
    assert b"HOSP" not in content
    assert key not in content
    assert not digests_of(Patients(("HOSP|4711",)), key).shares_with(digests("HOSP|4711"))


def test_patients_are_added_and_never_lost(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "chest.jsonl")
    assert noted_patients(ledger, KEY) == PatientDigests()
    note_patients(ledger, digests("HOSP|1", "|2"), KEY)
    note_patients(ledger, digests("HOSP|3"), KEY)
    note_patients(ledger, digests("HOSP|1"), KEY)
    assert noted_patients(ledger, KEY) == digests("HOSP|1", "|2", "HOSP|3")


def test_the_order_of_patients_leaves_no_trace(tmp_path: Path) -> None:
    one, two = Ledger(tmp_path / "one.jsonl"), Ledger(tmp_path / "two.jsonl")
    note_patients(one, digests("HOSP|1", "HOSP|2", "|3"), KEY)
    for name in ("|3", "HOSP|2", "HOSP|1"):
        note_patients(two, digests(name), KEY)
    assert patients_path(one).read_bytes() == patients_path(two).read_bytes()


def test_key_and_digests_are_for_their_owner_alone_from_the_first_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    fsync = os.fsync

    def looking(descriptor: int) -> None:
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            seen.append(stat.S_IMODE(os.fstat(descriptor).st_mode))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", looking)
    ledger, key = Ledger(tmp_path / "chest.jsonl"), house_key(tmp_path, make=True)
    assert key is not None
    note_patients(ledger, digests_of(Patients(("|1",)), key), key)
    assert seen == [0o600, 0o600]
    for path in (tmp_path / KEY_FILE, patients_path(ledger)):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_key_is_drawn_once_and_only_where_it_is_needed(tmp_path: Path) -> None:
    assert house_key(tmp_path / "ledgers", make=False) is None
    assert not (tmp_path / "ledgers").exists()
    key = house_key(tmp_path / "ledgers", make=True)
    assert key is not None
    assert len(key) == 32
    assert house_key(tmp_path / "ledgers", make=True) == key
    assert house_key(tmp_path / "others", make=True) != key


def test_a_lost_key_is_not_replaced_in_silence(tmp_path: Path) -> None:
    key = house_key(tmp_path, make=True)
    assert key is not None
    note_patients(Ledger(tmp_path / "chest.jsonl"), digests_of(Patients(("|1",)), key), key)
    (tmp_path / KEY_FILE).unlink()
    for make in (True, False):
        with pytest.raises(IntegrityError, match=r"\.key\.private is missing"):
            house_key(tmp_path, make=make)


def test_a_damaged_key_is_refused(tmp_path: Path) -> None:
    (tmp_path / KEY_FILE).write_bytes(b"short")
    with pytest.raises(IntegrityError, match="damaged"):
        house_key(tmp_path, make=True)


@pytest.mark.parametrize("edit", ["cut", "empty", "flip", "other key", "longer"])
def test_changed_digests_are_refused(tmp_path: Path, edit: str) -> None:
    ledger = Ledger(tmp_path / "chest.jsonl")
    note_patients(ledger, digests("HOSP|1", "|2"), KEY)
    path = patients_path(ledger)
    content = path.read_bytes()
    changed = {
        "cut": content[:-16],
        "empty": b"",
        "flip": content[:-1] + bytes([content[-1] ^ 1]),
        "longer": content + bytes(16),
        "other key": content,
    }[edit]
    path.write_bytes(changed)
    with pytest.raises(IntegrityError, match="changed, or was made under another key"):
        noted_patients(ledger, KEY if edit != "other key" else bytes(32))


def test_digests_that_a_run_noted_must_not_go_missing(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "chest.jsonl")
    ledger.append(Event.RESERVED, "one", {"patients_noted": True})
    with pytest.raises(IntegrityError, match=r"chest\.patients\.private is missing"):
        noted_patients(ledger, KEY)


def test_a_writer_that_dies_leaves_the_digests_as_they_were(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = Ledger(tmp_path / "chest.jsonl")
    note_patients(ledger, digests("HOSP|1"), KEY)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(UnsuitableData, match="No space left"):
            note_patients(ledger, digests("HOSP|2"), KEY)
    (tmp_path / ".partial-chest.patients.private-0123abcd").write_bytes(b"left by a killed process")
    assert noted_patients(ledger, KEY) == digests("HOSP|1")
    note_patients(ledger, digests("HOSP|2"), KEY)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["chest.patients.private"]

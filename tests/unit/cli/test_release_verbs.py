"""``keygen``, ``release`` and ``verify`` as they are typed: a signed pack, an unsigned one, and what is refused."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from benchmarks.header_scan.folders import write_hospital
from synthrelease.policy.loader import policy_digest, policy_from
from synthrelease.records.digests import digest_of_file
from synthrelease.records.files import atomic_write_json, read_json
from synthrelease.records.ledger import Event, Ledger
from synthrelease.records.manifest import MANIFEST, manifest_bytes
from synthrelease.release import approve

Say = Callable[..., Any]
WORDS = "correct horse battery staple\n"


@pytest.fixture
def approved(home: Path) -> Path:
    """The run ``first`` of the house, sampled, audited and approved by two people, just now."""
    run = home / "first"
    policy = policy_from(read_json(run / "policy.resolved.json"))
    files = {"DICOM/P000001/S0000001/I0000001": b"image", "labels.csv": b"file,label\n"}
    for name, content in files.items():
        (run / "archive" / name).parent.mkdir(parents=True, exist_ok=True)
        (run / "archive" / name).write_bytes(content)
    manifest = manifest_bytes((name, hashlib.sha256(content).hexdigest()) for name, content in files.items())
    (run / "archive" / MANIFEST).write_bytes(manifest)
    digest = hashlib.sha256(manifest).hexdigest()
    record = {
        "schema": "synthrelease.archive/2",
        "archive_digest": digest,
        "manifest": {"sha256": digest, "files": 2, "bytes": sum(map(len, files.values()))},
        "images": 1,
        "class_counts": {"normal": 1},
        "parents": {"training": digest_of_file(run / "training.json")},
    }
    atomic_write_json(run / "archive.json", record)
    audit = {
        "schema": "synthrelease.audit/1",
        "verdict": "pass",
        "fidelity": "pass",
        "findings": [
            {
                "id": "membership",
                "question": "Was I in it?",
                "criterion": "membership",
                "verdict": "pass",
                "required": True,
                "statistic": {"name": "TPR at 1% FPR", "value": 0.01, "low": 0.0, "high": 0.03, "confidence": 0.95},
            }
        ],
        "digests": {
            "archive": digest,
            "training": digest_of_file(run / "training.json"),
            "policy": policy_digest(policy),
        },
    }
    atomic_write_json(run / "audit.json", audit)
    head = '<meta name="synthrelease-edition" content="external">'
    head += f'<meta name="synthrelease-audit" content="{digest_of_file(run / "audit.json")}">'
    (run / "report-external.html").write_text(f"<html><head>{head}</head></html>")
    for name in ("Ann Approver", "Bob Approver"):
        approve(run, name, "privacy officer", "I read the report.", datetime.now(UTC))
    return run


@pytest.fixture
def key(say: Say, tmp_path: Path) -> Path:
    """A key without a passphrase."""
    assert say("keygen", "--out", tmp_path / "house.pem", "--no-passphrase").code == 0
    return tmp_path / "house.pem"


@pytest.fixture
def pack(say: Say, approved: Path, tmp_path: Path, key: Path) -> Path:
    """A signed pack."""
    said = say("release", "--run", approved, "--out", approved.parent, "--to", tmp_path / "pack", "--key", key)
    assert said.code == 0, said.err
    return tmp_path / "pack"


# keygen


def test_keygen_writes_both_halves_and_tells_the_id(say: Say, tmp_path: Path) -> None:
    (tmp_path / "words").write_text(WORDS)
    said = say("keygen", "--out", tmp_path / "a.pem", "--passphrase-file", tmp_path / "words", "--json")
    assert said.code == 0
    assert said.json["encrypted"] is True
    assert len(said.json["key_id"]) == 64
    assert Path(said.json["public_key"]).read_text().startswith("-----BEGIN PUBLIC KEY-----")
    plain = say("keygen", "--out", tmp_path / "b.pem", "--no-passphrase")
    assert "whoever can read the file can sign in your name" in plain.out
    assert "PRIVATE" not in plain.out + plain.err


def test_keygen_asks_twice_at_a_terminal(say: Say, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, Any]] = []

    def prompt(text: str, **options: Any) -> str:
        asked.append({"text": text, **options})
        return WORDS.strip()

    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("click.prompt", prompt)
    assert say("keygen", "--out", tmp_path / "a.pem").code == 0
    assert asked[0]["hide_input"]
    assert asked[0]["confirmation_prompt"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "no terminal to ask"),
        (("--no-passphrase", "--passphrase-file", "x"), "contradict"),
        (("--passphrase-file", "absent"), "no file"),
    ],
)
def test_keygen_refuses_to_guess(say: Say, tmp_path: Path, words: tuple[str, ...], told: str) -> None:
    said = say("keygen", "--out", tmp_path / "a.pem", *words)
    assert said.code == 2
    assert told in said.err
    assert list(tmp_path.glob("*.pem")) == []


def test_keygen_never_overwrites(say: Say, key: Path) -> None:
    before = key.read_bytes()
    assert say("keygen", "--out", key, "--no-passphrase").code == 2
    assert key.read_bytes() == before


# release


def test_a_release_without_a_key_is_refused_unless_it_is_asked_for(say: Say, approved: Path, tmp_path: Path) -> None:
    words = ("release", "--run", approved, "--out", approved.parent, "--to", tmp_path / "pack")
    refused = say(*words)
    assert refused.code == 2
    assert "--unsigned" in refused.err
    assert not (tmp_path / "pack").exists()
    said = say(*words, "--unsigned")
    assert said.code == 0
    assert "NOT SIGNED" in said.out
    shown = say("verify", tmp_path / "pack")
    assert shown.code == 0
    assert "NOT SIGNED" in shown.out


def test_a_key_under_a_passphrase_signs(say: Say, approved: Path, tmp_path: Path) -> None:
    (tmp_path / "words").write_text(WORDS)
    (tmp_path / "wrong").write_text("something else entirely\n")
    say("keygen", "--out", tmp_path / "a.pem", "--passphrase-file", tmp_path / "words")
    words = (
        "release",
        "--run",
        approved,
        "--out",
        approved.parent,
        "--to",
        tmp_path / "pack",
        "--key",
        tmp_path / "a.pem",
    )
    assert "no terminal to ask" in say(*words).err
    assert say(*words, "--passphrase-file", tmp_path / "wrong").code == 2
    assert not (tmp_path / "pack").exists()
    assert say(*words, "--passphrase-file", tmp_path / "words").code == 0
    assert say("verify", tmp_path / "pack", "--key", tmp_path / "a.pub.pem").code == 0


@pytest.mark.parametrize(
    "words", [("--unsigned", "--key", "KEY"), ("--key", "absent.pem"), ("--key", "PUBLIC"), ("--unsigned", "--key", "")]
)
def test_a_key_that_cannot_sign_seals_nothing(
    say: Say, approved: Path, tmp_path: Path, key: Path, words: tuple[str, ...]
) -> None:
    named = {"KEY": key, "PUBLIC": key.with_name("house.pub.pem")}
    key.with_name("house.pub.pem").chmod(0o600)
    typed = [named.get(word, word) for word in words]
    said = say("release", "--run", approved, "--out", approved.parent, "--to", tmp_path / "pack", *typed)
    assert said.code == 2
    assert not (tmp_path / "pack").exists()


def test_the_ledger_remembers_root_and_key(say: Say, pack: Path, approved: Path) -> None:
    record = read_json(pack / "release.json")
    entries = Ledger(approved.parent / "ledgers" / "chest.jsonl").entries()
    (told,) = [entry.body for entry in entries if entry.event is Event.RELEASED]
    assert (told["root"], told["key"]) == (record["root_digest"], record["key_id"])


def test_a_dry_run_needs_no_key(say: Say, approved: Path) -> None:
    assert say("release", "--run", approved, "--out", approved.parent, "--dry-run").code == 0


def test_words_that_name_a_patient_seal_nothing_until_they_are_signed_again(
    say: Say, approved: Path, tmp_path: Path
) -> None:
    source = tmp_path / "ward"
    write_hospital(source, 12)
    name, number = "Ann Abernathy", "MRN4401205"
    atomic_write_json(approved / "source.private.json", {"source": str(source)})
    signing = ("approve", "--run", approved, "--out", approved.parent, "--by", "Ann Approver")
    release = ("release", "--run", approved, "--out", approved.parent, "--to", tmp_path / "pack", "--unsigned")
    assert say(*signing, "--statement", f"all but {number}").code == 7
    for statement in (f"all but {number}", f"the case of {name} is fine"):
        assert say(*signing, "--again", "--statement", statement).code == 0
        for words in (release, (*release, "--dry-run"), (*release, "--json")):
            said = say(*words)
            assert said.code == 7
            assert "the statement resembles a private Patient" in said.err
            assert "--again" in said.err
            assert not any(private in said.out + said.err for private in (name, number, str(source)))
    assert not (tmp_path / "pack").exists()
    assert say(*signing, "--again", "--statement", "I have read the report.").code == 0
    assert "compared with the private headers" in say(*release, "--dry-run").out
    assert "typed texts were compared with the private headers" in say(*release).out
    assert say("verify", tmp_path / "pack").code == 0


def test_a_release_says_when_nothing_was_at_hand_to_compare_with(say: Say, approved: Path, tmp_path: Path) -> None:
    said = say("release", "--run", approved, "--out", approved.parent, "--to", tmp_path / "pack", "--unsigned")
    assert "typed texts were not compared with the private headers, because" in said.out


# verify


@pytest.mark.parametrize("what", ["pipe", "folder", "expect"])
def test_what_is_no_key_and_no_digest_is_wrong_usage(say: Say, pack: Path, tmp_path: Path, what: str) -> None:
    if what == "pipe":
        os.mkfifo(tmp_path / "KEY")
    else:
        (tmp_path / "KEY").mkdir()
    words = ("--expect", "\udcff\udc80") if what == "expect" else ("--key", tmp_path / "KEY")
    said = say("verify", pack, *words)
    assert said.code == 2
    assert len(said.err.splitlines()) == 2


def test_a_signed_pack_verifies_with_its_key_and_says_when_it_was_not_checked(say: Say, pack: Path, key: Path) -> None:
    public = key.with_name("house.pub.pem")
    checked = say("verify", pack, "--key", public)
    assert checked.code == 0
    assert "signed by the key you gave" in checked.out
    without = say("verify", pack)
    assert without.code == 0
    assert "SIGNATURE NOT CHECKED" in without.out
    assert say("verify", pack, "--json").json["signature"] == "not checked"
    root = read_json(pack / "release.json")["root_digest"]
    both = say("verify", pack, "--key", public, "--expect", root, "--json").json
    assert (both["signature"], both["checked_against_expected"]) == ("checked", True)


def test_wrong_keys_exit_with_integrity_or_usage(say: Say, pack: Path, key: Path, tmp_path: Path) -> None:
    say("keygen", "--out", tmp_path / "other.pem", "--no-passphrase")
    assert say("verify", pack, "--key", tmp_path / "other.pub.pem").code == 6
    assert say("verify", pack, "--key", key).code == 2
    assert say("verify", pack, "--key", tmp_path / "absent").code == 2


@pytest.mark.parametrize("what", ["removed", "added", "changed", "renamed", "link", "envelope", "predicate"])
def test_whatever_was_done_to_a_pack_exits_with_integrity(say: Say, pack: Path, key: Path, what: str) -> None:
    image = pack / "data" / "DICOM" / "P000001" / "S0000001" / "I0000001"
    envelope = pack / "release.dsse.json"
    if what == "removed":
        image.unlink()
    elif what == "added":
        shutil.copy(image, image.with_name("I0000002"))
    elif what == "changed":
        image.write_bytes(b"Image")
    elif what == "renamed":
        image.rename(image.with_name("I0000002"))
    elif what == "link":
        image.rename(pack.parent / "elsewhere")
        image.symlink_to(pack.parent / "elsewhere")
    elif what == "envelope":
        envelope.unlink()
    else:
        value = json.loads(envelope.read_text())
        value["payload"] = value["payload"][:-8] + "AAAAAAA="
        envelope.write_text(json.dumps(value, indent=2) + "\n")
    said = say("verify", pack, "--key", key.with_name("house.pub.pem"))
    assert said.code == 6
    assert len(said.err.splitlines()) == 2


def test_a_pack_of_the_format_before_says_what_to_do(say: Say, tmp_path: Path) -> None:
    (tmp_path / "release.json").write_text('{"schema": "synthrelease.release/1"}')
    said = say("verify", tmp_path)
    assert said.code == 6
    assert "synthrelease 0.1.0" in said.err
    assert "seal the run again" in said.err


def test_an_unreadable_pack_is_no_fault_of_ours(say: Say, pack: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Path) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("synthrelease.release.verifying.digest_of_file", refuse)
    said = say("verify", pack)
    assert said.code == 8
    assert "Permission denied" in said.err

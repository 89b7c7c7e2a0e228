"""A pack that was touched does not verify, and says where."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from synthrelease.errors import ApprovalError, IntegrityError, UsageError
from synthrelease.records.digests import digest_of_file, manifest_of
from synthrelease.records.files import read_json
from synthrelease.records.manifest import manifest_bytes
from synthrelease.release import ReleaseRecord, Signature, seal, verify
from synthrelease.release.approvals import approval_of
from synthrelease.release.attestation import predicate_of, statement_bytes
from synthrelease.release.bag import Payload
from synthrelease.release.chain import START, from_lines
from synthrelease.release.envelope import Envelope, envelope_bytes, parse_envelope
from synthrelease.release.envelope import signed as signed_envelope
from synthrelease.release.keys import key_id
from synthrelease.release.pack import ABOVE_TAGS, read_release, release_bytes

NOW = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)


Forge = Callable[..., None]
IMAGE = "data/DICOM/P000002/S0000001/I0000001"


@pytest.fixture
def forge(key: Ed25519PrivateKey) -> Forge:
    """What a forger would do: make manifests, root digest and, given a key, the signature fit the changed files again."""

    def forged(pack: Path, signer: Ed25519PrivateKey | None = key, **changes: Any) -> None:
        old, _ = read_release(pack)
        found = {name: digest for name, digest in manifest_of(pack).items() if name not in ABOVE_TAGS}
        data = manifest_bytes((name, digest) for name, digest in found.items() if name.startswith("data/"))
        (pack / "manifest-sha256.txt").write_bytes(data)
        tags = {name: digest for name, digest in found.items() if not name.startswith("data/")}
        tags["manifest-sha256.txt"] = hashlib.sha256(data).hexdigest()
        (pack / "tagmanifest-sha256.txt").write_bytes(manifest_bytes(tags.items()))
        record = ReleaseRecord(
            **{
                **vars(old),
                "files": len(found),
                "manifest_digest": tags["manifest-sha256.txt"],
                "tag_manifest_digest": digest_of_file(pack / "tagmanifest-sha256.txt"),
                "key_id": None if signer is None else key_id(signer.public_key()),
                **changes,
            }
        ).rooted()
        (pack / "release.json").write_bytes(release_bytes(record))
        (pack / "release.dsse.json").unlink(missing_ok=True)
        if signer is not None:
            resign(pack, signer)

    return forged


def resign(pack: Path, signer: Ed25519PrivateKey, edit: Callable[[dict[str, Any]], object] = dict) -> None:
    """Sign the pack as it lies, with a predicate of its own records that ``edit`` may change."""
    record, content = read_release(pack)
    digests = {
        "manifest-sha256.txt": record.manifest_digest,
        "tagmanifest-sha256.txt": record.tag_manifest_digest,
        "release.json": hashlib.sha256(content).hexdigest(),
    }
    names = ("training", "audit", "archive")
    training, audit, archive = (read_json(pack / "evidence" / f"{name}.json") for name in names)
    text = (pack / "evidence" / "approvals.jsonl").read_text(encoding="utf-8")
    approvals = [approval_of(entry) for entry in from_lines(text, "approvals")]
    manifest = archive["manifest"]
    payload = Payload(manifest["sha256"], manifest["files"], manifest["bytes"])
    predicate = predicate_of(record, payload, training, audit, approvals)
    edit(predicate)
    envelope = signed_envelope(statement_bytes(digests, predicate), signer)
    (pack / "release.dsse.json").write_bytes(envelope_bytes(envelope))


def test_an_untouched_pack_verifies(pack: Path, key: Ed25519PrivateKey) -> None:
    root = read_release(pack)[0].root_digest
    without = verify(pack, None, NOW)
    assert (without.deposited, without.signature) == (False, Signature.UNCHECKED)
    result = verify(pack, root, NOW, key.public_key())
    assert (result.deposited, result.signature) == (True, Signature.CHECKED)
    assert result.record.approvers == ("Ada Approver", "Ben Botham")
    assert verify(pack, root[:16].upper(), NOW).files == result.record.files


def test_a_pack_that_is_not_signed_verifies_as_such_and_never_with_a_key(
    unsigned_pack: Path, key: Ed25519PrivateKey
) -> None:
    assert verify(unsigned_pack, None, NOW).signature is Signature.NONE
    with pytest.raises(IntegrityError, match="the pack is not signed"):
        verify(unsigned_pack, None, NOW, key.public_key())


def test_a_pack_verifies_wherever_it_is_copied_to(pack: Path, tmp_path: Path, key: Ed25519PrivateKey) -> None:
    shutil.copytree(pack, tmp_path / "disk" / "renamed")
    verify(tmp_path / "disk" / "renamed", None, NOW, key.public_key())


# The signature


def test_the_key_of_somebody_else_is_refused(pack: Path, other_key: Ed25519PrivateKey) -> None:
    with pytest.raises(IntegrityError, match="not by the one you gave") as caught:
        verify(pack, None, NOW, other_key.public_key())
    assert caught.value.exit_code == 6


def test_a_pack_that_somebody_else_signed_anew_is_refused(
    pack: Path, key: Ed25519PrivateKey, other_key: Ed25519PrivateKey, forge: Forge
) -> None:
    (pack / "TERMS.md").write_text("Do as you like.", encoding="utf-8")
    forge(pack, other_key)
    verify(pack, None, NOW, other_key.public_key())
    with pytest.raises(IntegrityError, match="not by the one you gave"):
        verify(pack, None, NOW, key.public_key())


def test_a_foreign_signature_under_the_right_name_is_refused(
    pack: Path, key: Ed25519PrivateKey, other_key: Ed25519PrivateKey
) -> None:
    path = pack / "release.dsse.json"
    envelope = parse_envelope(path.read_bytes())
    foreign = signed_envelope(envelope.payload, other_key)
    path.write_bytes(envelope_bytes(Envelope(envelope.payload, envelope.key_id, foreign.signature)))
    with pytest.raises(IntegrityError, match="does not hold"):
        verify(pack, None, NOW, key.public_key())


@pytest.mark.parametrize("with_key", [False, True])
def test_a_removed_signature_is_noticed(pack: Path, key: Ed25519PrivateKey, with_key: bool) -> None:
    (pack / "release.dsse.json").unlink()
    with pytest.raises(IntegrityError, match="its signature was removed"):
        verify(pack, None, NOW, key.public_key() if with_key else None)


def test_a_signature_removed_with_every_trace_of_it_is_noticed_by_whoever_has_the_key_or_the_root(
    pack: Path, key: Ed25519PrivateKey, forge: Forge
) -> None:
    root = read_release(pack)[0].root_digest
    forge(pack, None)
    assert verify(pack, None, NOW).signature is Signature.NONE
    with pytest.raises(IntegrityError, match="the pack is not signed"):
        verify(pack, None, NOW, key.public_key())
    with pytest.raises(IntegrityError, match="not the one expected"):
        verify(pack, root, NOW)


@pytest.mark.parametrize(
    "edit",
    [
        lambda p: p["privacy"].update(epsilon=0.1),
        lambda p: p["privacy"].update(unit="image"),
        lambda p: p["audit"].update(verdict="pass", findings=[]),
        lambda p: p["approvals"].pop(),
        lambda p: p["release"].update(expiresOn="2040-01-01T00:00:00Z"),
        lambda p: p["archive"].update(bytes=1),
        lambda p: p["records"].update(archive="0" * 64),
        lambda p: p.update(note="anonymous"),
    ],
)
def test_a_predicate_that_the_records_do_not_bear_out_is_refused_whoever_signed_it(
    pack: Path, key: Ed25519PrivateKey, edit: Callable[[dict[str, Any]], object]
) -> None:
    resign(pack, key, edit)
    for given in (None, key.public_key()):
        with pytest.raises(IntegrityError, match="something else than the records"):
            verify(pack, None, NOW, given)


def test_an_altered_predicate_does_not_keep_its_signature(pack: Path, key: Ed25519PrivateKey) -> None:
    path = pack / "release.dsse.json"
    envelope = parse_envelope(path.read_bytes())
    softer = envelope.payload.replace(b'"unit":"patient"', b'"unit":"persons"')
    assert softer != envelope.payload
    path.write_bytes(envelope_bytes(Envelope(softer, envelope.key_id, envelope.signature)))
    with pytest.raises(IntegrityError, match="does not hold"):
        verify(pack, None, NOW, key.public_key())
    with pytest.raises(IntegrityError, match="something else than the records"):
        verify(pack, None, NOW)


def test_the_envelope_of_another_pack_is_refused(
    pack: Path, signed: Path, tmp_path: Path, key: Ed25519PrivateKey
) -> None:
    seal(signed, tmp_path / "later", NOW + timedelta(days=1), key=key)
    shutil.copy(tmp_path / "later" / "release.dsse.json", pack / "release.dsse.json")
    with pytest.raises(IntegrityError, match=r"not what the statement .* names: release\.json"):
        verify(pack, None, NOW, key.public_key())


@pytest.mark.parametrize(
    "payload",
    [b"", b"[]", b"{}", b"[" * 3000, b'{"_type":"x","predicateType":"y","subject":[]}', b'{"subject":[{"name":1}]}'],
)
def test_a_signed_something_else_is_no_statement(pack: Path, key: Ed25519PrivateKey, payload: bytes) -> None:
    (pack / "release.dsse.json").write_bytes(envelope_bytes(signed_envelope(payload, key)))
    with pytest.raises(IntegrityError, match="statement"):
        verify(pack, None, NOW, key.public_key())


def test_every_byte_of_the_envelope_counts(pack: Path, key: Ed25519PrivateKey) -> None:
    path = pack / "release.dsse.json"
    whole = path.read_bytes()
    for place in range(0, len(whole), 7):
        for bit in (1, 32):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ bit]) + whole[place + 1 :])
            with pytest.raises(IntegrityError):
                verify(pack, None, NOW, key.public_key())


# Every file


@pytest.mark.parametrize("name", ["STATEMENT.txt", "evidence/dp_claim.json", "evidence/dp_registry.yaml"])
def test_a_softened_statement_is_noticed(pack: Path, name: str) -> None:
    path = pack / name
    text = path.read_text(encoding="utf-8")
    assert "not a strong guarantee" in " ".join(text.split())
    path.write_text(text.replace("not a", "a"), encoding="utf-8")
    with pytest.raises(IntegrityError, match=f"changed: {name}") as caught:
        verify(pack, None, NOW)
    assert caught.value.exit_code == 6


@pytest.mark.parametrize("expect", ["", "abc", "0" * 65, "not a digest", "0" * 11 + "\u0660", "\udcff\udcfe" * 32])
def test_what_is_no_root_digest_is_wrong_usage(pack: Path, expect: str) -> None:
    with pytest.raises(UsageError, match="no root digest"):
        verify(pack, expect, NOW)


@pytest.mark.parametrize("expect", ["0" * 64, "0" * 12])
def test_another_root_digest_than_the_expected_one_is_refused(pack: Path, expect: str) -> None:
    with pytest.raises(IntegrityError, match="not the one expected"):
        verify(pack, expect, NOW)


def test_one_flipped_byte_in_any_file_is_found_and_named(pack: Path) -> None:
    for path in sorted(p for p in pack.rglob("*") if p.is_file()):
        whole = path.read_bytes()
        name = path.relative_to(pack).as_posix()
        for place in (0, len(whole) // 2, len(whole) - 1):
            changed = bytearray(whole)
            changed[place] ^= 1
            path.write_bytes(bytes(changed))
            # A signature is only as good as the key it is checked with; without, its own bytes are not.
            pattern = "release" if name == "release.dsse.json" else name.replace(".", r"\.")
            with pytest.raises(IntegrityError, match=pattern) as caught:
                verify(pack, None, NOW)
            assert caught.value.exit_code == 6
        path.write_bytes(whole)
    verify(pack, None, NOW)


def test_every_byte_of_the_release_record_counts(pack: Path) -> None:
    path = pack / "release.json"
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 32]) + whole[place + 1 :])
        with pytest.raises(IntegrityError):
            read_release(pack)


def test_a_missing_file_is_named(pack: Path) -> None:
    (pack / IMAGE).unlink()
    with pytest.raises(IntegrityError, match=f"missing: {IMAGE}"):
        verify(pack, None, NOW)


@pytest.mark.parametrize("name", [IMAGE, "TERMS.md"])
def test_a_renamed_file_is_named_with_both_its_names(pack: Path, name: str) -> None:
    (pack / name).rename((pack / name).with_name("I0000009"))
    with pytest.raises(IntegrityError, match=f"missing: {name}; not part of the release: .*I0000009"):
        verify(pack, None, NOW)


def test_two_files_that_traded_places_are_both_named(pack: Path) -> None:
    other = IMAGE.replace("P000002", "P000003")
    (pack / IMAGE).rename(pack / "aside")
    (pack / other).rename(pack / IMAGE)
    (pack / "aside").rename(pack / other)
    with pytest.raises(IntegrityError, match=f"changed: {IMAGE}, {other}"):
        verify(pack, None, NOW)


@pytest.mark.parametrize(
    "name",
    [
        "data/EXTRA",
        "note.txt",
        "evidence/\x1b[2Jx",
        "data/release.json",
        "fetch.txt",
        "new/x",
        "data/DICOM/P000001/X\x1b[2J",
    ],
)
def test_an_extra_file_is_named_without_its_control_characters(pack: Path, name: str) -> None:
    (pack / name).parent.mkdir(exist_ok=True)
    (pack / name).write_text("x", encoding="utf-8")
    with pytest.raises(IntegrityError, match="not part of the release") as caught:
        verify(pack, None, NOW)
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize(
    "name", ["TERMS.md", IMAGE, "evidence", "data/DICOM/P000002", "data", "release.dsse.json", "manifest-sha256.txt"]
)
def test_a_link_is_not_a_file_even_to_the_same_bytes(pack: Path, tmp_path: Path, name: str) -> None:
    path = pack / name
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(IntegrityError):
        verify(pack, None, NOW)


def test_a_pipe_is_not_a_file_and_does_not_hang(pack: Path) -> None:
    for name in ("TERMS.md", IMAGE, "release.dsse.json"):
        content = (pack / name).read_bytes()
        (pack / name).unlink()
        os.mkfifo(pack / name)
        with pytest.raises(IntegrityError):
            verify(pack, None, NOW)
        (pack / name).unlink()
        (pack / name).write_bytes(content)
    verify(pack, None, NOW)


def test_a_folder_that_goes_down_for_ever_is_refused(pack: Path) -> None:
    deep = os.fspath(pack / "data")
    for _ in range(1500):
        deep += "/d"
        os.mkdir(deep)
    try:
        with pytest.raises(IntegrityError, match="data/ is missing or cannot be read"):
            verify(pack, None, NOW)
    finally:
        subprocess.run(["rm", "-rf", os.fspath(pack / "data" / "d")], check=True)


@pytest.mark.parametrize("outside", ["data/../../../etc/passwd", "/etc/passwd", "TERMS.md"])
def test_a_manifest_that_names_files_outside_of_the_archive_opens_none(pack: Path, forge: Forge, outside: str) -> None:
    manifest = pack / "manifest-sha256.txt"
    lines = sorted([*manifest.read_bytes().splitlines(keepends=True), f"{'0' * 64}  {outside}\n".encode()], key=_path)
    manifest.write_bytes(b"".join(lines))
    tags = pack / "tagmanifest-sha256.txt"
    named = dict(reversed(line.split("  ")) for line in tags.read_text().splitlines())
    named["manifest-sha256.txt"] = digest_of_file(manifest)
    tags.write_bytes(manifest_bytes(named.items()))
    changes = {"manifest_digest": digest_of_file(manifest), "tag_manifest_digest": digest_of_file(tags), "key_id": None}
    record = ReleaseRecord(**{**vars(read_release(pack)[0]), **changes}).rooted()
    (pack / "release.json").write_bytes(release_bytes(record))
    (pack / "release.dsse.json").unlink()
    with pytest.raises(IntegrityError, match=r"manifest-sha256\.txt"):
        verify(pack, None, NOW)


def _path(line: bytes) -> bytes:
    return line[66:]


def test_a_folder_that_is_no_pack_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match=r"release\.json is missing"):
        verify(tmp_path / "nothing", None, NOW)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"schema": "synthrelease.release/1"}, r"release/1, written by synthrelease 0\.1\.0 before packs were signed"),
        ({"schema": "synthrelease.release/9", "software": "synthrelease 3.2.1"}, r"written by synthrelease 3\.2\.1;"),
        ({"schema": "synthrelease.release/9", "software": "x\x1b[2J"}, "written by a later version"),
        ({"schema": "somebody.else/1"}, "not as it was sealed"),
        ({"schema": 7}, "not as it was sealed"),
        ([], "not as it was sealed"),
    ],
)
def test_a_pack_of_another_version_says_which_and_what_to_do(tmp_path: Path, values: Any, told: str) -> None:
    (tmp_path / "release.json").write_text(json.dumps(values))
    with pytest.raises(IntegrityError, match=told) as caught:
        verify(tmp_path, None, NOW)
    assert caught.value.exit_code == 6


def test_an_expired_release_is_refused(pack: Path) -> None:
    end = datetime(2027, 3, 1, 9, 30, tzinfo=UTC)
    verify(pack, None, end - timedelta(seconds=1))
    with pytest.raises(ApprovalError, match="expired") as caught:
        verify(pack, None, end)
    assert caught.value.exit_code == 7


def test_a_longer_life_than_the_approvals_give_is_noticed(pack: Path, forge: Forge) -> None:
    forge(pack, expires_on="2040-01-01T00:00:00Z")
    with pytest.raises(IntegrityError, match="dates of expiry"):
        verify(pack, None, NOW)


def _edit(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    values = json.loads(path.read_text(encoding="utf-8"))
    change(values)
    path.write_text(json.dumps(values), encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("audit.json", lambda v: v["extract_of"].update(digest=START)),
        ("audit.json", lambda v: v.update(verdict="fail")),
        ("audit.json", lambda v: v["digests"].update(archive=START)),
        ("archive.json", lambda v: v["manifest"].update(files=2)),
        ("archive.json", lambda v: v["parents"].update(training=START)),
        ("archive.json", lambda v: v.update(class_counts={"normal": 3})),
        ("training.json", lambda v: v["parents"].update(policy=START)),
        ("policy.resolved.json", lambda v: v["extract_of"].update(digest=START)),
    ],
)
def test_records_that_contradict_each_other_are_noticed_even_when_resealed_with_the_key(
    pack: Path, forge: Forge, key: Ed25519PrivateKey, name: str, change: Callable[[dict[str, Any]], None]
) -> None:
    _edit(pack / "evidence" / name, change)
    forge(pack)
    with pytest.raises(IntegrityError, match=name.replace(".", r"\.")):
        verify(pack, None, NOW, key.public_key())


@pytest.mark.parametrize("change", ["added", "removed", "changed"])
def test_an_archive_that_nobody_approved_is_noticed_even_when_resealed_with_the_key(
    pack: Path, forge: Forge, key: Ed25519PrivateKey, change: str
) -> None:
    """Manifests, root digest and signature are all made to fit: archive.json, whose digest was approved, does not."""
    if change == "removed":
        (pack / IMAGE).unlink()
    else:
        (pack / (IMAGE if change == "changed" else "data/ADDED")).write_bytes(b"real patient")
    forge(pack)
    with pytest.raises(IntegrityError, match=r"evidence/archive\.json"):
        verify(pack, None, NOW, key.public_key())


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("archive.json", b"[1]"),
        ("audit.json", b"{}"),
        ("training.json", b"[" * 5000),
        ("policy.resolved.json", b"\xff"),
        ("approvals.jsonl", b"\xff\n"),
        ("approvals.jsonl", b"{}\n"),
    ],
)
def test_nonsense_in_the_evidence_is_refused_and_is_no_fault_of_ours(
    pack: Path, forge: Forge, name: str, content: bytes
) -> None:
    (pack / "evidence" / name).write_bytes(content)
    forge(pack, None)
    with pytest.raises(IntegrityError, match=r"evidence/"):
        verify(pack, None, NOW)


@pytest.mark.parametrize("name", ["bagit.txt", "bag-info.txt"])
def test_a_bag_that_describes_something_else_is_refused(pack: Path, forge: Forge, name: str) -> None:
    (pack / name).write_text("External-Identifier: another release\n")
    forge(pack)
    with pytest.raises(IntegrityError, match=f"{name} does not describe"):
        verify(pack, None, NOW)


@pytest.mark.parametrize(
    "change",
    [{"files": "many"}, {"approvers": (1, 2)}, {"claim": None}, {"digests": {"a": 1}}, {"claim": "safe\x1b[2J"}],
)
def test_a_record_with_fields_of_another_kind_is_refused(pack: Path, forge: Forge, change: dict[str, Any]) -> None:
    forge(pack, None, **change)
    with pytest.raises(IntegrityError, match=r"release\.json"):
        verify(pack, None, NOW)


def test_a_resealed_pack_has_another_root_digest(pack: Path, forge: Forge) -> None:
    root = read_release(pack)[0].root_digest
    (pack / "TERMS.md").write_text("Do as you like.", encoding="utf-8")
    forge(pack)
    verify(pack, None, NOW)
    with pytest.raises(IntegrityError, match="not the one expected"):
        verify(pack, root, NOW)


def test_a_pack_without_its_second_approval_is_refused(pack: Path, forge: Forge) -> None:
    path = pack / "evidence" / "approvals.jsonl"
    path.write_text(path.read_text(encoding="utf-8").splitlines()[0] + "\n", encoding="utf-8")
    forge(pack, approvers=("Ada Approver",))
    with pytest.raises(ApprovalError, match="two different people"):
        verify(pack, None, NOW)


def test_verifying_loads_no_deep_learning_and_no_dicom_library(pack: Path) -> None:
    program = (
        "import sys\nfrom datetime import UTC, datetime\nfrom pathlib import Path\nfrom synthrelease.release import verify\n"
        "verify(Path(sys.argv[1]), None, datetime(2026, 3, 1, 9, 30, tzinfo=UTC))\n"
        "print(sorted({'torch', 'opacus', 'highdicom', 'pydicom', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program, str(pack)], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"

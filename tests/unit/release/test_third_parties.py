"""Others check a pack without us: bagit, sha256sum, openssl and securesystemslib, each as a recipient would run it."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import bagit
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from securesystemslib.dsse import Envelope as TheirEnvelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import CryptoSigner, SSlibKey

from synthrelease.release.bag import info_text
from synthrelease.release.checking import CHECK_FILES, CHECK_SIGNATURE, KEY_ID
from synthrelease.release.envelope import PAYLOAD_TYPE, pae, parse_envelope
from synthrelease.release.envelope import signed as signed_envelope
from synthrelease.release.keys import key_id
from synthrelease.release.pack import SUBJECTS

NOW = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
DOCS = Path(__file__).parents[3] / "docs" / "release.md"
IMAGE = "data/DICOM/P000002/S0000001/I0000001"


def _openssl_signs_ed25519() -> bool:
    openssl = shutil.which("openssl")
    if openssl is None:
        return False
    said = subprocess.run([openssl, "version"], capture_output=True, text=True, check=False).stdout
    return re.match(r"OpenSSL (3|[4-9])\.", said) is not None


needs_sha256sum = pytest.mark.skipif(shutil.which("sha256sum") is None, reason="sha256sum is not installed")
needs_openssl = pytest.mark.skipif(not _openssl_signs_ed25519(), reason="OpenSSL 3 is not installed")


def pem(key: Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def blocks(page: str) -> list[str]:
    """The commands that a page prints."""
    return re.findall(r"^```sh\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)


def typed(commands: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run commands as somebody who types them into a shell in ``folder``."""
    return subprocess.run(["sh"], input=commands, cwd=folder, capture_output=True, text=True, check=False)


# BagIt


def test_the_pack_is_a_valid_bag(pack: Path, unsigned_pack: Path) -> None:
    for folder in (pack, unsigned_pack):
        bag = bagit.Bag(os.fspath(folder))
        assert bag.validate()
        assert bag.version == "1.0"
        assert bag.info["External-Identifier"] == "chest-2026"
        assert bag.algorithms == ["sha256"]
        assert "evidence/audit.json" in bag.entries


@pytest.mark.parametrize("name", [IMAGE, "TERMS.md", "evidence/audit.json", "bag-info.txt"])
def test_the_bag_library_finds_a_flipped_byte(pack: Path, name: str) -> None:
    content = bytearray((pack / name).read_bytes())
    content[-1] ^= 1
    (pack / name).write_bytes(bytes(content))
    with pytest.raises(bagit.BagValidationError, match=re.escape(name)):
        bagit.Bag(os.fspath(pack)).validate()


def test_the_bag_library_finds_an_extra_and_a_missing_file(pack: Path) -> None:
    (pack / "data" / "EXTRA").write_bytes(b"x")
    with pytest.raises(bagit.BagValidationError):
        bagit.Bag(os.fspath(pack)).validate()
    (pack / "data" / "EXTRA").unlink()
    (pack / IMAGE).unlink()
    with pytest.raises(bagit.BagValidationError):
        bagit.Bag(os.fspath(pack)).validate()


# The signature, by another implementation


def their_key(key: Ed25519PrivateKey) -> SSlibKey:
    return SSlibKey.from_crypto(key.public_key(), keyid=key_id(key.public_key()))


def test_another_dsse_library_accepts_the_signature(pack: Path, key: Ed25519PrivateKey) -> None:
    envelope = TheirEnvelope.from_dict(json.loads((pack / "release.dsse.json").read_bytes()))
    assert list(envelope.verify([their_key(key)], 1)) == [key_id(key.public_key())]
    statement = json.loads(envelope.payload)
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert [subject["name"] for subject in statement["subject"]] == list(SUBJECTS)
    assert statement["predicate"]["privacy"]["delta"] == 1e-5


def test_another_dsse_library_refuses_an_altered_statement(pack: Path, key: Ed25519PrivateKey) -> None:
    value = json.loads((pack / "release.dsse.json").read_bytes())
    softer = base64.b64decode(value["payload"]).replace(b'"unit":"patient"', b'"unit":"persons"')
    value["payload"] = base64.b64encode(softer).decode()
    with pytest.raises(VerificationError):
        TheirEnvelope.from_dict(value).verify([their_key(key)], 1)


def test_what_another_dsse_library_signs_is_ours_byte_for_byte(pack: Path, key: Ed25519PrivateKey) -> None:
    ours = parse_envelope((pack / "release.dsse.json").read_bytes())
    theirs = TheirEnvelope(ours.payload, PAYLOAD_TYPE, {})
    assert theirs.pae() == pae(PAYLOAD_TYPE, ours.payload)
    made = theirs.sign(CryptoSigner(key, their_key(key)))
    assert bytes.fromhex(made.signature) == ours.signature == signed_envelope(ours.payload, key).signature


# The commands that RELEASE.md and docs/release.md print


@needs_sha256sum
@needs_openssl
def test_the_commands_of_the_first_page_check_the_pack(pack: Path, key: Ed25519PrivateKey) -> None:
    (pack.parent / "KEY.pub.pem").write_bytes(pem(key))
    check, name_of_key = blocks((pack / "RELEASE.md").read_text(encoding="utf-8"))
    before = sorted(pack.rglob("*"))
    done = typed(check, pack)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "all as signed"
    assert sorted(pack.rglob("*")) == before
    assert typed(name_of_key, pack).stdout.split()[0] == key_id(key.public_key())


@needs_sha256sum
def test_the_commands_of_an_unsigned_pack_check_its_files(unsigned_pack: Path) -> None:
    (check,) = blocks((unsigned_pack / "RELEASE.md").read_text(encoding="utf-8"))
    done = typed(check, unsigned_pack)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "the files fit together"
    (unsigned_pack / "data" / "EMPTY").mkdir()
    assert typed(check, unsigned_pack).returncode != 0
    (unsigned_pack / "data" / "EMPTY").rmdir()
    assert typed(check, unsigned_pack).returncode == 0
    (unsigned_pack / IMAGE).write_bytes(b"other")
    assert typed(check, unsigned_pack).returncode != 0


def test_the_guide_prints_the_commands_that_are_tested() -> None:
    printed = blocks(DOCS.read_text(encoding="utf-8"))
    for commands in (CHECK_SIGNATURE, CHECK_FILES, KEY_ID):
        assert commands in printed


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def _link(path: Path) -> None:
    path.rename(path.parents[1] / "elsewhere")
    path.symlink_to(path.parents[1] / "elsewhere")


TAMPERED: dict[str, Callable[[Path], Any]] = {
    "an image changed": lambda pack: _flip(pack / IMAGE),
    "a page changed": lambda pack: _flip(pack / "TERMS.md"),
    "a file removed": lambda pack: (pack / IMAGE).unlink(),
    "a file added": lambda pack: (pack / "data" / "EXTRA").write_bytes(b"x"),
    "an empty folder added": lambda pack: (pack / "data" / "DICOM" / "ABERNATHY").mkdir(),
    "a page added": lambda pack: (pack / "evidence" / "more.json").write_bytes(b"{}"),
    "a file renamed": lambda pack: (pack / IMAGE).rename(pack / IMAGE.replace("I0", "I1")),
    "a file became a link": lambda pack: _link(pack / "TERMS.md"),
    "the record changed": lambda pack: _flip(pack / "release.json"),
    "the manifest changed": lambda pack: _flip(pack / "manifest-sha256.txt"),
    "the statement changed": lambda pack: _flip(pack / "release.dsse.json"),
    "the envelope removed": lambda pack: (pack / "release.dsse.json").unlink(),
    "another key": lambda pack: (pack.parent / "KEY.pub.pem").write_bytes(
        pem(Ed25519PrivateKey.from_private_bytes(b"x" * 32))
    ),
}


@needs_sha256sum
@needs_openssl
@pytest.mark.parametrize("what", TAMPERED)
def test_the_commands_find_what_was_tampered_with(pack: Path, key: Ed25519PrivateKey, what: str) -> None:
    (pack.parent / "KEY.pub.pem").write_bytes(pem(key))
    TAMPERED[what](pack)
    done = typed(CHECK_SIGNATURE, pack)
    assert done.returncode != 0
    assert "all as signed" not in done.stdout


def test_a_bags_description_is_one_line_a_field() -> None:
    from synthrelease.release.bag import Payload

    text = info_text("chest", "2026-03-01T00:00:00Z", "synthrelease 1", Payload("0" * 64, 3, 20))
    assert all(re.fullmatch(r"[A-Z][A-Za-z-]+: \S.*", line) for line in text.splitlines())

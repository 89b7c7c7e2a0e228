"""Keys: made once, for their owner alone, and read back only as what they are."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_public_key,
)

from synthrelease.errors import UnsuitableData, UsageError
from synthrelease.release.keys import (
    generate,
    key_id,
    public_path,
    read_passphrase,
    read_private,
    read_public,
)

WORDS = b"correct horse battery staple"


def nobody() -> bytes:
    raise AssertionError("the passphrase was asked for")


def test_a_key_under_a_passphrase_is_read_back_with_it_and_only_with_it(tmp_path: Path) -> None:
    path = tmp_path / "house.pem"
    made = generate(path, WORDS)
    assert b"BEGIN ENCRYPTED PRIVATE KEY" in path.read_bytes()
    key = read_private(path, lambda: WORDS)
    assert key_id(key.public_key()) == made
    for wrong in (b"", b"wrong", WORDS + b" "):
        with pytest.raises(UsageError, match="the passphrase does not open it"):
            read_private(path, lambda wrong=wrong: wrong)


def test_both_halves_belong_together_and_the_private_one_to_its_owner(tmp_path: Path) -> None:
    made = generate(tmp_path / "house.pem", None)
    assert stat.S_IMODE((tmp_path / "house.pem").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "house.pub.pem").stat().st_mode) == 0o644
    private = read_private(tmp_path / "house.pem", nobody)
    public = read_public(tmp_path / "house.pub.pem")
    assert key_id(private.public_key()) == key_id(public) == made
    assert sorted(path.name for path in tmp_path.iterdir()) == ["house.pem", "house.pub.pem"]


def test_the_id_is_the_digest_of_the_public_keys_der_form(tmp_path: Path) -> None:
    made = generate(tmp_path / "house.pem", None)
    key = load_pem_public_key((tmp_path / "house.pub.pem").read_bytes())
    assert hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest() == made


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_openssl_reads_both_halves(tmp_path: Path) -> None:
    generate(tmp_path / "house.pem", WORDS)
    (tmp_path / "words").write_bytes(WORDS + b"\n")
    shown = subprocess.run(
        ["openssl", "pkey", "-in", "house.pem", "-passin", "file:words", "-pubout"],
        cwd=tmp_path,
        capture_output=True,
        check=True,
    )
    assert shown.stdout == (tmp_path / "house.pub.pem").read_bytes()


@pytest.mark.parametrize("there", ["house.pem", "house.pub.pem"])
def test_nothing_is_ever_overwritten(tmp_path: Path, there: str) -> None:
    (tmp_path / there).write_text("mine")
    with pytest.raises(UsageError, match="never overwritten"):
        generate(tmp_path / "house.pem", None)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(there, "mine")]


def test_a_link_to_nowhere_is_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "house.pem").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match="never overwritten"):
        generate(tmp_path / "house.pem", None)
    assert not (tmp_path / "elsewhere").exists()


def test_a_half_that_cannot_be_written_leaves_no_other_half(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from synthrelease.release import keys

    real = keys.create_private

    def full(path: Path, content: bytes) -> bytes:
        if path.name.endswith(".pub.pem"):
            raise UnsuitableData("cannot write", fix="Free space.")
        return real(path, content)

    monkeypatch.setattr(keys, "create_private", full)
    with pytest.raises(UnsuitableData):
        generate(tmp_path / "house.pem", None)
    assert list(tmp_path.iterdir()) == []


def test_another_process_that_was_quicker_keeps_its_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("synthrelease.release.keys.os.path.lexists", lambda _: False)
    (tmp_path / "house.pem").write_bytes(b"theirs")
    with pytest.raises(UsageError, match="never overwritten"):
        generate(tmp_path / "house.pem", None)
    assert (tmp_path / "house.pem").read_bytes() == b"theirs"


@pytest.mark.parametrize("short", [b"", b"eleven char"])
def test_a_short_passphrase_is_refused(tmp_path: Path, short: bytes) -> None:
    with pytest.raises(UsageError, match="fewer than 12 characters"):
        generate(tmp_path / "house.pem", short)
    assert list(tmp_path.iterdir()) == []


def test_a_private_key_that_others_may_read_does_not_sign(tmp_path: Path) -> None:
    generate(tmp_path / "house.pem", None)
    (tmp_path / "house.pem").chmod(0o640)
    with pytest.raises(UsageError, match="others than its owner"):
        read_private(tmp_path / "house.pem", nobody)


def test_what_is_no_such_key_is_refused(tmp_path: Path) -> None:
    curve = generate_private_key(SECP256R1())
    generate(tmp_path / "house.pem", None)
    contents = {
        "text": b"hello",
        "empty": b"",
        "large": b"x" * 100_000,
        "curve.pem": curve.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        "curve.pub.pem": curve.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        (tmp_path / name).chmod(0o600)
        with pytest.raises(UsageError):
            read_private(tmp_path / name, nobody)
        with pytest.raises(UsageError):
            read_public(tmp_path / name)
    with pytest.raises(UsageError, match="no file"):
        read_public(tmp_path / "absent")


def test_a_private_key_is_not_taken_for_a_public_one(tmp_path: Path) -> None:
    generate(tmp_path / "house.pem", WORDS)
    with pytest.raises(UsageError, match="is a private key"):
        read_public(tmp_path / "house.pem")


def test_a_passphrase_is_the_first_line_of_its_file(tmp_path: Path) -> None:
    for content in (b"a b \n", b"a b \r\n", b"a b ", b"a b \nmore\n"):
        (tmp_path / "words").write_bytes(content)
        assert read_passphrase(tmp_path / "words") == b"a b "
    (tmp_path / "words").write_bytes(b"\nlater")
    with pytest.raises(UsageError, match="is empty"):
        read_passphrase(tmp_path / "words")


def test_a_key_is_an_ordinary_file_and_a_passphrase_may_come_from_a_pipe(tmp_path: Path) -> None:
    """A pipe that nobody writes to would hold the verb for ever."""
    pipe, folder = tmp_path / "pipe", tmp_path / "folder"
    os.mkfifo(pipe, 0o600)
    folder.mkdir(0o700)
    for path in (pipe, folder, Path("/dev/null")):
        with pytest.raises(UsageError):
            read_public(path)
        with pytest.raises(UsageError):
            read_private(path, lambda: b"")
    with pytest.raises(UsageError, match="folder"):
        read_passphrase(folder)
    with pytest.raises(UsageError, match="there is no file"):
        read_public(tmp_path / "pipe" / "KEY.pub.pem")
    ends = os.pipe()
    os.write(ends[1], b"correct horse battery\n")
    os.close(ends[1])
    assert read_passphrase(Path(f"/dev/fd/{ends[0]}")) == b"correct horse battery"
    os.close(ends[0])


def test_names_of_the_public_half() -> None:
    assert public_path(Path("a/house.pem")) == Path("a/house.pub.pem")
    assert public_path(Path("house.key")) == Path("house.key.pub.pem")


def test_no_two_keys_are_the_same(tmp_path: Path) -> None:
    assert generate(tmp_path / "a.pem", None) != generate(tmp_path / "b.pem", None)
    assert isinstance(read_private(tmp_path / "a.pem", nobody), Ed25519PrivateKey)

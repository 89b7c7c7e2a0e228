"""Ed25519 keys that sign releases: made, written and read as PEM, and named by a digest.

KEY.pem       PKCS #8, under a passphrase unless it was refused in so many words, mode 0600, never overwritten
KEY.pub.pem   SubjectPublicKeyInfo; goes to recipients, by another way than the pack
key id        SHA-256 of the SubjectPublicKeyInfo in DER, 64 hex digits
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from synthrelease.errors import UnsuitableData, UsageError
from synthrelease.records.private_files import create_private

SHORTEST_PASSPHRASE = 12
"""Characters. The PEM's own key stretching is modest, so length has to make up for it."""

_MOST = 1 << 16
_BEGIN_PRIVATE = (b"PRIVATE KEY-----", b"OPENSSH PRIVATE KEY")


def key_id(key: Ed25519PublicKey) -> str:
    """The name of a key: SHA-256 of its SubjectPublicKeyInfo, 64 hex digits."""
    return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def public_path(path: Path) -> Path:
    """Where the public half of a key lies.

    >>> public_path(Path("house.pem")).name, public_path(Path("house")).name
    ('house.pub.pem', 'house.pub.pem')
    """
    return path.with_name(path.name.removesuffix(".pem") + ".pub.pem")


def generate(path: Path, passphrase: bytes | None) -> str:
    """Make a key pair and write both halves; neither is ever overwritten.

    Args:
        path: Of the private half.
        passphrase: It is encrypted under this; None: it lies there in the clear, for its owner alone.

    Returns:
        The key id.

    Raises:
        UsageError: A half is there already, or the passphrase is too short.
        UnsuitableData: The place cannot be written; nothing is left behind.
    """
    public = public_path(path)
    for place in (path, public):
        if os.path.lexists(place):
            raise UsageError(f"{place.name} exists already; a key is never overwritten", fix="Name another --out.")
    if passphrase is not None and len(passphrase.decode("utf-8", errors="replace")) < SHORTEST_PASSPHRASE:
        raise UsageError(
            f"the passphrase has fewer than {SHORTEST_PASSPHRASE} characters", fix="Choose a longer one, several words."
        )
    protection: KeySerializationEncryption = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    key = Ed25519PrivateKey.generate()
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, protection)
    shown = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    _create(path, secret)
    try:
        _create(public, shown)
        public.chmod(0o644)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return key_id(key.public_key())


def _create(path: Path, content: bytes) -> None:
    if create_private(path, content) != content:  # another process was quicker
        raise UsageError(f"{path.name} exists already; a key is never overwritten", fix="Name another --out.")


def read_private(path: Path, passphrase: Callable[[], bytes]) -> Ed25519PrivateKey:
    """Read a private key.

    Args:
        path: PEM file, PKCS #8.
        passphrase: Asked only when the key is encrypted.

    Raises:
        UsageError: It is not there, others may read it, it is not such a key, or the passphrase is wrong.
    """
    content = _content(path)
    if path.stat().st_mode & 0o077:
        raise UsageError(
            f"others than its owner may read the private key {path.name}",
            fix=f"If nobody did, `chmod 600 {path.name}`; otherwise make a new key with `synthrelease keygen`.",
        )
    secret = passphrase() if b"-----BEGIN ENCRYPTED PRIVATE KEY-----" in content else None
    try:
        key = load_pem_private_key(content, secret)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        why = "the passphrase does not open it" if secret is not None else "it is not a private key in PEM form"
        raise UsageError(f"cannot read the key {path.name}: {why}", fix="Name a key that keygen made.") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise UsageError(f"{path.name} is not an Ed25519 key", fix="Make one with `synthrelease keygen`.")
    return key


def read_public(path: Path) -> Ed25519PublicKey:
    """Read a public key.

    Raises:
        UsageError: It is not there, it is a private key, or it is not an Ed25519 key.
    """
    content = _content(path)
    if any(mark in content for mark in _BEGIN_PRIVATE):
        raise UsageError(
            f"{path.name} is a private key",
            fix="Verify with its public half, KEY.pub.pem; a private key never travels.",
        )
    try:
        key = load_pem_public_key(content)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise UsageError(
            f"{path.name} is not a public key in PEM form", fix="Ask the sender for KEY.pub.pem."
        ) from error
    if not isinstance(key, Ed25519PublicKey):
        raise UsageError(f"{path.name} is not an Ed25519 key", fix="Ask the sender for KEY.pub.pem.")
    return key


def read_passphrase(path: Path) -> bytes:
    """The first line of a file, without its end.

    Raises:
        UsageError: The file cannot be read or its first line is empty.
    """
    line = _content(path, from_pipe=True).split(b"\n", 1)[0].removesuffix(b"\r")
    if not line:
        raise UsageError(f"the first line of {path.name} is empty", fix="Write the passphrase on its first line.")
    return line


def _content(path: Path, *, from_pipe: bool = False) -> bytes:
    """What a file holds; a passphrase may also come from a pipe, as a shell's ``<(command)`` makes one."""
    try:
        # Without waiting: an open pipe that nobody writes to would hold the verb for ever.
        descriptor = os.open(path, os.O_RDONLY | (0 if from_pipe else os.O_NONBLOCK))
        with open(descriptor, "rb") as stream:
            mode = os.fstat(descriptor).st_mode
            if not (stat.S_ISREG(mode) or (from_pipe and not stat.S_ISDIR(mode))):
                raise UsageError(f"{path.name} is no ordinary file", fix="Name the file itself.")
            content = stream.read(_MOST + 1)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UsageError(f"there is no file {path}", fix="Name the file with its folder.") from error
    except IsADirectoryError as error:
        raise UsageError(f"{path.name} is a folder", fix="Name the file itself.") from error
    except OSError as error:
        raise UnsuitableData(f"cannot read {path.name}: {error.strerror}", fix="Check its permissions.") from error
    if len(content) > _MOST:
        raise UsageError(f"{path.name} is too large for a key or a passphrase", fix="Name another file.")
    return content

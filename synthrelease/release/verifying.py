"""Verifying: a recipient checks a pack offline, with nothing but the pack and what the sender gave by another way.

release.json      is one, of this version, and has the root digest expected
release.dsse.json is signed by the key given, and names release.json and both manifests as they lie here
every file        is as the manifests say, and there is no other
evidence/         the records that were signed are those of this very archive
approvals         two people, and not expired
"""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from synthrelease.errors import ApprovalError, IntegrityError, UnsuitableData, UsageError
from synthrelease.records.digests import digest_of_file
from synthrelease.release import bag
from synthrelease.release.attestation import require_same_statement, require_subjects
from synthrelease.release.bag import ASK_AGAIN, PAYLOAD_MANIFEST, TAG_MANIFEST, Payload
from synthrelease.release.contents import Problems, check_archive, check_pages
from synthrelease.release.dates import parse_time
from synthrelease.release.envelope import ENVELOPE, Envelope, check_signature, parse_envelope
from synthrelease.release.evidence_reading import read_evidence
from synthrelease.release.pack import ABOVE_TAGS, RELEASE, ReleaseRecord, bounded, read_release

THREADS = 1
"""Files read at the same time. Hashing small files is bound by one core; more threads wait for each other."""


class Signature(StrEnum):
    """What is known of a pack's signature."""

    CHECKED = "checked"
    UNCHECKED = "not checked"
    NONE = "not signed"


@dataclass(frozen=True)
class VerifyResult:
    """A pack that holds.

    Attributes:
        record: What the pack says of itself.
        files: Number of files whose digest was compared.
        deposited: Whether the root digest was compared with one known from elsewhere.
        signature: Whether the signature was checked. Without that and without ``deposited``, a pack that was replaced
            as a whole would verify too.
    """

    record: ReleaseRecord
    files: int
    deposited: bool
    signature: Signature


def verify(pack: Path, expect: str | None, now: datetime, key: Ed25519PublicKey | None = None) -> VerifyResult:
    """Check the signature, every byte of a pack, the records in it against each other, and that it has not expired.

    Args:
        pack: The pack's folder.
        expect: Root digest known from elsewhere, or at least its first 12 digits; None to go without.
        now: The time, with its zone.
        key: The sender's public key; None to go without, which the result tells.

    Raises:
        IntegrityError: The signature is missing or does not hold, a file was changed, added or removed, or the records
            contradict each other; names the files.
        ApprovalError: The release has expired, or its approvals are not by two different people.
        UsageError: ``expect`` is no root digest.
        UnsuitableData: The disk or its permissions do not let the pack be read.
    """
    try:
        return _verify(pack, expect, now, key)
    except OSError as error:
        raise UnsuitableData(
            f"the pack cannot be read: {error.strerror}", fix="Check its permissions and the disk, then verify again."
        ) from error


def _verify(pack: Path, expect: str | None, now: datetime, key: Ed25519PublicKey | None) -> VerifyResult:
    record, content = read_release(pack)
    _expected_root(record, expect)
    envelope = _envelope(pack, record, key)
    subjects = {
        RELEASE: hashlib.sha256(content).hexdigest(),
        PAYLOAD_MANIFEST: record.manifest_digest,
        TAG_MANIFEST: record.tag_manifest_digest,
    }
    if envelope is not None:
        require_subjects(envelope, subjects)
    _manifests(pack, record)
    manifest, files, tags = _every_file(pack, record, signed=envelope is not None)
    evidence = read_evidence(pack, record, manifest, files, tags)
    _bag(record, evidence.payload, tags)
    if envelope is not None:
        require_same_statement(envelope, subjects, record, evidence)
    if now >= parse_time(record.expires_on):
        raise ApprovalError(
            f"the release expired on {record.expires_on}",
            fix="Delete this copy, or ask the contact for a renewed release.",
        )
    checked = Signature.NONE if envelope is None else Signature.UNCHECKED if key is None else Signature.CHECKED
    return VerifyResult(record, record.files, deposited=expect is not None, signature=checked)


def _expected_root(record: ReleaseRecord, expect: str | None) -> None:
    if expect is None:
        return
    wanted = expect.strip().lower()
    if not re.fullmatch("[0-9a-f]{12,64}", wanted):
        raise UsageError(
            "what is expected is no root digest: that has 64 hexadecimal digits",
            fix="Give it as the sender told it, all digits or at least the first 12.",
        )
    if not hmac.compare_digest(record.root_digest[: len(wanted)].encode(), wanted.encode()):
        raise IntegrityError(f"the root digest is {record.root_digest}, not the one expected", fix=ASK_AGAIN)


def _envelope(pack: Path, record: ReleaseRecord, key: Ed25519PublicKey | None) -> Envelope | None:
    """The envelope, its signature checked where a key was given; None for a pack that says that it is not signed."""
    try:
        content = bounded(pack / ENVELOPE)
    except FileNotFoundError:
        content = None
    except (OSError, ValueError) as error:
        raise IntegrityError(f"{ENVELOPE} cannot be read", fix=ASK_AGAIN) from error
    if content is None:
        if record.key_id is not None:
            raise IntegrityError(
                f"{ENVELOPE} is missing: the pack was signed, and its signature was removed", fix=ASK_AGAIN
            )
        if key is not None:
            raise IntegrityError(
                f"the pack is not signed: it has no {ENVELOPE} and says that it never had one",
                fix="Ask the sender for a signed pack. To check the rest, verify without --key.",
            )
        return None
    envelope = parse_envelope(content)
    if key is not None:
        check_signature(envelope, key)
    if envelope.key_id != record.key_id:
        raise IntegrityError(f"{ENVELOPE} and {RELEASE} name different keys", fix=ASK_AGAIN)
    return envelope


def _manifests(pack: Path, record: ReleaseRecord) -> None:
    """Both manifests are the sealed ones."""
    for name, digest in ((PAYLOAD_MANIFEST, record.manifest_digest), (TAG_MANIFEST, record.tag_manifest_digest)):
        path = pack / name
        if path.is_symlink() or not path.is_file() or digest_of_file(path) != digest:
            raise IntegrityError(f"{name} is missing or is not as it was sealed", fix=ASK_AGAIN)


def _every_file(pack: Path, record: ReleaseRecord, *, signed: bool) -> tuple[str, int, dict[str, str]]:
    """The folder holds exactly the files that the manifests name, with the bytes they name.

    Returns:
        Digest of the archive's manifest, its number of files, and digests of all pages by their names.
    """
    found = Problems()
    tags = check_pages(pack, ABOVE_TAGS if signed else ABOVE_TAGS[:-1], found)
    if tags.get(PAYLOAD_MANIFEST) != record.manifest_digest:
        raise IntegrityError(f"{TAG_MANIFEST} names another {PAYLOAD_MANIFEST} than {RELEASE}", fix=ASK_AGAIN)
    manifest, files = check_archive(pack, found, THREADS)
    found.refuse(ASK_AGAIN)
    if files + len(tags) != record.files:
        raise IntegrityError(f"{RELEASE} counts {record.files} files, the manifests {files + len(tags)}", fix=ASK_AGAIN)
    return manifest, files, tags


def _bag(record: ReleaseRecord, payload: Payload, tags: dict[str, str]) -> None:
    """The bag's declaration and description are those of this release."""
    text = bag.info_text(record.name, record.released_on, record.software, payload)
    for name, expected in ((bag.DECLARATION_FILE, bag.DECLARATION), (bag.INFO_FILE, text)):
        if tags.get(name) != hashlib.sha256(expected.encode()).hexdigest():
            raise IntegrityError(f"{name} does not describe this pack", fix=ASK_AGAIN)

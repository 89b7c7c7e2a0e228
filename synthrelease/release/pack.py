"""The layout of a release pack: its file names, its manifest and its own record."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from synthrelease.errors import IntegrityError
from synthrelease.records.digests import digest_of

MANIFEST = "manifest-sha256.txt"
RELEASE = "release.json"
SCHEMA = "synthrelease.release/1"


@dataclass(frozen=True)
class ReleaseRecord:
    """release.json: what was sealed, until when, and the digests that everything else hangs from.

    Attributes:
        name: Name of the release.
        released_on: UTC.
        expires_on: UTC; the earliest end of an approval.
        approvers: Who signed, as typed.
        digests: Records that were signed: audit, archive, training, policy.
        images: Synthetic images in the archive.
        files: Files of the pack, without the manifest and this record.
        claim: The privacy claim in one sentence.
        manifest_digest: SHA-256 of manifest-sha256.txt.
        root_digest: SHA-256 of all the fields above in canonical JSON. Deposit it elsewhere.
    """

    name: str
    released_on: str
    expires_on: str
    approvers: tuple[str, ...]
    digests: dict[str, str]
    images: int
    files: int
    claim: str
    manifest_digest: str
    root_digest: str = ""
    schema: str = SCHEMA

    def body(self) -> dict[str, Any]:
        """Every field but the root digest, as plain values."""
        values = asdict(self)
        del values["root_digest"]
        return {**values, "approvers": list(self.approvers)}

    def to_json(self) -> dict[str, Any]:
        """As plain values, with the root digest over all of them."""
        return {**self.body(), "root_digest": digest_of(self.body())}


def release_bytes(record: ReleaseRecord) -> bytes:
    """The one byte string of release.json."""
    return (json.dumps(record.to_json(), sort_keys=True, indent=2, ensure_ascii=False) + "\n").encode()


def read_release(pack: Path) -> ReleaseRecord:
    """Read release.json and check it against its own root digest, byte for byte.

    Raises:
        IntegrityError: It is missing, or a byte of it is not as it was sealed.
    """
    broken = IntegrityError(
        f"{RELEASE} is missing or is not as it was sealed",
        fix="Ask the sender for the pack again; do not use this copy.",
    )
    try:
        content = (pack / RELEASE).read_bytes()
        values = json.loads(content)
        root = values["root_digest"]
        record = ReleaseRecord(
            **{field.name: values[field.name] for field in fields(ReleaseRecord) if field.name != "approvers"},
            approvers=tuple(values["approvers"]),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise broken from error
    if root != digest_of(record.body()) or content != release_bytes(record) or record.schema != SCHEMA:
        raise broken
    return record


def manifest_text(digests: dict[str, str]) -> str:
    """Relative paths with their SHA-256, as ``sha256sum -c`` reads them."""
    return "".join(f"{digest}  {path}\n" for path, digest in sorted(digests.items()))


def parse_manifest(text: str) -> dict[str, str]:
    """The inverse of :func:`manifest_text`.

    Raises:
        IntegrityError: A line is not a digest and a path.
    """
    digests = {}
    for line in text.removesuffix("\n").split("\n"):
        digest, gap, path = line[:64], line[64:66], line[66:]
        if len(digest) != 64 or gap != "  " or not path or path in digests:
            raise IntegrityError(f"{MANIFEST} is not a manifest", fix="Ask the sender for the pack again.")
        digests[path] = digest
    return digests

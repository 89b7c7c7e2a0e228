"""The record of a release pack: release.json, from which every digest in the pack hangs.

release.dsse.json   the signature; names release.json and both manifests
release.json        root digest over: both manifests' digests, the signed records' digests, who, until when
manifest-sha256.txt, tagmanifest-sha256.txt     every other file
"""

from __future__ import annotations

import json
import re
import unicodedata
from dataclasses import asdict, dataclass, fields
from importlib.metadata import version
from pathlib import Path
from typing import Any

from synthrelease.errors import IntegrityError
from synthrelease.records.digests import digest_of
from synthrelease.release.bag import ASK_AGAIN, PAYLOAD_MANIFEST, TAG_MANIFEST
from synthrelease.release.envelope import ENVELOPE, LARGEST

RELEASE = "release.json"
SCHEMA = "synthrelease.release/2"
WRITERS = {"synthrelease.release/1": "synthrelease 0.1.0 before packs were signed"}
"""Formats of earlier versions, which this one does not read, and who wrote them."""

ABOVE_TAGS = (TAG_MANIFEST, RELEASE, ENVELOPE)
"""Files that no manifest names: each hangs above it."""

SUBJECTS = (PAYLOAD_MANIFEST, RELEASE, TAG_MANIFEST)
"""Files whose digests are signed; everything else hangs from them."""


@dataclass(frozen=True)
class ReleaseRecord:
    """release.json: what was sealed, until when, and the digests that everything else hangs from.

    Attributes:
        name: Name of the release.
        released_on: UTC.
        expires_on: UTC; the earliest end of an approval.
        approvers: Who approved, as typed.
        digests: Records that were signed: audit, archive, training, policy.
        images: Synthetic images in the archive.
        files: Files that the two manifests name, archive and pages together.
        claim: The privacy claim in one sentence.
        manifest_digest: SHA-256 of manifest-sha256.txt.
        tag_manifest_digest: SHA-256 of tagmanifest-sha256.txt.
        key_id: Of the key that signs the pack; None for a pack that is not signed, and says so.
        software: What sealed it, name and version.
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
    tag_manifest_digest: str
    key_id: str | None
    software: str
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

    def rooted(self) -> ReleaseRecord:
        """The same with its root digest filled in."""
        return ReleaseRecord(**{**vars(self), "root_digest": digest_of(self.body())})


def software() -> str:
    """Name and version of what seals, as packs write it."""
    return f"synthrelease {version('synthrelease')}"


def release_bytes(record: ReleaseRecord) -> bytes:
    """The one byte string of release.json."""
    return (json.dumps(record.to_json(), sort_keys=True, indent=2, ensure_ascii=False) + "\n").encode()


def read_release(pack: Path) -> tuple[ReleaseRecord, bytes]:
    """Read release.json and check it against its own root digest, byte for byte.

    Returns:
        The record, and the bytes that were read.

    Raises:
        IntegrityError: It is missing, a byte of it is not as it was sealed, or another version of synthrelease wrote it.
    """
    broken = IntegrityError(
        f"{RELEASE} is missing or is not as it was sealed",
        fix=ASK_AGAIN,
    )
    try:
        content = bounded(pack / RELEASE)
        values = json.loads(content)
        _same_format(values)
        root = values["root_digest"]
        record = ReleaseRecord(
            **{field.name: values[field.name] for field in fields(ReleaseRecord) if field.name != "approvers"},
            approvers=tuple(values["approvers"]),
        )
        whole = _typed(record) and root == digest_of(record.body()) and content == release_bytes(record)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise broken from error
    if not whole:
        raise broken
    return record, content


def _typed(record: ReleaseRecord) -> bool:
    """Whether every field has its type and no control character: what a forger writes must surprise neither us nor a terminal."""
    texts = [record.name, record.released_on, record.expires_on, record.claim, record.software, record.root_digest]
    texts += [record.manifest_digest, record.tag_manifest_digest, *record.approvers, *record.digests.values()]
    texts += [] if record.key_id is None else [record.key_id]
    counts = [record.images, record.files]
    plain = all(type(text) is str and not any(unicodedata.category(c) == "Cc" for c in text) for text in texts)
    return plain and all(type(count) is int for count in counts)


def bounded(path: Path) -> bytes:
    """The content of a small file of a pack; no more is read than such a file can hold.

    Raises:
        ValueError: It is larger, or something else than a file.
        OSError: It is missing or cannot be read.
    """
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise ValueError("no file")
    with path.open("rb") as stream:
        content = stream.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise ValueError("too large")
    return content


def _same_format(values: dict[str, Any]) -> None:
    """Tell a pack of another version from a broken one."""
    schema = values.get("schema")
    if schema == SCHEMA or not isinstance(schema, str) or not re.fullmatch(r"synthrelease\.release/[0-9]{1,4}", schema):
        return
    said = values.get("software")
    by = said if isinstance(said, str) and re.fullmatch(r"synthrelease [0-9A-Za-z.+]{1,40}", said) else None
    raise IntegrityError(
        f"the pack has the format {schema}, written by {by or WRITERS.get(schema, 'a later version of synthrelease')}; "
        f"{software()} reads {SCHEMA}",
        fix="Verify it with the version that wrote it, or ask the sender to seal the run again with this one.",
    )

"""Verifying: a recipient checks a pack offline, with nothing but the pack (and the root digest from elsewhere)."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from synthrelease.errors import ApprovalError, IntegrityError
from synthrelease.records.digests import digest_of, digest_of_file
from synthrelease.records.files import read_json
from synthrelease.records.findings import Verdict
from synthrelease.release.approvals import APPROVALS, NEEDED, Approval, Event, approval_of, person
from synthrelease.release.chain import from_lines
from synthrelease.release.dates import parse_time, stamp
from synthrelease.release.pack import MANIFEST, RELEASE, ReleaseRecord, parse_manifest, read_release
from synthrelease.release.run_records import ARCHIVE, AUDIT, POLICY, TRAINING, named_parent

_FIX = "Do not use this copy; ask the sender for the pack again."


@dataclass(frozen=True)
class VerifyResult:
    """A pack that holds.

    Attributes:
        record: What the pack says of itself.
        files: Number of files whose digest was compared.
        deposited: Whether the root digest was compared with one known from elsewhere; without it, a pack that was
            replaced as a whole would verify too.
    """

    record: ReleaseRecord
    files: int
    deposited: bool


def verify(pack: Path, expect: str | None, now: datetime) -> VerifyResult:
    """Check every byte of a pack, the records in it against each other, and that it has not expired.

    Args:
        pack: The pack's folder.
        expect: Root digest known from elsewhere, or at least its first 12 digits; None to go without.
        now: The time, with its zone.

    Raises:
        IntegrityError: A file was changed, added or removed, or the records contradict each other; names the files.
        ApprovalError: The release has expired, or its approvals are not by two different people.
    """
    record = read_release(pack)
    _expected_root(record, expect)
    files = _every_file(pack, record)
    _records_chain(pack, record, files)
    _signatures(pack, record, now)
    return VerifyResult(record=record, files=len(files), deposited=expect is not None)


def _expected_root(record: ReleaseRecord, expect: str | None) -> None:
    if expect is None:
        return
    wanted = expect.strip().lower()
    if len(wanted) < 12 or not hmac.compare_digest(record.root_digest[: len(wanted)].encode(), wanted.encode()):
        raise IntegrityError(f"the root digest is {record.root_digest}, not the one expected", fix=_FIX)


def _every_file(pack: Path, record: ReleaseRecord) -> dict[str, str]:
    """The manifest is the sealed one, and the folder holds exactly its files. Only files found are opened."""
    manifest = pack / MANIFEST
    if not manifest.is_file() or digest_of_file(manifest) != record.manifest_digest:
        raise IntegrityError(f"{MANIFEST} is missing or is not as it was sealed", fix=_FIX)
    listed = parse_manifest(manifest.read_text(encoding="utf-8"))
    entries = {p.relative_to(pack).as_posix(): p for p in pack.rglob("*") if p.is_symlink() or not p.is_dir()}
    found = {name: path for name, path in entries.items() if name not in (MANIFEST, RELEASE)}
    _none(sorted(listed.keys() - found.keys()), "missing")
    _none(sorted(found.keys() - listed.keys()), "not part of the release")
    _none(sorted(name for name, path in entries.items() if path.is_symlink()), "a link instead of a file")
    _none(sorted(name for name, path in found.items() if digest_of_file(path) != listed[name]), "changed")
    if len(listed) != record.files:
        raise IntegrityError(f"{RELEASE} counts {record.files} files, the manifest {len(listed)}", fix=_FIX)
    return listed


def _none(names: list[str], what: str) -> None:
    if names:
        more = f" and {len(names) - 10} more" if len(names) > 10 else ""
        raise IntegrityError(f"{what}: {', '.join(ascii(name)[1:-1] for name in names[:10])}{more}", fix=_FIX)


def _records_chain(pack: Path, record: ReleaseRecord, files: dict[str, str]) -> None:
    """Each extract stands for the record that was signed, and each record names its parents."""
    evidence = pack / "evidence"
    records: dict[str, Any] = {name: read_json(evidence / name) for name in (POLICY, TRAINING, ARCHIVE, AUDIT)}
    keys = {POLICY: "policy", TRAINING: "training", ARCHIVE: "archive", AUDIT: "audit"}
    try:
        broken = [name for name, key in keys.items() if records[name]["extract_of"]["digest"] != record.digests[key]]
        archive, audit = records[ARCHIVE], records[AUDIT]
        named = {f"archive/{path}": digest for path, digest in archive["files"].items()}
        sealed = {path: digest for path, digest in files.items() if path.startswith("archive/")}
        if named != sealed or archive["parents"]["training"] != record.digests["training"]:
            broken.append(ARCHIVE)
        judged = audit["digests"]
        if judged["archive"] not in (record.digests["archive"], digest_of(archive["files"])):
            broken.append(AUDIT)
        if judged["training"] != record.digests["training"] or audit["verdict"] != Verdict.PASS:
            broken.append(AUDIT)
        if judged["policy"] != named_parent(records[TRAINING], "policy"):
            broken.append(TRAINING)
    except (KeyError, TypeError, AttributeError) as error:
        raise IntegrityError("a record in evidence/ is not a record of synthrelease", fix=_FIX) from error
    _none(sorted({f"evidence/{name}" for name in broken}), "does not fit the records it was made from")


def _signatures(pack: Path, record: ReleaseRecord, now: datetime) -> None:
    path = pack / "evidence" / APPROVALS
    if not path.is_file():
        raise ApprovalError("the pack holds no approvals", fix=_FIX)
    entries = from_lines(path.read_text(encoding="utf-8"), f"evidence/{APPROVALS}")
    signed = {key: record.digests[key] for key in ("audit", "archive", "training")}
    approvals: list[Approval] = [approval_of(entry) for entry in entries if not entry.get("withheld")]
    counted = [
        approval
        for approval in approvals
        if approval.event is Event.APPROVED and approval.digests.to_json() == signed and approval.expires_on is not None
    ]
    people = {person(approval.by) for approval in counted}
    if len(people) < NEEDED or people != {person(name) for name in record.approvers}:
        raise ApprovalError("the pack is not signed by two different people", fix=_FIX)
    ends = min(approval.expires_on for approval in counted if approval.expires_on)
    if stamp(ends) != record.expires_on:
        raise IntegrityError(f"{RELEASE} and evidence/{APPROVALS} name different dates of expiry", fix=_FIX)
    if now >= parse_time(record.expires_on):
        raise ApprovalError(
            f"the release expired on {record.expires_on}",
            fix="Delete this copy, or ask the contact for a renewed release.",
        )

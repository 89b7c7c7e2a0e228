"""The evidence in a pack, read by a recipient: each record against the one that was signed, and against the archive."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from synthrelease.errors import ApprovalError, IntegrityError
from synthrelease.records.findings import Verdict
from synthrelease.release.approvals import APPROVALS, NEEDED, Approval, Event, approval_of, person
from synthrelease.release.bag import ASK_AGAIN, Payload
from synthrelease.release.chain import from_lines
from synthrelease.release.dates import stamp
from synthrelease.release.pack import RELEASE, ReleaseRecord
from synthrelease.release.run_records import ARCHIVE, AUDIT, POLICY, TRAINING, archive_problem, named_parent


@dataclass(frozen=True)
class Evidence:
    """What the evidence of a pack says, once it fits the pack.

    Attributes:
        payload: The archive, as archive.json counts it.
        training: Of training.json, what left the house.
        audit: Of audit.json, what left the house.
        approvals: Those that count, oldest first.
    """

    payload: Payload
    training: dict[str, Any]
    audit: dict[str, Any]
    approvals: list[Approval]


def read_evidence(pack: Path, record: ReleaseRecord, manifest: str, files: int, tags: dict[str, str]) -> Evidence:
    """Read the evidence of a pack and check that it is about this very archive.

    Args:
        pack: The pack's folder, every byte of it checked.
        record: Its release.json.
        manifest: SHA-256 of the archive's manifest, as it lies in the pack.
        files: Number of its lines.
        tags: SHA-256 of every page by its name.

    Raises:
        IntegrityError: A record is missing, or contradicts another one, the archive, or release.json.
        ApprovalError: It was not approved by two different people.
    """
    with _readable():
        folder = pack / "evidence"
        records = {name: json.loads((folder / name).read_bytes()) for name in (POLICY, TRAINING, ARCHIVE, AUDIT)}
        broken = _broken(records, record, manifest, files, tags)
    if broken:
        names = ", ".join(sorted({f"evidence/{name}" for name in broken}))
        raise IntegrityError(f"does not fit the records it was made from: {names}", fix=ASK_AGAIN)
    with _readable():
        approvals = _approvals(pack, record)
    payload = Payload(manifest, files, records[ARCHIVE]["manifest"]["bytes"])
    return Evidence(payload, records[TRAINING], records[AUDIT], approvals)


def _broken(
    records: dict[str, Any], record: ReleaseRecord, manifest: str, files: int, tags: dict[str, str]
) -> list[str]:
    """Names of the records that do not fit."""
    signed = record.digests
    extracts = {POLICY: "policy", TRAINING: "training", AUDIT: "audit"}
    broken = [name for name, key in extracts.items() if records[name]["extract_of"]["digest"] != signed[key]]
    archive, judged = records[ARCHIVE], records[AUDIT]["digests"]
    # archive.json is in the pack byte for byte: it, and through its manifest every file, is what the approvers signed.
    if tags[f"evidence/{ARCHIVE}"] != signed["archive"] or archive_problem(archive) is not None:
        return [*broken, ARCHIVE]
    if (archive["manifest"]["sha256"], archive["manifest"]["files"]) != (manifest, files):
        broken.append(ARCHIVE)
    if archive["images"] != record.images:
        broken.append(ARCHIVE)
    if archive["parents"]["training"] != signed["training"]:
        broken.append(ARCHIVE)
    if judged["archive"] not in (signed["archive"], manifest):
        broken.append(AUDIT)
    if judged["training"] != signed["training"] or records[AUDIT]["verdict"] != Verdict.PASS:
        broken.append(AUDIT)
    if judged["policy"] != named_parent(records[TRAINING], "policy"):
        broken.append(TRAINING)
    return broken


def _approvals(pack: Path, record: ReleaseRecord) -> list[Approval]:
    """The approvals that count: of these records, by at least two people, who are those that release.json names."""
    path = pack / "evidence" / APPROVALS
    if not path.is_file():
        raise ApprovalError("the pack holds no approvals", fix=ASK_AGAIN)
    entries = from_lines(path.read_bytes().decode("utf-8"), f"evidence/{APPROVALS}")
    signed = {key: record.digests[key] for key in ("audit", "archive", "training")}
    approvals = [approval_of(entry) for entry in entries if not entry.get("withheld")]
    counted = [
        approval
        for approval in approvals
        if approval.event is Event.APPROVED and approval.digests.to_json() == signed and approval.expires_on is not None
    ]
    people = {person(approval.by) for approval in counted}
    if len(people) < NEEDED or people != {person(name) for name in record.approvers}:
        raise ApprovalError("the pack is not approved by two different people", fix=ASK_AGAIN)
    ends = min(approval.expires_on for approval in counted if approval.expires_on)
    if stamp(ends) != record.expires_on:
        raise IntegrityError(f"{RELEASE} and evidence/{APPROVALS} name different dates of expiry", fix=ASK_AGAIN)
    return counted


@contextmanager
def _readable() -> Iterator[None]:
    """What is not a record of ours is refused, in whatever way it is none."""
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise IntegrityError("a record in evidence/ is missing or is not one of synthrelease", fix=ASK_AGAIN) from error

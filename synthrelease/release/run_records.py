"""The records of one run, read together, and the chain that ties them to each other."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from synthrelease.errors import AuditFailed, AuditInconclusive, IntegrityError
from synthrelease.policy.loader import policy_digest, policy_from
from synthrelease.policy.schema import Policy
from synthrelease.records.digests import digest_of_file
from synthrelease.records.files import read_json
from synthrelease.records.findings import Criterion, Verdict

POLICY = "policy.resolved.json"
TRAINING = "training.json"
ARCHIVE = "archive.json"
AUDIT = "audit.json"
PLAN = "plan.json"
EXTERNAL_REPORT = "report-external.html"
ARCHIVE_SCHEMA = "synthrelease.archive/2"

_REFUSED = {Verdict.FAIL: AuditFailed, Verdict.INCONCLUSIVE: AuditInconclusive}


@dataclass(frozen=True)
class RunDigests:
    """SHA-256 of the bytes of the records that a signature covers; 64 hex digits each."""

    audit: str
    archive: str
    training: str

    def to_json(self) -> dict[str, str]:
        """As plain values."""
        return {"audit": self.audit, "archive": self.archive, "training": self.training}


@dataclass(frozen=True)
class RunRecords:
    """What a run says of itself.

    Attributes:
        folder: The run folder. Never part of a message or of a pack.
        policy: The policy that was frozen before training.
        training: training.json.
        archive: archive.json.
        audit: audit.json.
        digests: Digests of the three records, as they lie on disk now.
    """

    folder: Path
    policy: Policy
    training: dict[str, Any]
    archive: dict[str, Any]
    audit: dict[str, Any]
    digests: RunDigests

    @property
    def policy_digests(self) -> frozenset[str]:
        """The two names that a policy goes by: the digest of its rules, and that of its file."""
        return frozenset({policy_digest(self.policy), digest_of_file(self.folder / POLICY)})

    @property
    def archive_digests(self) -> frozenset[str]:
        """The two names that an archive goes by: the digest of its manifest, and that of its record."""
        return frozenset({self.archive["manifest"]["sha256"], self.digests.archive})


def read_run(folder: Path) -> RunRecords:
    """Read the records of a run.

    Raises:
        IntegrityError: A record is missing or is not readable, or the policy is not a policy.
    """
    try:
        policy = policy_from(_record(folder, POLICY))
    except ValueError as error:
        raise IntegrityError(
            f"{POLICY} is not a policy", fix="Restore it from a copy; never edit it by hand."
        ) from error
    records = RunRecords(
        folder=folder,
        policy=policy,
        training=_record(folder, TRAINING),
        archive=_record(folder, ARCHIVE),
        audit=_record(folder, AUDIT),
        digests=RunDigests(
            audit=digest_of_file(folder / AUDIT),
            archive=digest_of_file(folder / ARCHIVE),
            training=digest_of_file(folder / TRAINING),
        ),
    )
    problem = archive_problem(records.archive)
    if problem is not None:
        raise IntegrityError(f"{ARCHIVE} {problem}", fix="Sample the archive again, then audit and approve it again.")
    return records


def archive_problem(archive: Mapping[str, Any]) -> str | None:
    """Why a record is not that of an archive with a manifest; None when it is."""
    if archive.get("schema") != ARCHIVE_SCHEMA:
        earlier = archive.get("schema") in (None, "synthrelease.archive/1")
        return f"is not of the format {ARCHIVE_SCHEMA}" + (": an earlier version wrote it" if earlier else "")
    manifest = archive.get("manifest")
    if not isinstance(manifest, Mapping) or not re.fullmatch(r"[0-9a-f]{64}", str(manifest.get("sha256"))):
        return "names no manifest"
    if not all(type(manifest.get(count)) is int and manifest[count] > 0 for count in ("files", "bytes")):
        return "does not count its files"
    if archive.get("archive_digest") != manifest["sha256"]:
        return "states a digest that its manifest does not have"
    return None


def _record(folder: Path, name: str) -> dict[str, Any]:
    value = read_json(folder / name)
    if not isinstance(value, dict):
        raise IntegrityError(
            f"the record {name} is not an object", fix="Restore it from a copy, or run its stage again."
        )
    return value


def audit_verdict(audit: dict[str, Any]) -> Verdict:
    """The verdict that a release goes by: the record's own, or a worse one among its required findings.

    An audit that says pass over a required finding that does not is edited or broken; the finding wins.
    Fidelity findings never count: they neither clear nor block privacy. An audit without findings decides nothing.

    Raises:
        IntegrityError: A verdict is none of pass, fail, inconclusive.
    """
    try:
        findings = [
            Verdict(finding["verdict"])
            for finding in audit["findings"]
            if finding["required"] and finding["criterion"] != Criterion.FIDELITY
        ]
        verdicts = {Verdict(audit["verdict"]), *findings}
    except (KeyError, TypeError, ValueError) as error:
        raise IntegrityError(f"{AUDIT} is not an audit record", fix="Run the audit again.") from error
    if Verdict.FAIL in verdicts:
        return Verdict.FAIL
    if Verdict.INCONCLUSIVE in verdicts or not findings:
        return Verdict.INCONCLUSIVE
    return Verdict.PASS


def require_passing_audit(audit: dict[str, Any], verb: str) -> None:
    """Let only an audit that passed go on.

    Raises:
        AuditFailed: The audit found a reason not to release.
        AuditInconclusive: The audit could not decide.
    """
    verdict = audit_verdict(audit)
    if verdict is Verdict.PASS:
        return
    words = "failed" if verdict is Verdict.FAIL else "is inconclusive"
    raise _REFUSED[verdict](
        f"cannot {verb}: the audit {words}", fix="Read the internal report, mend the cause, and audit again."
    )


def named_parent(record: Mapping[str, Any], stage: str) -> str | None:
    """The digest by which a record names what it was made from: among its parents, else among its digests."""
    for place in ("parents", "digests"):
        named = (record.get(place) or {}).get(stage)
        if named is not None:
            return str(named)
    return None


def require_chain(run: RunRecords) -> None:
    """Each record must name the digest of the record that it was made from.

    Raises:
        IntegrityError: A record points at another parent than the one in the run folder.
    """
    judged = run.audit.get("digests") or {}
    links = (
        (TRAINING, POLICY, named_parent(run.training, "policy"), run.policy_digests),
        (ARCHIVE, TRAINING, named_parent(run.archive, "training"), {run.digests.training}),
        (AUDIT, POLICY, judged.get("policy"), run.policy_digests),
        (AUDIT, TRAINING, judged.get("training"), {run.digests.training}),
        (AUDIT, ARCHIVE, judged.get("archive"), run.archive_digests),
    )
    for child, parent, named, actual in links:
        if named not in actual:
            raise IntegrityError(
                f"{child} was made from another {parent} than the one in the run",
                fix=f"Run the stage that writes {child} again; a frozen record is never edited.",
            )

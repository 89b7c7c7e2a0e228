"""Named people say yes or no to one audit: an append-only, hash-chained file in the run folder.

Identity is asserted by name, not proven. What the chain shows is that nothing was edited afterwards, provided
that the head digest was written down elsewhere (in the ticket, in the minutes).
"""

from __future__ import annotations

import fcntl
import os
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from synthrelease.errors import ApprovalError, IntegrityError, UsageError
from synthrelease.policy.schema import Policy
from synthrelease.records.files import atomic_write_text
from synthrelease.release.chain import Entry, from_lines, link, to_lines
from synthrelease.release.dates import months_later, parse_time, stamp
from synthrelease.release.run_records import RunDigests, RunRecords, read_run, require_chain, require_passing_audit

APPROVALS = "approvals.jsonl"
NEEDED = 2
LONGEST = 2000


class Event(StrEnum):
    """What a line of approvals.jsonl records."""

    APPROVED = "approved"
    REFUSED = "refused"


class Standing(StrEnum):
    """What an approval is worth now."""

    VALID = "valid"
    STALE = "stale"
    EXPIRED = "expired"


@dataclass(frozen=True)
class Approval:
    """One line of approvals.jsonl.

    Attributes:
        event: Approved or refused.
        by: The name as typed.
        role: In which role, in words.
        statement: What the person declares.
        time: When, UTC.
        expires_on: When it ends by itself, UTC; None for a refusal.
        digests: The records that the person looked at.
        head: Digest of the line; deposit it elsewhere.
    """

    event: Event
    by: str
    role: str
    statement: str
    time: datetime
    expires_on: datetime | None
    digests: RunDigests
    head: str

    def standing(self, current: RunDigests, now: datetime) -> Standing:
        """Whether the approval still holds for these records at this time."""
        if self.digests != current:
            return Standing.STALE
        if self.expires_on is not None and now >= self.expires_on:
            return Standing.EXPIRED
        return Standing.VALID


def person(name: str) -> str:
    """The one spelling by which two names are compared: case, spaces and invisible characters do not make another.

    >>> person("  Ada   LOVELACE ") == person("ada lovelace")
    True
    """
    seen = "".join(c for c in unicodedata.normalize("NFKC", name) if unicodedata.category(c) != "Cf")
    return " ".join(seen.casefold().split())


def read_entries(run_folder: Path) -> list[Entry]:
    """Every line of a run's approvals.jsonl, checked; empty when nobody has signed.

    Raises:
        IntegrityError: The chain is broken.
    """
    path = run_folder / APPROVALS
    return from_lines(path.read_text(encoding="utf-8"), APPROVALS) if path.exists() else []


def approval_of(entry: Entry) -> Approval:
    """A line of the file as a value.

    Raises:
        IntegrityError: The line is chained but is no approval.
    """
    try:
        expires = entry["expires_on"]
        return Approval(
            event=Event(entry["event"]),
            by=entry["by"],
            role=entry["role"],
            statement=entry["statement"],
            time=parse_time(entry["time"]),
            expires_on=parse_time(expires) if expires else None,
            digests=RunDigests(**entry["digests"]),
            head=entry["digest"],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise IntegrityError(
            f"{APPROVALS} holds a line that is no approval", fix="Restore the file from a copy."
        ) from error


def read_approvals(run_folder: Path) -> list[Approval]:
    """Every approval and refusal of a run, oldest first; see :func:`read_entries`."""
    return [approval_of(entry) for entry in read_entries(run_folder)]


# The rules. Each raises ApprovalError with its reason.


def operator_may_not_approve(policy: Policy, by: str, role: str) -> None:
    """Four eyes: who trained and sampled does not judge their own work."""
    if person(by) == person(policy.roles.operator) or person(role) == "operator":
        raise ApprovalError("the operator of a run may not approve it", fix="Ask an approver that the policy names.")


def approver_must_be_named(policy: Policy, by: str) -> None:
    """Where the policy names approvers, nobody else may sign."""
    if policy.roles.approvers and person(by) not in {person(name) for name in policy.roles.approvers}:
        raise ApprovalError(
            f"{by!r} is not among the approvers of the policy",
            fix=f"The approvers are: {', '.join(policy.roles.approvers)}.",
        )


def nobody_approves_twice(earlier: Sequence[Approval], by: str, current: RunDigests, now: datetime) -> None:
    """Two signatures mean two people; an approval that is stale or expired may be given again."""
    for approval in _approved(earlier):
        if person(approval.by) == person(by) and approval.standing(current, now) is Standing.VALID:
            raise ApprovalError(
                f"{by!r} has approved this audit already",
                fix="A second approver must be another person; --again replaces one's own words.",
            )


def refusal_blocks(earlier: Sequence[Approval], current: RunDigests) -> None:
    """A refusal holds until there is a new audit; no number of approvals outvotes it."""
    for approval in earlier:
        if approval.event is Event.REFUSED and approval.digests.audit == current.audit:
            raise ApprovalError(
                f"this audit was refused by {approval.by!r}", fix="Meet the stated reason, audit again, and ask again."
            )


def enough_valid_approvals(
    policy: Policy, earlier: Sequence[Approval], current: RunDigests, now: datetime
) -> tuple[Approval, ...]:
    """The valid approvals, each person's last, if there are at least two people; every rule is checked again.

    Raises:
        ApprovalError: Too few, stale, expired, refused, or signed by somebody who may not.
    """
    refusal_blocks(earlier, current)
    valid: dict[str, Approval] = {}
    lost: set[Standing] = set()
    for approval in _approved(earlier):
        standing = approval.standing(current, now)
        if standing is not Standing.VALID:
            lost.add(standing)
            continue
        operator_may_not_approve(policy, approval.by, approval.role)
        approver_must_be_named(policy, approval.by)
        valid.pop(person(approval.by), None)  # signed again: in the file's order, the last words count
        valid[person(approval.by)] = approval
    if len(valid) < NEEDED:
        because = f" ({' and '.join(sorted(lost))} ones do not count)" if lost else ""
        raise ApprovalError(
            f"a release needs {NEEDED} valid approvals by different people; there are {len(valid)}{because}",
            fix="Ask an approver to read the report and run `synthrelease approve`.",
        )
    return tuple(valid.values())


def _approved(approvals: Sequence[Approval]) -> Iterator[Approval]:
    return (approval for approval in approvals if approval.event is Event.APPROVED)


def approve(run_folder: Path, by: str, role: str, statement: str, now: datetime, *, again: bool = False) -> Approval:
    """Record that a person approves the audit as it lies in the run folder now.

    Args:
        run_folder: The run.
        by: The person's name.
        role: In which role the person signs, for instance "privacy officer".
        statement: What the person declares; goes into the release pack.
        now: The time, with its zone.
        again: Sign in other words what was signed before; the last words count and the earlier ones never leave.

    Returns:
        The approval; its ``head`` belongs into the ticket or the minutes.

    Raises:
        AuditFailed, AuditInconclusive: There is nothing to approve.
        ApprovalError: A rule forbids it.
        IntegrityError: A record or the chain of approvals is broken.
        UsageError: A name, role or statement is empty or too long.
    """
    with _locked(run_folder):
        run = read_run(run_folder)
        earlier = read_approvals(run_folder)
        _require_text(by=by, role=role, statement=statement)
        require_passing_audit(run.audit, "approve")
        require_chain(run)
        operator_may_not_approve(run.policy, by, role)
        approver_must_be_named(run.policy, by)
        refusal_blocks(earlier, run.digests)
        if not again:
            nobody_approves_twice(earlier, by, run.digests, now)
        expires_on = months_later(now, run.policy.release.expires_after_months)
        return _append(run, Event.APPROVED, by, role, statement, now, expires_on)


def refuse(run_folder: Path, by: str, role: str, statement: str, now: datetime) -> Approval:
    """Record that a person refuses; it blocks approval and release until there is a new audit.

    Whoever may approve may refuse, whatever the audit says. Arguments and errors as for :func:`approve`.
    """
    with _locked(run_folder):
        run = read_run(run_folder)
        _require_text(by=by, role=role, statement=statement)
        approver_must_be_named(run.policy, by)
        return _append(run, Event.REFUSED, by, role, statement, now, None)


def _append(
    run: RunRecords, event: Event, by: str, role: str, statement: str, now: datetime, expires_on: datetime | None
) -> Approval:
    entries = read_entries(run.folder)
    fields: Entry = {
        "event": event.value,
        "by": " ".join(by.split()),
        "role": " ".join(role.split()),
        "statement": statement.strip(),
        "time": stamp(now),
        "expires_on": stamp(expires_on) if expires_on else None,
        "digests": run.digests.to_json(),
    }
    entry = link(entries, fields)
    atomic_write_text(run.folder / APPROVALS, to_lines([*entries, entry]))
    return approval_of(entry)


def _require_text(**texts: str) -> None:
    for name, text in texts.items():
        if not text.strip() or len(text) > LONGEST or any(unicodedata.category(c) == "Cc" for c in text.strip()):
            raise UsageError(
                f"{name}: one line of 1 to {LONGEST} characters expected", fix=f"Give --{name} in words, on one line."
            )


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One signature at a time: two people who sign at once must not overwrite each other's line."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise UsageError(f"there is no run {folder.name!r}", fix="Name a run folder with --run.") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)

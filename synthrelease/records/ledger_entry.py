"""One line of a privacy ledger, what the lines of one run add up to, and the cap that a custodian sets."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from synthrelease.records.files import canonical_json

LEDGER_SCHEMA = "synthrelease.ledger/1"
GENESIS = "0" * 64


class Event(StrEnum):
    """What an entry says."""

    COHORT_REGISTERED = "cohort_registered"
    CAPPED = "capped"
    RESERVED = "reserved"
    SPENT = "spent"
    VOIDED = "voided"
    RELEASED = "released"
    REVOKED = "revoked"


@dataclass(frozen=True)
class Entry:
    """One line.

    Attributes:
        sequence: 0, 1, 2, ...
        at: UTC time, ISO 8601, seconds.
        event: What happened.
        run: Name of the run; empty for the cohort itself.
        body: Public facts of the event: policy digest, mechanisms, delta, epsilon, who.
        previous: Hash of the entry before.
        hash: SHA-256 of all the above in canonical JSON.
    """

    sequence: int
    at: str
    event: Event
    run: str
    body: dict[str, Any]
    previous: str
    hash: str


class State(StrEnum):
    """What became of a reservation."""

    RESERVED = "reserved"
    SPENT = "spent"
    VOIDED = "voided"


@dataclass(frozen=True)
class Charge:
    """What one run costs its cohort.

    Attributes:
        run: Name of the run.
        reservation: Hash of its ``reserved`` entry.
        settled: True once ``spent``.
        unbounded: True for a run without privacy: nothing bounds what it gave away.
        mechanisms: As in training.json; what ran when settled, else everything reserved.
        delta: Of the run's own statement; None when unbounded.
        body: Of the entry that settled it, else of the reservation.
        reserved: The mechanisms of the reservation, whatever ran of them.
        who: The operator.
        at: When it was reserved.
        voided: Who voided it, when and why (``who``, ``at``, ``statement``); empty while it counts.
        noted: Whether the patients that it could read were noted; see :mod:`synthrelease.privacy.overlap`.
    """

    run: str
    reservation: str
    settled: bool
    unbounded: bool
    mechanisms: tuple[dict[str, Any], ...]
    delta: float | None
    body: dict[str, Any] = field(default_factory=dict)
    reserved: tuple[dict[str, Any], ...] = ()
    who: str = ""
    at: str = ""
    voided: dict[str, str] = field(default_factory=dict)
    noted: bool = False

    @property
    def state(self) -> State:
        """Voided, spent or reserved."""
        if self.voided:
            return State.VOIDED
        return State.SPENT if self.settled else State.RESERVED


@dataclass(frozen=True)
class Cap:
    """The most that may ever be charged to a cohort.

    Attributes:
        epsilon: Bound on everything composed, at ``delta``.
        delta: At this delta.
        by: Who set it.
        at: When.
        statement: Why; never empty where the cap was raised.
        raised: Whether it allows more than the cap before it.
    """

    epsilon: float
    delta: float
    by: str
    at: str
    statement: str
    raised: bool

    def allows_more_than(self, other: Cap | None) -> bool:
        """Whether a cap at these figures lets anything through that ``other`` does not; no cap lets everything through."""
        return other is not None and (self.epsilon > other.epsilon or self.delta > other.delta)


def hash_of(sequence: int, at: str, event: str, run: str, body: dict[str, Any], previous: str) -> str:
    """SHA-256 of an entry's content in canonical JSON."""
    value = {"at": at, "body": body, "event": event, "previous": previous, "run": run, "sequence": sequence}
    return hashlib.sha256(canonical_json(value)).hexdigest()

"""One line of a privacy ledger, and what the lines of one run add up to."""

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
    """

    run: str
    reservation: str
    settled: bool
    unbounded: bool
    mechanisms: tuple[dict[str, Any], ...]
    delta: float | None
    body: dict[str, Any] = field(default_factory=dict)


def hash_of(sequence: int, at: str, event: str, run: str, body: dict[str, Any], previous: str) -> str:
    """SHA-256 of an entry's content in canonical JSON."""
    value = {"at": at, "body": body, "event": event, "previous": previous, "run": run, "sequence": sequence}
    return hashlib.sha256(canonical_json(value)).hexdigest()

"""The privacy ledger of one cohort: what was reserved and spent on it, by every run, in order.

JSON lines, append-only; each entry carries the hash of the one before, so an edit, a removal or a reordering in the
middle shows. A chain held by one party cannot show that its end was cut off: deposit :attr:`Ledger.head` elsewhere
(a ticket, minutes) and check it later with ``expect``.

Crash rules. An entry counts from the moment its line is on disk. A last line without its newline is an append that
never returned to its caller: nothing was run on it, and the next append overwrites it. A reservation without a later
``spent`` or ``voided`` counts in full: the run may have shown its results to somebody.

No torch and no accountant: composition is :func:`synthrelease.privacy.accounting.composed_epsilon`.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from synthrelease.errors import IntegrityError, UnsuitableData, UsageError
from synthrelease.records.files import canonical_json
from synthrelease.records.ledger_entry import GENESIS, LEDGER_SCHEMA, Charge, Entry, Event, hash_of

__all__ = ["GENESIS", "LEDGER_SCHEMA", "Charge", "Entry", "Event", "Ledger"]


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Ledger:
    """The ledger file of one cohort.

    Args:
        path: The JSON-lines file; made on the first append.
        clock: Gives the time of an entry; tests put another in.
    """

    def __init__(self, path: Path, *, clock: Callable[[], str] = _now) -> None:
        self.path = path
        self._clock = clock
        self._held = False

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the ledger against other processes: read, decide and append as one act. Not nested by other processes.

        Raises:
            UnsuitableData: The ledger's folder cannot be written.
        """
        if self._held:
            yield
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.path.with_name(self.path.name + ".lock"), os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise UnsuitableData(
                f"the ledger {self.path.name} cannot be locked: {error.strerror}", fix="Make its folder writable."
            ) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            self._held = True
            yield
        finally:
            self._held = False
            os.close(descriptor)

    def _whole_lines(self) -> bytes:
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return b""
        return content[: content.rfind(b"\n") + 1]

    def entries(self) -> tuple[Entry, ...]:
        """Every entry, verified.

        Raises:
            IntegrityError: A line is not an entry, or the chain of hashes is broken.
        """
        entries: list[Entry] = []
        previous = GENESIS
        for number, line in enumerate(self._whole_lines().splitlines()):
            try:
                raw = json.loads(line)
                entry = Entry(
                    sequence=raw["sequence"],
                    at=raw["at"],
                    event=Event(raw["event"]),
                    run=raw["run"],
                    body=raw["body"],
                    previous=raw["previous"],
                    hash=raw["hash"],
                )
                expected = hash_of(entry.sequence, entry.at, entry.event.value, entry.run, entry.body, previous)
                extra = set(raw) - {"sequence", "at", "event", "run", "body", "previous", "hash"}
            except (ValueError, KeyError, TypeError) as error:
                raise self._broken(number) from error
            if extra or entry.sequence != number or entry.previous != previous or entry.hash != expected:
                raise self._broken(number)
            previous = entry.hash
            entries.append(entry)
        return tuple(entries)

    def _broken(self, number: int) -> IntegrityError:
        return IntegrityError(
            f"the ledger {self.path.name} was changed at entry {number}",
            fix="Restore it from a copy whose head digest was deposited; nothing may be charged to it until then.",
        )

    @property
    def head(self) -> str:
        """Hash of the last entry: deposit it elsewhere, and the whole ledger is pinned."""
        entries = self.entries()
        return entries[-1].hash if entries else GENESIS

    def verify(self, *, expect: str | None = None) -> str:
        """Check the chain, and that a deposited head is part of it.

        Args:
            expect: A head digest noted earlier; it must be the hash of some entry (later entries may follow).

        Returns:
            The present head.

        Raises:
            IntegrityError: The chain is broken or does not hold ``expect``.
        """
        entries = self.entries()
        if expect is not None and expect not in {GENESIS, *(entry.hash for entry in entries)}:
            raise IntegrityError(
                f"the ledger {self.path.name} does not contain the expected head {expect[:16]}...",
                fix="Entries were removed since the head was noted; restore the ledger from a copy.",
            )
        return entries[-1].hash if entries else GENESIS

    def append(self, event: Event, run: str, body: dict[str, Any]) -> Entry:
        """Write one entry and flush it to the disk before returning; the first append registers the cohort.

        Raises:
            IntegrityError: The chain is broken: a broken ledger is not continued.
            UnsuitableData: The disk refuses; the ledger is as before.
        """
        with self.locked():
            entries = self.entries()
            if not entries and event is not Event.COHORT_REGISTERED:
                self._write(
                    0, Event.COHORT_REGISTERED, "", {"cohort": self.path.stem, "schema": LEDGER_SCHEMA}, GENESIS
                )
                entries = self.entries()
            previous = entries[-1].hash if entries else GENESIS
            return self._write(len(entries), event, run, body, previous)

    def _write(self, sequence: int, event: Event, run: str, body: dict[str, Any], previous: str) -> Entry:
        at = self._clock()
        entry = Entry(sequence, at, event, run, body, previous, hash_of(sequence, at, event.value, run, body, previous))
        line = canonical_json({**entry.__dict__, "event": event.value}) + b"\n"
        kept = len(self._whole_lines())
        new = not self.path.exists()
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            os.ftruncate(descriptor, kept)
            os.lseek(descriptor, kept, os.SEEK_SET)
            try:
                if os.write(descriptor, line) != len(line):
                    raise OSError(28, "No space left on device")
                os.fsync(descriptor)
            except OSError as error:
                os.ftruncate(descriptor, kept)
                raise UnsuitableData(
                    f"cannot write the ledger {self.path.name}: {error.strerror}", fix="Free space, then run again."
                ) from error
        finally:
            os.close(descriptor)
        if new:
            folder = os.open(self.path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        return entry

    def charges(self) -> tuple[Charge, ...]:
        """What each run costs, in order; voided runs are left out, open reservations count in full."""
        charges: dict[str, Charge] = {}
        for entry in self.entries():
            if entry.event is Event.RESERVED:
                charges[entry.hash] = Charge(
                    run=entry.run,
                    reservation=entry.hash,
                    settled=False,
                    unbounded=bool(entry.body.get("unbounded", False)),
                    mechanisms=tuple(entry.body.get("mechanisms", ())),
                    delta=entry.body.get("delta"),
                    body=entry.body,
                )
            elif entry.event in (Event.SPENT, Event.VOIDED):
                charge = charges.pop(str(entry.body.get("reservation")), None)
                if charge is None:
                    raise self._broken(entry.sequence)
                if entry.event is Event.SPENT:
                    charges[charge.reservation] = Charge(
                        run=charge.run,
                        reservation=charge.reservation,
                        settled=True,
                        unbounded=charge.unbounded,
                        mechanisms=tuple(entry.body.get("mechanisms", ())),
                        delta=charge.delta,
                        body=entry.body,
                    )
        return tuple(charges.values())

    def charge_of(self, reservation: str) -> Charge:
        """The charge that ``reservation`` opened.

        Raises:
            IntegrityError: This ledger does not hold it (or it was voided).
        """
        for charge in self.charges():
            if charge.reservation == reservation:
                return charge
        raise IntegrityError(
            f"the ledger {self.path.name} holds no reservation {reservation[:16]}...",
            fix="Use the ledger that the run was started with.",
        )

    def spend(self, reservation: str, mechanisms: list[dict[str, Any]], **facts: Any) -> Entry:
        """Settle a reservation by what was really run.

        Raises:
            IntegrityError: No such reservation.
            UsageError: It was settled before.
        """
        with self.locked():
            charge = self.charge_of(reservation)
            if charge.settled:
                raise UsageError(f"the run {charge.run} is settled already", fix="Start a new run; it is charged anew.")
            return self.append(Event.SPENT, charge.run, {**facts, "reservation": reservation, "mechanisms": mechanisms})

    def void(self, reservation: str, *, who: str, statement: str) -> Entry:
        """Cancel a charge because the run's outputs were destroyed unseen; the custodian says so by name.

        Raises:
            IntegrityError: No such reservation.
            UsageError: No statement was given, or the run was released.
        """
        if not statement.strip():
            raise UsageError("voiding a charge needs a statement", fix="Say who destroyed what, unseen, and when.")
        with self.locked():
            charge = self.charge_of(reservation)
            if any(entry.event is Event.RELEASED and entry.run == charge.run for entry in self.entries()):
                raise UsageError(
                    f"the run {charge.run} was released; its charge stands", fix="Only what nobody saw can be voided."
                )
            return self.append(
                Event.VOIDED, charge.run, {"reservation": reservation, "who": who, "statement": statement}
            )

"""A file of entries, each chained to the one before by its hash: reading, checking, and adding one at its end."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from synthrelease.errors import IntegrityError, UnsuitableData
from synthrelease.records.files import canonical_json, sync_folder
from synthrelease.records.ledger_entry import GENESIS, LEDGER_SCHEMA, Entry, Event, hash_of
from synthrelease.records.ledger_lock import folder_locked


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class LedgerChain:
    """The entries of one ledger file.

    Args:
        path: The JSON-lines file; made on the first append.
        clock: Gives the time of an entry; tests put another in.
    """

    def __init__(self, path: Path, *, clock: Callable[[], str] = _now) -> None:
        self.path = path
        self._clock = clock

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder of ledgers against everybody else: read, decide and append as one act.

        Raises:
            UnsuitableData: The ledger's folder cannot be written.
        """
        with folder_locked(self.path.parent):
            yield

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
        lines = self._whole_lines()
        try:
            return self._checked(lines)
        except IntegrityError:
            # A writer that overwrites a torn line between two reads of ours shows a line that never was.
            again = self._whole_lines()
            if again == lines:
                raise
            return self._checked(again)

    def _checked(self, lines: bytes) -> tuple[Entry, ...]:
        entries: list[Entry] = []
        previous = GENESIS
        for number, line in enumerate(lines.splitlines()):
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
        if new:  # its name, and that of a folder made for it, must outlive a power cut as the entry does
            for place in (self.path.parent, self.path.parent.parent):
                sync_folder(place)
        return entry

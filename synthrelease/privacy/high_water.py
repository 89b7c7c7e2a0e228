"""How often a reservation's mechanisms were used, noted beside the ledger and not in the checkpoint.

A checkpoint that is restored from an older copy brings its account back to an older count: going on from there would
draw noise for steps that have drawn theirs, and two releases would be counted as one. The mark does not go back with
the checkpoint, so the account is found behind it.

    LEDGERS/COHORT.uses/RESERVATION     one byte a use: the number of its mechanism in the plan, 0 to 255

The mark follows the account, after it on disk and before the noise. It is not flushed: it is there against restored
copies, and after a power cut the account, which is, may run ahead of it.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from pathlib import Path

from synthrelease.errors import IntegrityError, UnsuitableData
from synthrelease.records.ledger import Ledger

SUFFIX = ".uses"
_RESERVATION = re.compile(r"[0-9a-f]{64}")


class HighWater:
    """The mark of one reservation.

    Args:
        path: Its file, below the folder of ledgers.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._size = 0

    def begin(self) -> None:
        """Make the empty mark; one that is there stays.

        Raises:
            UnsuitableData: The folder of ledgers cannot be written.
        """
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._path.touch()
        except OSError as error:
            raise self._unwritable(error) from error
        self._size = self.used().total()

    def note(self, mechanism: int) -> None:
        """Note one use of the plan's mechanism of that number.

        Raises:
            IntegrityError: Somebody else noted a use meanwhile: a copy of the run is under way.
            UnsuitableData: It cannot be written; nothing may be released then.
        """
        try:
            descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND)
            try:
                if os.write(descriptor, bytes([mechanism])) != 1:
                    raise OSError(28, "No space left on device")
                self._size += 1
                if os.fstat(descriptor).st_size != self._size:
                    raise IntegrityError(
                        "another copy of this run draws on the same reservation",
                        fix="One reservation pays for one run: destroy the copies and start a new run.",
                    )
            finally:
                os.close(descriptor)
        except OSError as error:
            raise self._unwritable(error) from error

    def used(self) -> Counter[int]:
        """Uses noted so far, by the number of the mechanism.

        Raises:
            IntegrityError: The mark is gone.
        """
        try:
            content = self._path.read_bytes()
        except OSError as error:
            raise IntegrityError(
                "the ledger's mark of this run's uses is missing",
                fix="Restore the folder of ledgers with its .uses folders, or start a new run.",
            ) from error
        self._size = len(content)
        return Counter(content)

    def _unwritable(self, error: OSError) -> UnsuitableData:
        return UnsuitableData(
            f"cannot write the mark of the run's uses beside the ledger: {error.strerror}",
            fix="Free space and make the folder of ledgers writable, then resume the run.",
        )


def mark_of(ledger: Path, reservation: str) -> HighWater:
    """The mark of a reservation on the ledger in that file."""
    return HighWater(ledger.parent / (ledger.stem + SUFFIX) / reservation)


def require_ledgers_of_uses(folder: Path) -> None:
    """A use that was noted has a reservation that pays for it: else a ledger was deleted, or restored from an older copy.

    Raises:
        IntegrityError: A ledger is missing or lacks a reservation that was used; or one is broken.
    """
    for uses in sorted(folder.glob(f"*{SUFFIX}")):
        if not uses.is_dir():
            continue
        # First the marks, then the ledger: a run that begins meanwhile reserves before it makes its mark.
        marks = {mark.name for mark in uses.iterdir() if _RESERVATION.fullmatch(mark.name) and mark.is_file()}
        ledger = Ledger(uses.with_suffix(".jsonl"))
        if marks - {charge.reservation for charge in ledger.history()}:
            raise IntegrityError(
                f"{ledger.path.name} lacks a reservation that a run has used, noted in {uses.name}: the ledger was deleted, "
                "moved away, or restored from an older copy",
                fix="Restore the ledger from its newest copy, or move its .uses folder to where it went.",
            )

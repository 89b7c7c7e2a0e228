"""One writer of an archive at a time, however many processes it has.

The lock is on a file beside the archive and belongs to the writer and to every process that it started: they inherit
the open file, so the lock lasts until the last of them has ended. After a kill the next writer therefore starts only
when no orphan can write into its folder any more.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import reduction
from pathlib import Path
from typing import Any

from synthrelease.errors import UnsuitableData, UsageError

PATIENCE_S = 5.0
"""How long the orphans of a killed writer are waited for; they notice its end at once."""


class HeldLock:
    """A lock that a process holds; given to a spawned process as an argument, it is held by both."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def __reduce__(self) -> tuple[Callable[..., HeldLock], tuple[Any, ...]]:
        return _inherited, (reduction.DupFd(self.descriptor),)


def _inherited(duplicate: Any) -> HeldLock:
    return HeldLock(duplicate.detach())


@contextmanager
def only_writer(archive: Path) -> Iterator[HeldLock]:
    """Hold an archive against every other writer until the block ends; the lock goes with the processes, however they die.

    Raises:
        UsageError: Somebody else is writing this archive.
        UnsuitableData: The folder cannot be written.
    """
    path = archive.with_name(f".{archive.name}.lock")
    try:
        archive.parent.mkdir(parents=True, exist_ok=True)
        descriptor = _acquired(path)
    except OSError as error:
        raise UnsuitableData(
            f"the archive {archive.name} cannot be locked: {error.strerror}", fix="Make its folder writable."
        ) from error
    try:
        yield HeldLock(descriptor)
    finally:
        path.unlink(missing_ok=True)
        fcntl.flock(descriptor, fcntl.LOCK_UN)
        os.close(descriptor)


def _acquired(path: Path) -> int:
    until = time.monotonic() + PATIENCE_S
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_still(path, descriptor):
                return descriptor
        except BlockingIOError as error:
            if time.monotonic() > until:
                os.close(descriptor)
                raise UsageError(
                    "another process is writing this archive", fix="Wait until it has ended, or stop it first."
                ) from error
            time.sleep(0.02)
        os.close(descriptor)  # held by others, or removed by its last holder: open what is there now


def _is_still(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False

"""One writer at a time in a folder of ledgers.

The lock covers the folder and not one file, since what one cohort may still spend depends on the ledgers of the cohorts
that it shares patients with: looking at all of them and writing to one is a single act. It goes with the process,
however that dies; nothing has to be cleaned up, and the empty lock file may stay.
"""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from synthrelease.errors import UnsuitableData

LOCK = ".ledgers.lock"


class _Lock:
    """The lock of one folder in this process: re-entrant for a thread, exclusive between threads."""

    def __init__(self) -> None:
        self.mutex = threading.RLock()
        self.depth = 0


_locks: dict[tuple[int, str], _Lock] = {}
_registry = threading.Lock()


def _lock_of(folder: Path) -> _Lock:
    # By process too: a forked child must not believe that it holds what its parent holds.
    key = (os.getpid(), os.path.realpath(folder))
    with _registry:
        return _locks.setdefault(key, _Lock())


@contextmanager
def folder_locked(folder: Path) -> Iterator[None]:
    """Hold a folder of ledgers against every other process and thread until the block ends; waits for its turn.

    A thread that holds it may take it again. The folder is made where it is missing.

    Raises:
        UnsuitableData: The folder cannot be made or written.
    """
    lock = _lock_of(folder)
    with lock.mutex:
        descriptor = _acquire(folder) if lock.depth == 0 else None
        lock.depth += 1
        try:
            yield
        finally:
            lock.depth -= 1
            if descriptor is not None:
                fcntl.flock(descriptor, fcntl.LOCK_UN)  # by name: closing would leave it with a child forked meanwhile
                os.close(descriptor)


def _acquire(folder: Path) -> int:
    path = folder / LOCK
    try:
        folder.mkdir(parents=True, exist_ok=True)
        while True:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                if _is_still(path, descriptor):
                    return descriptor
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)  # somebody removed the file while we waited: what we hold, others cannot see
    except OSError as error:
        raise UnsuitableData(
            f"the folder of ledgers cannot be locked: {error.strerror}",
            fix="Make it writable, or name another --ledger.",
        ) from error


def _is_still(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False

"""One process trains a run at a time: two would draw noise for the same counted steps."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from synthrelease.errors import UsageError


@contextmanager
def alone_with(run_folder: Path) -> Iterator[None]:
    """Hold the run folder until the block ends; the lock goes with the process, however it dies.

    Raises:
        UsageError: Another process trains this run.
    """
    run_folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(run_folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise UsageError("another process trains this run", fix="Wait for it, or stop it first.") from error
        yield
    finally:
        os.close(descriptor)

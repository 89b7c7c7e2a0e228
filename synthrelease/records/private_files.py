"""Files for their owner alone: mode 0600 from the first byte on, whole or absent, never half written."""

from __future__ import annotations

import os
from pathlib import Path

from synthrelease.errors import UnsuitableData
from synthrelease.records.files import PARTIAL, partial_beside, sync_folder


def write_private(path: Path, content: bytes) -> None:
    """Replace ``path`` by ``content`` in one step; on disk when this returns.

    What killed writers of this file left is removed: the caller must be its only writer meanwhile.

    Raises:
        UnsuitableData: The disk refuses; the old file is untouched.
    """
    try:
        for leftover in path.parent.glob(f"{PARTIAL}{path.name}-*"):
            leftover.unlink(missing_ok=True)
        partial = _written_beside(path, content)
        try:
            os.replace(partial, path)
        except OSError:
            partial.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)
    except OSError as error:
        raise _refused(path, error) from error


def create_private(path: Path, content: bytes) -> bytes:
    """Write ``path`` unless it is there already; of several processes that try at once exactly one succeeds.

    Returns:
        What is in the file: ``content``, or what was there before.

    Raises:
        UnsuitableData: The disk refuses.
    """
    try:
        partial = _written_beside(path, content)
        try:
            os.link(partial, path)
        except FileExistsError:
            return path.read_bytes()
        finally:
            partial.unlink(missing_ok=True)
        sync_folder(path.parent)
    except OSError as error:
        raise _refused(path, error) from error
    return content


def _written_beside(path: Path, content: bytes) -> Path:
    partial = partial_beside(path)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(descriptor)
    except OSError:
        partial.unlink(missing_ok=True)
        raise
    return partial


def _refused(path: Path, error: OSError) -> UnsuitableData:
    return UnsuitableData(
        f"cannot write {path.name}: {error.strerror}", fix="Make its folder writable and free space, then run again."
    )

"""Files for their owner alone: mode 0600 from the first byte on, whole or absent, never half written."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from synthrelease.errors import UnsuitableData
from synthrelease.records.files import PARTIAL


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
        _sync(path.parent)
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
        _sync(path.parent)
    except OSError as error:
        raise _refused(path, error) from error
    return content


def _written_beside(path: Path, content: bytes) -> Path:
    partial = path.with_name(f"{PARTIAL}{path.name}-{secrets.token_hex(4)}")
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


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _refused(path: Path, error: OSError) -> UnsuitableData:
    return UnsuitableData(
        f"cannot write {path.name}: {error.strerror}", fix="Make its folder writable and free space, then run again."
    )

"""Files that are either the old ones or the new ones, never half of each.

Everything is written under a temporary name beside its target, flushed to disk and renamed. A process that is
killed, or a disk that fills up, leaves the old state; leftovers carry the prefix ``.partial-`` and are swept away
by the next writer.
"""

from __future__ import annotations

import ctypes
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from synthrelease.errors import IntegrityError, UnsuitableData

PARTIAL = ".partial-"


def partial_beside(path: Path) -> Path:
    """A temporary name in the folder of ``path``, to write under before a rename."""
    return path.with_name(f"{PARTIAL}{path.name}-{secrets.token_hex(4)}")


def sync_folder(folder: Path) -> None:
    """Put the names in a folder on disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def atomic_write_bytes(path: Path, content: bytes) -> None:
    """Replace ``path`` by ``content`` in one step.

    Raises:
        UnsuitableData: The disk is full or the folder cannot be written; the old file is untouched.
    """
    partial = partial_beside(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(partial, path)
        sync_folder(path.parent)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise UnsuitableData(
            f"cannot write {path.name}: {error.strerror}", fix="Free space or choose another --out, then run again."
        ) from error


def atomic_write_text(path: Path, content: str) -> None:
    """Replace ``path`` by UTF-8 ``content`` in one step; see :func:`atomic_write_bytes`."""
    atomic_write_bytes(path, content.encode("utf-8"))


def canonical_json(value: Any) -> bytes:
    """The one byte string that stands for ``value``: sorted keys, no spaces, UTF-8, no NaN.

    >>> canonical_json({"b": 1, "a": [1.5, None]})
    b'{"a":[1.5,null],"b":1}'
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def atomic_write_json(path: Path, value: Any) -> None:
    """Write ``value`` for people and machines: indented, sorted, newline at the end, no NaN."""
    text = json.dumps(value, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False)
    atomic_write_text(path, text + "\n")


def read_json(path: Path) -> Any:
    """Read a record that synthrelease wrote.

    Raises:
        IntegrityError: The file is missing or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise IntegrityError(
            f"the record {path.name} is missing", fix="Run the stage that writes it, or name another --run."
        ) from error
    except ValueError as error:
        raise IntegrityError(
            f"the record {path.name} is not readable JSON", fix="Restore it from a copy, or run its stage again."
        ) from error


def sweep_partials(folder: Path) -> None:
    """Remove what killed writers left in ``folder`` (not below it)."""
    for leftover in folder.glob(f"{PARTIAL}*"):
        if leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)


def _exchange(first: Path, second: Path) -> None:
    """Swap two names at once (Linux renameat2 with RENAME_EXCHANGE); where the system cannot, by two renames."""
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    if rename is not None and rename(here, os.fsencode(first), here, os.fsencode(second), exchange) == 0:
        return
    aside = partial_beside(second)
    os.rename(second, aside)
    os.rename(first, second)
    os.rename(aside, first)


def put_in_place(new: Path, target: Path) -> None:
    """Give a finished folder its name; a folder of that name trades places with it and is then called ``new``.

    At every moment the old or the new one is visible under ``target``, whole.
    """
    if target.exists():
        _exchange(new, target)
    else:
        os.rename(new, target)
    sync_folder(target.parent)


@contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
    """Build a folder under a temporary name; it takes the name ``target`` only when the block ends well.

    An existing ``target`` trades names with the new folder in one system call and is removed afterwards, so that at
    every moment the old or the new one is visible. When the block raises, the temporary folder is removed and
    ``target`` is untouched.

    Yields:
        The temporary folder to write into.

    Raises:
        UnsuitableData: The disk is full or the place cannot be written.
    """
    partial = partial_beside(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        partial.mkdir()
        yield partial
        put_in_place(partial, target)
        shutil.rmtree(partial, ignore_errors=True)  # what stood there before
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise UnsuitableData(
            f"cannot write the folder {target.name}: {error.strerror or type(error).__name__}",
            fix="Free space or choose another --out, then run again.",
        ) from error
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise

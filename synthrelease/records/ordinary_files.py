"""The files of a folder that came from elsewhere: nothing is followed that leads out of it."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from synthrelease.errors import IntegrityError, UnsuitableData

_BLOCK = 1 << 20


def files_below(folder: Path, *, ordered: bool, below: str = "") -> Iterator[tuple[str, bool]]:
    """(path, whether an ordinary file) of all files below a folder; links are not followed.

    An empty folder has no place in a manifest, yet its name says something: it is given too, with a slash at its end.
    """
    empty = True
    with os.scandir(folder / below) as scan:
        entries: Iterable[os.DirEntry[str]] = scan
        if ordered:
            # A folder sorts as its name and a slash: then the walk is in byte order of whole paths.
            entries = sorted(scan, key=lambda e: os.fsencode(e.name) + b"/" * e.is_dir(follow_symlinks=False))
        for entry in entries:
            empty = False
            path = f"{below}{entry.name}"
            if entry.is_dir(follow_symlinks=False):
                yield from files_below(folder, ordered=ordered, below=f"{path}/")
            else:
                yield path, entry.is_file(follow_symlinks=False)
    if empty and below:
        yield below, False


def ordinary_digest(path: Path) -> str:
    """SHA-256 of an ordinary file.

    Raises:
        IntegrityError: It is a link or a special file.
        UnsuitableData: It is not there, or cannot be read.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        if path.is_symlink():
            raise IntegrityError("a listed file is a link", fix="Keep ordinary files only.") from error
        raise UnsuitableData(f"a listed file cannot be read: {error.strerror}", fix="Make it readable.") from error
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise IntegrityError("a listed file is a special file", fix="Keep ordinary files only.")
        digest = hashlib.sha256()
        while block := os.read(descriptor, _BLOCK):
            digest.update(block)
        return digest.hexdigest()
    finally:
        os.close(descriptor)

"""A folder's manifest: one line of digest and path for every file, in byte order of the paths.

    <64 hex digits of SHA-256>  <path>\\n        as `sha256sum -c` reads it

The digest of a folder is the SHA-256 of its manifest's bytes: one number that stands for every file, however many there
are. Everything here streams; nothing holds a list of all files in memory.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import BinaryIO, NamedTuple

from synthrelease.errors import IntegrityError, UnsuitableData
from synthrelease.records.ordinary_files import files_below, ordinary_digest

MANIFEST = "manifest-sha256.txt"

LONGEST_PATH = 4096

_LINE = re.compile(rb"([0-9a-f]{64})  ([^\x00-\x1f\x7f\\]+)\n")
_FILES_A_TASK = 64


class Problem(NamedTuple):
    """One file that is not what its manifest says.

    Attributes:
        kind: "missing", "changed", "extra" (the manifest does not name it) or "link" (no ordinary file or folder).
        path: Relative to the folder; of an empty folder with a slash at its end.
    """

    kind: str
    path: str


class ManifestWriter:
    """Writes a manifest entry by entry, and knows its digest at the end.

    Attributes:
        files: Entries so far.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self.files = 0
        self._stream = stream
        self._digest = hashlib.sha256()
        self._last = b""

    def add(self, path: str, digest: str) -> None:
        """One more file.

        Raises:
            ValueError: The path or digest cannot stand in a manifest, or comes out of order.
        """
        self.add_lines(line_of(path, digest))

    def add_lines(self, lines: bytes) -> None:
        """Entries that are lines already, see `line_of`.

        Raises:
            ValueError: As `add`.
        """
        for line in lines.splitlines(keepends=True):
            path, _ = _entry(line)
            if path <= self._last:
                raise ValueError("the paths of a manifest are not in byte order")
            self._last = path
            self.files += 1
        self._stream.write(lines)
        self._digest.update(lines)

    @property
    def digest(self) -> str:
        """SHA-256 of the manifest's bytes so far, 64 hex digits."""
        return self._digest.hexdigest()


def line_of(path: str, digest: str) -> bytes:
    """One line of a manifest."""
    return f"{digest}  {path}\n".encode()


def manifest_bytes(entries: Iterable[tuple[str, str]]) -> bytes:
    """A small manifest in one piece, from (path, digest) in any order.

    Raises:
        ValueError: A path or digest that cannot stand in a manifest, or a path twice.
    """
    lines = [line_of(path, digest) for path, digest in sorted(entries, key=lambda entry: entry[0].encode())]
    last = b""
    for line in lines:
        path, _ = _entry(line)
        if path == last:
            raise ValueError("a path stands twice in a manifest")
        last = path
    return b"".join(lines)


def lines_of(manifest: Path) -> Iterator[tuple[str, str]]:
    """The entries of a manifest, (path, digest), one after the other.

    Raises:
        IntegrityError: The file is missing, a line is malformed, paths are not in byte order (or stand twice), or one
            leads out of the folder.
    """
    try:
        with manifest.open("rb") as stream:
            last = b""
            number = 0
            while line := stream.readline(LONGEST_PATH + 68):
                number += 1
                try:
                    path, digest = _entry(line)
                except ValueError as error:
                    raise _broken(manifest, f"line {number} is malformed") from error
                if path <= last:
                    raise _broken(manifest, f"line {number} is out of order")
                last = path
                yield path.decode(), digest
    except OSError as error:
        raise IntegrityError(
            f"the manifest {manifest.name} is missing", fix="Get the folder again from its source."
        ) from error


def folder_manifest(folder: Path, *, leave_out: frozenset[str] = frozenset()) -> Iterator[tuple[str, str]]:
    """(path, digest) of every file below a folder in byte order of the paths, one after the other.

    Args:
        folder: Any folder.
        leave_out: Paths that get no entry, such as the manifest itself.

    Raises:
        IntegrityError: It holds a link, or something that is neither a file nor a folder.
        UnsuitableData: A file cannot be read.
    """
    for path, ordinary in files_below(folder, ordered=True):
        if not ordinary:
            raise IntegrityError(
                "a folder that is to be listed holds a link, a special file or an empty folder",
                fix="Keep ordinary files only.",
            )
        if path not in leave_out:
            yield path, ordinary_digest(folder / path)


def problems(folder: Path, manifest: Path | None = None, *, prefix: str = "", threads: int = 1) -> Iterator[Problem]:
    """Every file of a folder that is not what the manifest says, one after the other; none when all is well.

    Args:
        folder: What the manifest lists, whole. The manifest itself may lie in it.
        manifest: Where it is; None: in the folder, under its usual name.
        prefix: Start of every path in the manifest that is no part of the paths here, e.g. "data/".
        threads: Files that are read at the same time.

    Raises:
        IntegrityError: The manifest is missing or malformed, or a path lacks the prefix.
    """
    manifest = manifest or folder / MANIFEST
    present = 0
    for entry, found in _compared(folder, _without(prefix, lines_of(manifest), manifest), threads):
        present += found != "missing"
        if found:
            yield Problem(found, entry)
    own = {MANIFEST} if manifest.parent == folder and manifest.name == MANIFEST else set()
    # What is there but not listed: counting is enough while the counts agree, and needs no memory.
    ordinary = 0
    odd = False
    for path, is_ordinary in files_below(folder, ordered=False):
        ordinary += is_ordinary and path not in own
        odd |= not is_ordinary
    if odd or ordinary != present:
        yield from _unlisted(folder, _without(prefix, lines_of(manifest), manifest), own)


def _compared(folder: Path, entries: Iterator[tuple[str, str]], threads: int) -> Iterator[tuple[str, str]]:
    """(path, "" or the kind of problem) of every entry, in order."""
    if threads <= 1:
        for entry in entries:
            yield entry[0], _problem(folder, entry)
        return
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[tuple[list[tuple[str, str]], Future[list[str]]]] = deque()
        while part := list(islice(entries, _FILES_A_TASK)):
            waiting.append((part, pool.submit(lambda p: [_problem(folder, entry) for entry in p], part)))
            if len(waiting) > 2 * threads:
                done, future = waiting.popleft()
                yield from zip([path for path, _ in done], future.result(), strict=True)
        for done, future in waiting:
            yield from zip([path for path, _ in done], future.result(), strict=True)


def _problem(folder: Path, entry: tuple[str, str]) -> str:
    path, digest = entry
    try:
        return "" if ordinary_digest(folder / path) == digest else "changed"
    except IntegrityError:
        return "link"
    except UnsuitableData:
        return "missing"


def _unlisted(folder: Path, entries: Iterator[tuple[str, str]], own: set[str]) -> Iterator[Problem]:
    """Links, and files that no entry names: the sorted folder and the sorted manifest side by side."""
    listed = next(entries, None)
    for path, ordinary in files_below(folder, ordered=True):
        while listed is not None and listed[0].encode() < os.fsencode(path):
            listed = next(entries, None)
        named = listed is not None and listed[0] == path
        if not named and path not in own:
            yield Problem("extra" if ordinary or path.endswith("/") else "link", path)


def _entry(line: bytes) -> tuple[bytes, str]:
    """Path and digest of a line. Raises `ValueError` for what cannot stand in a manifest."""
    found = _LINE.fullmatch(line)
    if found is None or len(found[2]) > LONGEST_PATH:
        raise ValueError("no line of a manifest")
    path = found[2]
    if any(part in (b"", b".", b"..") for part in path.split(b"/")):
        raise ValueError("a path leads out of its folder")
    path.decode()
    return path, found[1].decode()


def _without(prefix: str, entries: Iterator[tuple[str, str]], manifest: Path) -> Iterator[tuple[str, str]]:
    for path, digest in entries:
        if not path.startswith(prefix) or path == prefix:
            raise _broken(manifest, "a path lacks its prefix")
        yield path.removeprefix(prefix), digest


def _broken(manifest: Path, what: str) -> IntegrityError:
    return IntegrityError(
        f"the manifest {manifest.name} is not one that synthrelease writes: {what}",
        fix="Get the folder again from its source.",
    )

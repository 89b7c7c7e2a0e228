"""What lies in a pack's folder against what its two manifests name: every byte, and nothing beside.

The archive's files are read one after the other as the manifest is; memory does not grow with their number.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from synthrelease.errors import IntegrityError
from synthrelease.records.digests import digest_of_file
from synthrelease.records.manifest import line_of, lines_of, problems
from synthrelease.release.bag import ASK_AGAIN, DATA, PAYLOAD_MANIFEST, TAG_MANIFEST

EVIDENCE = "evidence/"
"""The one folder of pages; there are none below it."""

SHOWN = 10
"""Names of one kind that a message holds."""

_WORDS = {
    "missing": "missing",
    "changed": "changed",
    "extra": "not part of the release",
    "link": "a link instead of a file",
    "weights": "weights of a network, which no release holds",
}


class Problems:
    """What is wrong with which file, counted; of each kind only the first names are kept."""

    def __init__(self) -> None:
        self._first: dict[str, list[str]] = {}
        self._counts: dict[str, int] = {}

    def add(self, kind: str, name: str) -> None:
        """One more file that is missing, changed, extra, a link, or holds weights."""
        self._counts[kind] = self._counts.get(kind, 0) + 1
        if len(kept := self._first.setdefault(kind, [])) < SHOWN:
            kept.append(name)

    def refuse(self, fix: str) -> None:
        """Go on only if there is none.

        Raises:
            IntegrityError: Names the files, without control characters.
        """
        told = []
        for kind in _WORDS:
            if count := self._counts.get(kind, 0):
                names = ", ".join(ascii(name)[1:-1] for name in self._first[kind])
                told.append(f"{_WORDS[kind]}: {names}" + (f" and {count - SHOWN} more" if count > SHOWN else ""))
        if told:
            raise IntegrityError("; ".join(told), fix=fix)


def check_archive(pack: Path, found: Problems, threads: int = 1) -> tuple[str, int]:
    """Read every file below data/ and compare.

    Args:
        pack: The pack's folder; its manifest is the sealed one.
        found: Told of every problem.
        threads: Files read at the same time.

    Returns:
        SHA-256 of the manifest without ``data/`` before its paths, which is the archive's own; and the number of files.

    Raises:
        IntegrityError: The manifest is none, or the folder cannot be walked.
    """
    manifest = pack / PAYLOAD_MANIFEST
    archive, files = hashlib.sha256(), 0
    for path, digest in lines_of(manifest):
        archive.update(line_of(path.removeprefix(DATA), digest))
        files += 1
    try:
        for kind, path in problems(pack / DATA, manifest, prefix=DATA, threads=threads):
            found.add(kind, DATA + path)
    except (OSError, RecursionError) as error:
        raise IntegrityError(f"{DATA} is missing or cannot be read", fix=ASK_AGAIN) from error
    return archive.hexdigest(), files


def check_pages(pack: Path, above: tuple[str, ...], found: Problems) -> dict[str, str]:
    """Read every file outside of data/ and compare.

    Args:
        pack: The pack's folder; its tag manifest is the sealed one.
        above: Files that must be there and that no manifest names.
        found: Told of every problem.

    Returns:
        SHA-256 of every page by its name.

    Raises:
        IntegrityError: The tag manifest is none, or names what is no page.
    """
    tags = dict(lines_of(pack / TAG_MANIFEST))
    for name in tags:
        if name.startswith(DATA) or name in above:
            raise IntegrityError(f"{TAG_MANIFEST} names {ascii(name)[1:-1]}, which is not a page", fix=ASK_AGAIN)
    there = set()
    for place in ("", EVIDENCE):
        for entry in _entries(pack / place):
            name = place + entry.name
            there.add(name)
            if entry.is_dir(follow_symlinks=False):
                if f"{name}/" not in (DATA, EVIDENCE):
                    found.add("extra", f"{name}/")
            elif not entry.is_file(follow_symlinks=False):
                found.add("link", name)
            elif name not in tags and name not in above:
                found.add("extra", name)
            elif name in tags and digest_of_file(pack / name) != tags[name]:
                found.add("changed", name)
    for name in sorted({*tags, *above} - there):
        found.add("missing", name)
    return tags


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """What lies in a folder, and not below it; nothing where there is none, or a link in its place."""
    if folder.is_symlink() or not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        return sorted(entries, key=lambda entry: entry.name)

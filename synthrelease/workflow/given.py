"""Folders that somebody names for an audit: what they are before anything is compared, and that they stay as they were.

Every file is read twice for that, before and after: about a second a gigabyte that is still in memory, and as long as
the disk needs for one that is not.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from synthrelease.cohort.labels import read_table
from synthrelease.dicom.header import walked
from synthrelease.dicom.opening import list_files
from synthrelease.errors import IntegrityError, UsageError
from synthrelease.records.digests import digest_of_file
from synthrelease.records.progress import Progress

SYNTHETIC_DATA = 0x0008001C
"""Synthetic Data (PS3.3 C.7.6.1): YES in what a generator made."""

_LOOKED_AT = 200
_A_BATCH = 64


@dataclass(frozen=True)
class Contents:
    """What a folder (or a table with its pictures) holds.

    Attributes:
        digest: SHA-256 over every path and its content.
        pixels: SHA-256 over the contents alone, whatever the files are called.
        files: How many.
        size_bytes: Together.
    """

    digest: str
    pixels: str
    files: int
    size_bytes: int


def contents_of(role: str, source: Path, progress: Progress, threads: int) -> Contents:
    """Read and hash everything that an audit may read of a source; links to files count as the files.

    Raises:
        UsageError: There is no file, or one cannot be read.
    """
    progress.stage(f"hashing the {role} folder, so that a change during the audit is noticed")
    began = time.monotonic()
    paths = sorted(_files_of(source), key=lambda path: os.fsencode(path))
    if not paths:
        raise UsageError(f"the {role} folder is empty", fix=f"Check --{role}: there is no file in it.")
    whole, size = hashlib.sha256(), 0
    digests: list[str] = []
    try:
        with ThreadPoolExecutor(max(1, threads)) as pool:
            for done, (path, digest) in enumerate(zip(paths, pool.map(digest_of_file, paths), strict=True), start=1):
                whole.update(os.fsencode(os.path.relpath(path, source)) + b"\0" + digest.encode() + b"\n")
                digests.append(digest)
                size += path.stat().st_size
                if done % _A_BATCH == 0:
                    progress.step(done)
    except OSError as error:
        raise UsageError(
            f"a file of the {role} folder cannot be read: {error.strerror}", fix="Make every file readable."
        ) from error
    seconds = time.monotonic() - began
    progress.note(f"{role}: {len(paths)} files, {size / 1e9:.2f} GB, hashed in {seconds:.0f} s; once more at the end")
    pixels = hashlib.sha256("".join(sorted(digests)).encode()).hexdigest()
    return Contents(whole.hexdigest(), pixels, len(paths), size)


def _files_of(source: Path) -> set[Path]:
    """The files below a folder, or a table; and the pictures that tables name, wherever they lie."""
    if source.is_file():
        return {source, *_named_by(source)}
    found = {Path(place, name) for place, _, names in os.walk(source) for name in names}
    found = {path for path in found if path.is_file()}
    for table in source.glob("*.csv"):
        found |= _named_by(table)
    return found


def _named_by(table: Path) -> set[Path]:
    try:
        columns = read_table(table)
    except UsageError:
        return set()  # whoever reads it as a table says what is wrong with it
    named: set[Path] = set()
    for name in columns.columns:
        if name.startswith(("image", "mask")):
            cells = columns.column(name) or []
            paths = (Path(os.path.normpath(table.parent / cell)) for cell in cells if cell)
            named |= {path for path in paths if path.is_file()}
    return named


def refuse_same_place(folders: Mapping[str, Path]) -> None:
    """The sides of a comparison lie apart.

    Raises:
        UsageError: Two are one folder, be it through a link, or one lies in the other.
    """
    for one, other in _couples(folders):
        first, second = folders[one].resolve(), folders[other].resolve()
        if first == second:
            raise UsageError(
                f"--{one} and --{other} are the same folder: comparing images with themselves says nothing",
                fix="Name two folders; patients of the holdout were never seen by the generator.",
            )
        inner, outer = (one, other) if first.is_relative_to(second) else (other, one)
        if first.is_relative_to(second) or second.is_relative_to(first):
            raise UsageError(
                f"the {inner} folder lies in the {outer} folder, so its images would stand on both sides",
                fix="Put them side by side.",
            )


def refuse_same_contents(held: Mapping[str, Contents]) -> None:
    """The sides of a comparison hold different files.

    Raises:
        UsageError: Two hold the same ones, whatever they are called.
    """
    for one, other in _couples(held):
        if held[one].pixels == held[other].pixels:
            raise UsageError(
                f"the {one} and the {other} folder hold the same files",
                fix="Name the folder of each side; a copy of one is no other side.",
            )


def refuse_swapped(folders: Mapping[str, Path]) -> None:
    """No side that was given as real says of itself that it is synthetic.

    Raises:
        UsageError: Most of its DICOM images carry Synthetic Data = YES, or it is an archive of synthrelease.
    """
    for role in ("real", "holdout"):
        folder = folders.get(role)
        if folder is None or not folder.is_dir():
            continue
        looked_at, synthetic = _marked(folder)
        if synthetic and 2 * synthetic >= looked_at:
            hint = "are --real and --synthetic swapped?" if role == "real" else "is it a synthetic archive?"
            raise UsageError(
                f"the {role} folder says of itself that it is synthetic: {synthetic} of the first {looked_at} DICOM "
                f"files carry Synthetic Data (0008,001C) = YES; {hint}",
                fix="--real is what the generator was trained on, --synthetic what it made. Real files that were "
                "marked by mistake must be corrected first.",
            )


def _marked(folder: Path) -> tuple[int, int]:
    """Of the first DICOM files, how many there are and how many call themselves synthetic."""
    looked_at = synthetic = 0
    for path in list_files(folder):
        try:
            header, _ = walked(path)
        except (ValueError, OSError, RecursionError):
            continue
        looked_at += 1
        synthetic += header.text(SYNTHETIC_DATA).strip().upper() == "YES"
        if looked_at == _LOOKED_AT:
            break
    return looked_at, synthetic


def require_unchanged(folders: Mapping[str, Path], before: Mapping[str, Contents], progress: Progress, n: int) -> None:
    """Every folder is what it was when it was first read.

    Raises:
        IntegrityError: A file was changed, added or removed meanwhile; no verdict is written.
    """
    for role, folder in folders.items():
        if contents_of(role, folder, progress, n).digest != before[role].digest:
            raise IntegrityError(
                f"the {role} folder was changed while it was audited, so the findings are about nothing that exists",
                fix="Let nobody write there, and audit again.",
            )


def _couples(names: Iterable[str]) -> Iterator[tuple[str, str]]:
    listed = list(names)
    return ((one, other) for index, one in enumerate(listed) for other in listed[index + 1 :])

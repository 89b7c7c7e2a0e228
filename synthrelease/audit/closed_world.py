"""Whether an archive is nothing but what its policy makes: every byte, every name, no file too many or too few.

    DICOM file    = a template of its kind outside the slots; slots = what the release and the file's number give;
                    pixels have their length and no bit that no pixel uses; what a header says of them is true
    other files   = the digest that the policy gives
    manifest      = the digest and path of every other file, in order
    folder        = these files and no other file, folder or link

What may differ between two archives of one policy is then pixel values alone, which other checks judge. Times, owners,
modes and extended attributes of files are not looked at: a release packs names and content.
"""

from __future__ import annotations

import hashlib
import heapq
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from pydicom import dcmread

from synthrelease.audit.expectation import Expectation
from synthrelease.dicom.mask_forms import Compression
from synthrelease.dicom.release.layout import FileKind
from synthrelease.dicom.release.pixels import overlap, strays
from synthrelease.dicom.release.settings import ArchiveSettings
from synthrelease.dicom.release.templates import Expected
from synthrelease.dicom.template import PIXELS, Template
from synthrelease.records.manifest import MANIFEST, line_of

EXTRA = "file that the release does not have"
MISSING = "file that is missing"
NOT_ORDINARY = "link, special file or empty folder"
TEXT = "other content than the policy gives"
UNUSED_BITS = "bits that no pixel uses"
VARIANT = "header that its content contradicts"
LISTING = "manifest that does not list the files as they are"


class Compared(NamedTuple):
    """One file against what it must be.

    Attributes:
        digest: SHA-256 of its bytes, hex.
        problems: In public words; empty when it is what it must be.
    """

    digest: str
    problems: tuple[str, ...]


def compared_at(path: Path, folder: Path, expectation: Expectation) -> Compared:
    """The file at ``path`` against what it must be."""
    content = path.read_bytes()
    name = path.relative_to(folder).as_posix()
    return Compared(hashlib.sha256(content).hexdigest(), tuple(file_problems(content, name, expectation)))


def file_problems(content: bytes, name: str, expectation: Expectation) -> list[str]:
    """What keeps a file from being the one that the release has under that name.

    Args:
        content: Its bytes.
        name: Its path relative to the archive, with ``/``.
        expectation: What the archive must be. The manifest is judged with the folder, see `listing_problems`.
    """
    if name == MANIFEST:
        return []
    if name in expectation.texts:
        return [] if hashlib.sha256(content).hexdigest() == expectation.texts[name] else [f"{name}: {TEXT}"]
    expected = expectation.release.expected(name)
    if expected is None:
        return [EXTRA]
    candidates = _candidates(expected, expectation)
    fits = next((i for i, template in candidates if not template.problems(content)), None)
    if fits is None:
        # Of several forms the one of the file's length is meant, if any is.
        meant = min((t for _, t in candidates), key=lambda t: abs(len(t.content) - len(content)))
        return meant.problems(content)
    values = expected.templates[fits].values(content)
    found = [
        f"{key} of another file" for key, value in values.items() if key != PIXELS and value != expected.values[key]
    ]
    if PIXELS in values:
        found += _pixel_problems(content, values[PIXELS], expected, fits, expectation)
    return found


def _candidates(expected: Expected, expectation: Expectation) -> list[tuple[int, Template]]:
    """The forms that a file may have: of a report the one of its image's class, where the classes are known."""
    forms = list(enumerate(expected.templates))
    if expected.place.kind is FileKind.REPORT and expectation.labels is not None:
        label = int(expectation.labels[expected.place.number - 1])
        return forms[label : label + 1]
    return forms


def _pixel_problems(
    content: bytes, pixels: bytes, expected: Expected, form: int, expectation: Expectation
) -> Iterator[str]:
    settings = expectation.release.settings
    try:
        if strays(expected.place.kind, pixels, settings):
            yield UNUSED_BITS
        elif len(expected.templates) > 1 and overlap(_planes(content, pixels, settings)) != bool(form):
            yield VARIANT
    except Exception:
        # Pixels that no decoder takes, however it says so.
        yield UNUSED_BITS


def _planes(content: bytes, pixels: bytes, settings: ArchiveSettings) -> npt.NDArray[np.bool_]:
    """Masks of a BINARY file, (K, H, W)."""
    shape = (len(settings.segments), settings.rows, settings.columns)
    if settings.mask_compression is not Compression.NONE:
        return np.asarray(dcmread(BytesIO(content)).pixel_array, np.bool_).reshape(shape)
    bits = np.unpackbits(np.frombuffer(pixels, np.uint8), count=int(np.prod(shape)), bitorder="little")
    return bits.reshape(shape).view(np.bool_)


def entries_below(folder: Path) -> list[tuple[str, bool]]:
    """(path, whether an ordinary file) of everything in a folder that is no filled folder, in byte order."""
    found: list[tuple[str, bool]] = []
    waiting = [folder]
    while waiting:
        here = waiting.pop()
        with os.scandir(here) as scan:
            entries = list(scan)
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                waiting.append(Path(entry.path))
            else:
                found.append((_name(entry.path, folder), entry.is_file(follow_symlinks=False)))
        if not entries and here != folder:
            found.append((_name(here, folder) + "/", False))
    return sorted(found, key=lambda entry: os.fsencode(entry[0]))


def _name(path: str | Path, folder: Path) -> str:
    return Path(path).relative_to(folder).as_posix()


def listing_problems(
    present: Sequence[str], digests: Sequence[str], manifest: bytes | None, expectation: Expectation
) -> Counter[str]:
    """What is wrong with the folder as a whole: missing files, and a manifest that does not list what is there.

    Args:
        present: Paths of all ordinary files, in byte order.
        digests: SHA-256 of each, hex.
        manifest: Bytes of the manifest; None: there is none.
        expectation: What the archive must be.
    """
    wrong: Counter[str] = Counter()
    there = iter(present)
    here = next(there, None)
    wanted = heapq.merge(expectation.release.paths(), sorted([*expectation.texts, MANIFEST], key=str.encode))
    for path in wanted:
        while here is not None and os.fsencode(here) < path.encode():
            here = next(there, None)
        if here != path:
            wrong[MISSING] += 1
    listing = hashlib.sha256()
    for path, digest in zip(present, digests, strict=True):
        if path != MANIFEST:
            listing.update(line_of(path, digest) if path.isprintable() else b"?")
    if manifest is None or hashlib.sha256(manifest).digest() != listing.digest():
        wrong[LISTING] += 1
    return wrong

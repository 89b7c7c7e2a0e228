"""An unfinished archive: what is written, and how much of it is finished.

    .partial-ARCHIVE-<start of the plan's digest>/
        content/            the archive as far as it goes; takes the archive's name when it is whole
        journal/0000000     one entry for every finished shard: its manifest lines and label rows, sealed by a digest
        record.json         written last: the whole archive's record

The folder's name follows from the plan, so a writer of the same plan finds it again, and a writer of another plan
sweeps it away. An entry is renamed into place after the shard's files are closed: a kill loses at most the shards that
were being written. Files are not flushed one by one, so after a power failure an entry may name a file that never
reached the disk: `is_whole` hashes everything again before a shard is taken over.

An entry whose digest does not hold is what a power failure leaves: its shard is written again. The digest has no key, so
an entry that was edited may hold one that fits: every entry is also derived anew from what it says, and one that
contradicts itself or the plan is refused. So is a file that no writer of the plan makes.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from synthrelease.archive.columns import LABELS_FILE, columns
from synthrelease.archive.samples import notes_fit, shard_count, shard_range
from synthrelease.archive.texts import CROISSANT, README, label_lines
from synthrelease.dicom.release.layout import ROOT, path_of, place_at, places_of_patient
from synthrelease.dicom.release.settings import ArchiveSettings
from synthrelease.errors import IntegrityError
from synthrelease.records.digests import digest_of
from synthrelease.records.files import PARTIAL
from synthrelease.records.manifest import MANIFEST
from synthrelease.records.ordinary_files import files_below

_NAME_DIGITS = 16
_TEXTS = frozenset([README, CROISSANT, LABELS_FILE, MANIFEST])


@dataclass(frozen=True)
class Entry:
    """What one shard wrote.

    Attributes:
        shard: Its number, from 0.
        manifest: Its lines of the manifest, in byte order of the paths.
        rows: Its lines of labels.csv.
        labels: Number of images of every class.
        size_bytes: Of its files together.
    """

    shard: int
    manifest: str
    rows: str
    labels: tuple[int, ...]
    size_bytes: int

    @property
    def images(self) -> int:
        """Images of the shard."""
        return sum(self.labels)


@dataclass(frozen=True)
class Partial:
    """The folder of an unfinished archive."""

    folder: Path

    @property
    def content(self) -> Path:
        """The archive as far as it goes."""
        return self.folder / "content"

    @property
    def journal(self) -> Path:
        """Finished shards."""
        return self.folder / "journal"

    @property
    def record(self) -> Path:
        """The record of the whole archive."""
        return self.folder / "record.json"

    def make(self, settings: ArchiveSettings) -> None:
        """Make what is not there yet, and look at the names of what is.

        Raises:
            IntegrityError: Something lies there that no writer of this archive makes.
        """
        for folder in (self.folder, self.content, self.content / ROOT, self.journal):
            if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
                raise self.foreign(f"{folder.name} is no folder")
            folder.mkdir(exist_ok=True)
        for path, ordinary in files_below(self.content, ordered=False):
            # An empty folder may be that of a patient who was about to be written; the end tells (`require_only`).
            known = path in _TEXTS or place_at(path, settings) is not None
            if not path.endswith("/") and not (ordinary and known):
                raise self.foreign("its content holds a file that is none of the archive")
        for path, ordinary in files_below(self.journal, ordered=False):
            found = re.fullmatch(r"([0-9]{7})(\.new)?", path)
            if not ordinary or found is None or int(found[1]) >= shard_count(settings):
                raise self.foreign("its journal holds a file that is no entry")

    def require_only(self, files: int) -> None:
        """Let the content become the archive only if it holds so many ordinary files and nothing besides.

        Raises:
            IntegrityError: It holds another file, an empty folder or a link.
        """
        found = [ordinary for _, ordinary in files_below(self.content, ordered=False)]
        if len(found) != files or not all(found):
            raise self.foreign("its content holds a file or folder that is none of the archive")

    def foreign(self, what: str) -> IntegrityError:
        """The refusal of what no writer of this archive left."""
        return IntegrityError(
            f"the unfinished archive {self.folder.name} is not as a writer left it: {what}",
            fix=f"Delete the folder {self.folder.name} beside the archive, and sample again.",
        )

    def note(self, entry: Entry) -> None:
        """Enter a finished shard."""
        values = asdict(entry)
        text = json.dumps({"digest": digest_of(values), "entry": values})
        path = self._path(entry.shard)
        fresh = path.with_suffix(".new")
        fresh.write_text(text, encoding="utf-8")
        os.replace(fresh, path)

    def entry(self, shard: int) -> Entry | None:
        """The entry of a shard; None when it is not finished, or the entry did not reach the disk whole.

        Raises:
            IntegrityError: It is sealed, and is no entry or another shard's.
        """
        try:
            noted = json.loads(self._path(shard).read_bytes())
            values = noted["entry"]
            if noted["digest"] != digest_of(values):
                return None
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None
        try:
            entry = Entry(**{**values, "labels": tuple(values["labels"])})
        except (KeyError, TypeError) as error:
            raise self.foreign(f"entry {shard} of its journal is none") from error
        if entry.shard != shard:
            raise self.foreign(f"entry {shard} of its journal is another shard's")
        return entry

    def noted(self) -> Iterator[int]:
        """Numbers of the shards that have an entry, in no order."""
        with os.scandir(self.journal) as scan:
            for found in scan:
                if re.fullmatch(r"\d{7}", found.name):
                    yield int(found.name)

    def is_whole(self, entry: Entry, settings: ArchiveSettings) -> bool:
        """Whether every file of a shard, and none but those, is what the entry says.

        Raises:
            IntegrityError: The entry contradicts itself, the plan, or files that are what it says.
        """
        try:
            fits = _derived(entry, settings) == entry
        except (ValueError, IndexError, TypeError, AttributeError):
            fits = False
        if not fits:
            raise self.foreign(f"entry {entry.shard} of its journal contradicts itself")
        size = 0
        for line in entry.manifest.splitlines():
            digest, _, path = line.partition("  ")
            try:
                content = (self.content / path).read_bytes()
            except OSError:
                return False
            if hashlib.sha256(content).hexdigest() != digest:
                return False
            size += len(content)
        if size != entry.size_bytes:
            raise self.foreign(f"entry {entry.shard} of its journal counts other bytes than its files have")
        return True

    def remove(self) -> None:
        """Remove everything, the record last: until then a finished archive can be told from an unfinished one."""
        for folder in (self.content, self.journal, self.folder):
            shutil.rmtree(folder, ignore_errors=True)

    def _path(self, shard: int) -> Path:
        return self.journal / f"{shard:07d}"


def partial_of(archive: Path, plan: str) -> Partial:
    """The place of an archive's unfinished state under one plan."""
    return Partial(archive.with_name(f"{PARTIAL}{archive.name}-{plan[:_NAME_DIGITS]}"))


def sweep_others(archive: Path, mine: Partial) -> None:
    """Remove what killed writers of this very archive left under other plans; other archives' unfinished work stays."""
    name = re.compile(re.escape(f"{PARTIAL}{archive.name}-") + "[0-9a-f]{8,64}")
    for leftover in archive.parent.glob(f"{PARTIAL}*"):
        if name.fullmatch(leftover.name) and leftover != mine.folder:
            shutil.rmtree(leftover, ignore_errors=True)


def shard_paths(shard: int, settings: ArchiveSettings) -> Iterator[str]:
    """Every file of a shard in byte order of its path."""
    images = shard_range(shard, settings)
    first = images.start // settings.images_per_patient
    last = (images.stop - 1) // settings.images_per_patient
    for patient in range(first, last + 1):
        for place in places_of_patient(patient + 1, settings):
            yield path_of(place, settings)


def _derived(entry: Entry, settings: ArchiveSettings) -> Entry:
    """The entry as a writer would have made it from the labels and digests that it holds, and the plan.

    Raises:
        ValueError, IndexError, TypeError, AttributeError: It holds none, or not as many.
    """
    numbers = shard_range(entry.shard, settings)
    at = [column.name for column in columns(settings)].index("label")
    rows = list(csv.reader(entry.rows.removesuffix("\n").split("\n")))
    labels = [settings.classes.index(row[at]) for row in rows]
    told = len(settings.notes)
    notes = tuple(tuple(row[-told:]) for row in rows) if told else ()
    if len(labels) != len(numbers) or not notes_fit(notes, len(numbers), settings):
        raise ValueError("another number of labels or notes than images")
    digests = [line[:64] for line in entry.manifest.splitlines()]
    if not all(re.fullmatch("[0-9a-f]{64}", digest) for digest in digests):
        raise ValueError("a digest is none")
    lines = zip(shard_paths(entry.shard, settings), digests, strict=True)
    counted = Counter(labels)
    return Entry(
        shard=entry.shard,
        manifest="".join(f"{digest}  {path}\n" for path, digest in lines),
        rows=label_lines(numbers.start + 1, labels, settings, notes).decode("utf-8"),
        labels=tuple(counted[label] for label in range(len(settings.classes))),
        size_bytes=entry.size_bytes,
    )

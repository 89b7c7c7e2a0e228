"""An unfinished archive: what is written, and how much of it is finished.

    .partial-ARCHIVE-<start of the plan's digest>/
        content/            the archive as far as it goes; takes the archive's name when it is whole
        journal/0000000     one entry for every finished shard: its manifest lines and label rows, sealed by a digest
        record.json         written last: the whole archive's record

The folder's name follows from the plan, so a writer of the same plan finds it again, and a writer of another plan
sweeps it away. An entry is renamed into place after the shard's files are closed: a kill loses at most the shards that
were being written. Files are not flushed one by one, so after a power failure an entry may name a file that never
reached the disk: `is_whole` hashes everything again before a shard is taken over.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from synthrelease.archive.samples import shard_range
from synthrelease.dicom.release.layout import ROOT, path_of, places_of_patient
from synthrelease.dicom.release.settings import ArchiveSettings
from synthrelease.records.digests import digest_of
from synthrelease.records.files import PARTIAL

_NAME_DIGITS = 16


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

    def make(self) -> None:
        """Make what is not there yet."""
        for folder in (self.folder, self.content, self.content / ROOT, self.journal):
            folder.mkdir(exist_ok=True)

    def note(self, entry: Entry) -> None:
        """Enter a finished shard."""
        values = asdict(entry)
        text = json.dumps({"digest": digest_of(values), "entry": values})
        path = self._path(entry.shard)
        fresh = path.with_suffix(".new")
        fresh.write_text(text, encoding="utf-8")
        os.replace(fresh, path)

    def entry(self, shard: int) -> Entry | None:
        """The entry of a shard; None when it is not finished, or the entry is damaged."""
        try:
            noted = json.loads(self._path(shard).read_text(encoding="utf-8"))
            values = noted["entry"]
            if noted["digest"] != digest_of(values) or values["shard"] != shard:
                return None
            return Entry(**{**values, "labels": tuple(values["labels"])})
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def noted(self) -> Iterator[int]:
        """Numbers of the shards that have an entry, in no order."""
        with os.scandir(self.journal) as scan:
            for found in scan:
                if re.fullmatch(r"\d{7}", found.name):
                    yield int(found.name)

    def is_whole(self, entry: Entry, settings: ArchiveSettings) -> bool:
        """Whether every file of a shard, and none but those, is what the entry says."""
        told = [line.partition("  ") for line in entry.manifest.splitlines()]
        if [path for _, _, path in told] != list(shard_paths(entry.shard, settings)):
            return False
        try:
            return all(
                hashlib.sha256((self.content / path).read_bytes()).hexdigest() == digest for digest, _, path in told
            )
        except OSError:
            return False

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

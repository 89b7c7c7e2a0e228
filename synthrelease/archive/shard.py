"""One shard into files: templates filled, hashed and written; the innermost loop of an archive.

for image of the shard:
    values = UIDs and numbers of its files
    image, masks, report = template filled with values and pixels
    write, hash
enter the shard into the journal
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from synthrelease.archive.journal import Entry, Partial
from synthrelease.archive.samples import Contents, shard_range, unpacked
from synthrelease.archive.texts import label_lines
from synthrelease.archive.trays import Filled, Trays
from synthrelease.dicom.mask_forms import Compression, MaskKind
from synthrelease.dicom.release.layout import FileKind, Place, file_name, patient_folder, place_of
from synthrelease.dicom.release.pixels import even, image_pixels, mask_pixels
from synthrelease.dicom.release.settings import ArchiveSettings
from synthrelease.dicom.release.templates import ReleaseTemplates
from synthrelease.dicom.release.values import own_values, shared_values
from synthrelease.dicom.template import PIXELS, Buffer
from synthrelease.records.manifest import line_of


@dataclass(frozen=True)
class ShardWriter:
    """Writes shards of one archive; sent to every writing process once.

    Attributes:
        templates: Of the release.
        partial: The unfinished archive.
        trays: Where shards come from.
    """

    templates: ReleaseTemplates
    partial: Partial
    trays: Trays

    @property
    def settings(self) -> ArchiveSettings:
        """Of the archive."""
        return self.templates.settings

    def write(self, filled: Filled) -> Entry:
        """Write the files of a shard that lies in a tray and enter it into the journal."""
        settings = self.settings
        contents = self.trays.contents(filled)
        numbers = shard_range(contents.shard, settings)
        root = str(self.partial.content)
        lines: list[bytes] = []
        size = 0
        for start in range(numbers.start, numbers.stop, settings.images_per_patient):
            patient = start // settings.images_per_patient + 1
            folder = patient_folder(patient, settings)
            _make_folders(f"{root}/{folder}")
            written: list[tuple[str, str]] = []
            for index in range(start, min(start + settings.images_per_patient, numbers.stop)):
                for place, content in image_files(contents, index - numbers.start, self.templates):
                    path = f"{folder}/{file_name(place, settings)}"
                    _save(f"{root}/{path}", content)
                    written.append((path, hashlib.sha256(content).hexdigest()))
                    size += len(content)
            # All names are ASCII, so the order of texts is the order of bytes.
            lines += (line_of(path, digest) for path, digest in sorted(written))
        counted = Counter(contents.labels)
        entry = Entry(
            shard=contents.shard,
            manifest=b"".join(lines).decode("ascii"),
            rows=label_lines(numbers.start + 1, contents.labels, settings, contents.notes).decode("utf-8"),
            labels=tuple(counted[label] for label in range(len(settings.classes))),
            size_bytes=size,
        )
        self.partial.note(entry)
        return entry

    def taken_over(self, shard: int) -> Entry | None:
        """The entry of a shard that an earlier writer finished, every file hashed again; None when it must be redone.

        Raises:
            IntegrityError: The entry contradicts itself, the plan or the files.
        """
        entry = self.partial.entry(shard)
        return entry if entry is not None and self.partial.is_whole(entry, self.settings) else None


def image_files(contents: Contents, index: int, templates: ReleaseTemplates) -> Iterator[tuple[Place, bytes]]:
    """The files of one image of a shard, each with its place."""
    settings = templates.settings
    number = shard_range(contents.shard, settings).start + index + 1
    image = place_of(number, settings)
    shared = shared_values(image, settings)

    def filled(kind: FileKind, part: int, variant: str, pixels: Buffer) -> tuple[Place, bytes]:
        place = Place(kind, number, image.patient, image.image, part)
        values: dict[str, Buffer] = {**shared, **own_values(place, settings), PIXELS: pixels}
        return place, templates.of(place, variant).render(values)

    yield filled(FileKind.IMAGE, 0, "", image_pixels(contents.levels[index]))
    for part, (variant, pixels) in enumerate(_masks(contents, index, templates)):
        yield filled(FileKind.MASK, part, variant, pixels)
    if settings.reports:
        yield filled(FileKind.REPORT, 0, settings.classes[contents.labels[index]], b"")


def _masks(contents: Contents, index: int, templates: ReleaseTemplates) -> Iterator[tuple[str, Buffer]]:
    """Variant and pixels of every mask file of an image."""
    settings = templates.settings
    variant = templates.variant_of(bool(contents.overlapping[index]))
    raw = settings.mask_kind is MaskKind.BINARY and settings.mask_compression is Compression.NONE
    if not settings.segments:
        return
    if raw and not settings.one_file_per_segment:
        # The shard holds its bits as the file does.
        yield variant, even(contents.masks[index].data)
        return
    masks = unpacked(contents, index, settings)
    shown = [masks[part : part + 1] for part in range(len(masks))] if settings.one_file_per_segment else [masks]
    for each in shown:
        yield variant, mask_pixels(each, settings)


def _make_folders(folder: str) -> None:
    """Make a patient's two folders; they are there when the shard was begun before."""
    for each in (os.path.dirname(folder), folder):
        with suppress(FileExistsError):
            os.mkdir(each)


def _save(path: str, content: bytes) -> None:
    """Write a file without Python's buffers in between: they are half of a small file's time."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
    try:
        view = memoryview(content)
        while view:
            view = view[os.write(descriptor, view) :]
    finally:
        os.close(descriptor)

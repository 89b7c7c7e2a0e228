"""The text files of an archive as functions of its settings and labels: nothing on disk is read.

labels.csv        one row an image
croissant.json    what the columns mean, for machines
README.md         what a recipient must know
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from synthrelease.archive.columns import LABELS_FILE, columns
from synthrelease.archive.croissant import croissant_json
from synthrelease.archive.recipients import recipients_readme
from synthrelease.dicom.release.layout import FileKind, path_of, place_of
from synthrelease.dicom.release.settings import ArchiveSettings
from synthrelease.dicom.release.uids import UidKind
from synthrelease.dicom.release.values import patient_id, uid_of

README, CROISSANT = "README.md", "croissant.json"

_ROWS_AT_ONCE = 4096


def header_line(settings: ArchiveSettings) -> bytes:
    """The first line of labels.csv."""
    return _lines([[column.name for column in columns(settings)]])


def label_lines(
    first: int, labels: Sequence[int], settings: ArchiveSettings, notes: Sequence[Sequence[str]] = ()
) -> bytes:
    """The lines of consecutive images.

    Args:
        first: Number of the first image in the archive, from 1.
        labels: Class index of each.
        settings: Of the archive.
        notes: Cells of the settings' notes, a row for each image; empty without notes.
    """
    told = notes if settings.notes else [()] * len(labels)
    rows = zip(labels, told, strict=True)
    return _lines([*_row(number, label, settings), *cells] for number, (label, cells) in enumerate(rows, first))


def labels_csv(
    labels: Iterable[int], settings: ArchiveSettings, notes: Iterable[Sequence[str]] = ()
) -> Iterator[bytes]:
    """labels.csv, piece by piece; the arguments are those of `label_lines`, of all images."""
    yield header_line(settings)
    told = iter(notes)
    numbered = iter(labels)
    done = 0
    while part := list(islice(numbered, _ROWS_AT_ONCE)):
        yield label_lines(done + 1, part, settings, list(islice(told, len(part))))
        done += len(part)


def other_texts(settings: ArchiveSettings, counts: Sequence[int], labels_digest: str) -> dict[str, bytes]:
    """README.md and croissant.json.

    Args:
        settings: Of the archive.
        counts: Number of images of every class, in order.
        labels_digest: SHA-256 of labels.csv, 64 hex digits.
    """
    labels = dict(zip(settings.classes, counts, strict=True))
    return {
        README: recipients_readme(settings, labels).encode("utf-8"),
        CROISSANT: croissant_json(settings, labels, {LABELS_FILE: labels_digest}),
    }


def expected_texts(
    settings: ArchiveSettings, labels: Iterable[int], notes: Iterable[Sequence[str]] = ()
) -> dict[str, str]:
    """SHA-256 by path of every text file of the archive that has these labels and notes.

    Args:
        settings: Of the archive.
        labels: Class index of every image, in order; see `sampler.label_draw`.
        notes: Cells of the settings' notes of every image, in order; see `notes.noted_in`.
    """
    table = hashlib.sha256()
    counted: Counter[int] = Counter()

    def counting() -> Iterator[int]:
        for label in labels:
            counted[int(label)] += 1
            yield int(label)

    for piece in labels_csv(counting(), settings, notes):
        table.update(piece)
    digest = table.hexdigest()
    texts = other_texts(settings, [counted[index] for index in range(len(settings.classes))], digest)
    return {LABELS_FILE: digest} | {path: hashlib.sha256(text).hexdigest() for path, text in texts.items()}


def _row(number: int, label: int, settings: ArchiveSettings) -> list[str]:
    image = place_of(number, settings)
    masks = [path_of(place_of(number, settings, FileKind.MASK, part), settings) for part in range(settings.mask_files)]
    row = [
        path_of(image, settings),
        uid_of(UidKind.IMAGE, image, settings),
        patient_id(image.patient, settings),
        settings.classes[label],
        " ".join(masks),
    ]
    return [*row, path_of(place_of(number, settings, FileKind.REPORT), settings)] if settings.reports else row


def _lines(rows: Iterable[Sequence[str]]) -> bytes:
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows(rows)
    return stream.getvalue().encode("utf-8")

"""A folder of synthetic patients as DICOM files: whole or not at all, and never begun twice.

    plan = settings, source of the samples, templates
    hold the archive's lock; sweep what other plans left
    for shard of the plan:                       (whole patients, about 64 images)
        finished before a kill and still whole?  take it over
        else: draw its samples, fill the templates, write, enter it into the journal
    labels.csv, manifest lines out of the journal; README.md, croissant.json
    put the finished folder in its place

What is written depends on the plan alone: not on the number of processes, on kills in between, or on the clock. Memory
does not grow with the number of images: what is known of a finished shard is in the journal, on disk.
"""

from __future__ import annotations

import csv
import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from synthrelease.archive.columns import LABELS_FILE
from synthrelease.archive.crew import Crew, crew, most_at_once
from synthrelease.archive.journal import Entry, Partial, partial_of, sweep_others
from synthrelease.archive.lock import only_writer
from synthrelease.archive.samples import SampleBatch, Samples, held_samples, shard_count, shard_range
from synthrelease.archive.shard import ShardWriter
from synthrelease.archive.texts import CROISSANT, README, header_line, other_texts
from synthrelease.archive.trays import Filled, Trays, trays
from synthrelease.dicom.release.settings import ArchiveSettings
from synthrelease.dicom.release.templates import ReleaseTemplates, release_templates
from synthrelease.errors import IntegrityError, UnsuitableData, UsageError
from synthrelease.records.digests import digest_of, digest_of_file
from synthrelease.records.files import atomic_write_json, put_in_place, read_json
from synthrelease.records.manifest import MANIFEST, ManifestWriter, lines_of, problems
from synthrelease.records.progress import Progress, Silent

__all__ = ["ArchiveRecord", "ArchiveSettings", "SampleBatch", "Samples", "held_samples", "write_archive"]


@dataclass(frozen=True)
class ArchiveRecord:
    """What was written.

    Attributes:
        patients: Number of synthetic patients.
        images: Number of image files.
        segmentations: Number of segmentation files.
        reports: Number of report files.
        labels: Number of images by class name, every class included.
        manifest: SHA-256 of the manifest, which names every other file with its digest: the archive's digest.
        files: Number of files that the manifest names.
        size_bytes: Of those together.
        taken_over: Images that an interrupted writer of the same plan had finished.
    """

    patients: int
    images: int
    segmentations: int
    reports: int
    labels: Mapping[str, int]
    manifest: str
    files: int
    size_bytes: int
    taken_over: int = 0


def write_archive(
    folder: Path,
    samples: Samples,
    settings: ArchiveSettings,
    *,
    processes: int = 1,
    progress: Progress | None = None,
) -> ArchiveRecord:
    """Write the samples as a DICOM archive; an archive that stands there is replaced when the new one is whole.

    A writer that was killed, or failed for want of space, left what it had finished in a hidden folder; a writer of
    the same plan goes on from there and gives the same bytes.

    Args:
        folder: The archive's place.
        samples: Drawn shard by shard; a few shards are held at a time.
        settings: What all files share.
        processes: How many write; 1 writes in this process. The files are the same for any number.
        progress: Told the number of images written so far, and whether an interrupted archive is gone on with.

    Returns:
        Counts, and the digest of the whole.

    Raises:
        UsageError: `processes` below 1, another writer at this archive, or a label that the settings do not have.
        UnsuitableData: Samples that do not fit, a value that is not finite, or no space; the old archive stays.
        IntegrityError: What an interrupted writer left was edited, or something was put to it; nothing is changed.
    """
    if processes < 1:
        raise UsageError(f"processes is {processes}", fix="Use 1 or more.")
    progress = progress or Silent()
    templates = release_templates(settings)
    partial = partial_of(folder, _plan(samples, templates))
    with only_writer(folder) as lock:
        sweep_others(folder, partial)
        record = _put_in_place_before(folder, partial, settings)
        if record is None:
            try:
                partial.make(settings)
                with (
                    trays(settings, most_at_once(processes)) as shared,
                    crew(processes, ShardWriter(templates, partial, shared), lock) as hands,
                ):
                    taken_over = _take_over(hands, partial, settings, progress)
                    _write_rest(hands, shared, samples, settings, taken_over, progress)
                images = sum(len(shard_range(shard, settings)) for shard in taken_over)
                record = replace(_finish(partial, settings), taken_over=images)
                partial.require_only(record.files + 1)  # and the manifest
                # One flush for all files: the new name must not reach the disk before what it names.
                os.sync()
                put_in_place(partial.content, folder)
            except OSError as error:
                raise UnsuitableData(
                    f"cannot write the folder {folder.name}: {error.strerror or type(error).__name__}",
                    fix="Free space or choose another --out, then run again: what is written is not written twice.",
                ) from error
            except BrokenProcessPool as error:
                raise UnsuitableData(
                    "a writing process was ended from outside, most often for lack of memory",
                    fix="Run again with fewer processes: what is written is not written twice.",
                ) from error
            except (UsageError, UnsuitableData):
                partial.remove()  # nothing can come of this plan
                raise
        partial.remove()
    return record


def _plan(samples: Samples, templates: ReleaseTemplates) -> str:
    """Digest of everything that the archive's bytes follow from; the templates stand for the software's versions."""
    forms = [
        [*map(str, key), hashlib.sha256(form.content).hexdigest(), [asdict(slot) for slot in form.slots]]
        for key, form in templates.forms.items()
    ]
    return digest_of([templates.settings.to_json(), samples.digest, forms])


def _put_in_place_before(folder: Path, partial: Partial, settings: ArchiveSettings) -> ArchiveRecord | None:
    """The record of a writer of this plan that was killed after its archive had taken the name; None when none was.

    Raises:
        IntegrityError: The archive is whole, and the record counts otherwise.
    """
    try:
        record = ArchiveRecord(**read_json(partial.record))
        if digest_of_file(folder / MANIFEST) != record.manifest or any(problems(folder)):
            return None
    except (IntegrityError, OSError, TypeError):
        return None
    with (folder / LABELS_FILE).open(encoding="utf-8", newline="") as rows:
        counted = Counter(row["label"] for row in csv.DictReader(rows))
    paths = [path for path, _ in lines_of(folder / MANIFEST)]
    size = sum((folder / path).stat().st_size for path in paths)
    if record != _record(settings, (counted[name] for name in settings.classes), record.manifest, len(paths), size):
        raise partial.foreign("its record contradicts the archive")
    return replace(record, taken_over=record.images)


def _take_over(hands: Crew, partial: Partial, settings: ArchiveSettings, progress: Progress) -> frozenset[int]:
    """Shards that are finished, each hashed again."""
    found = frozenset(shard for shard in hands.each(_taken_over, partial.noted()) if shard is not None)
    if found:
        images = sum(len(shard_range(shard, settings)) for shard in found)
        progress.note(f"going on with an interrupted archive: {images} of {settings.images} images are written")
    return found


def _write_rest(
    hands: Crew,
    shared: Trays,
    samples: Samples,
    settings: ArchiveSettings,
    finished: frozenset[int],
    progress: Progress,
) -> None:
    def tasks() -> Iterator[Filled]:
        rest = (shard for shard in range(shard_count(settings)) if shard not in finished)
        for task, shard in enumerate(rest):
            yield shared.fill(task, shard, samples.draw(shard))

    done = sum(len(shard_range(shard, settings)) for shard in finished)
    for images in hands.each(_written, tasks()):
        done += images
        progress.step(done)


def _written(writer: ShardWriter, filled: Filled) -> int:
    return writer.write(filled).images


def _taken_over(writer: ShardWriter, shard: int) -> int | None:
    return shard if writer.taken_over(shard) is not None else None


def _finish(partial: Partial, settings: ArchiveSettings) -> ArchiveRecord:
    """Everything but the DICOM files, out of the journal, streaming; writes the record."""
    counts = [0] * len(settings.classes)
    size = 0
    table = hashlib.sha256()
    manifest_path, table_path = partial.content / MANIFEST, partial.content / "labels.csv"
    with manifest_path.open("wb") as listing, table_path.open("wb") as rows:
        manifest = ManifestWriter(listing)

        def add_rows(lines: bytes) -> None:
            rows.write(lines)
            table.update(lines)

        add_rows(header_line(settings))
        try:
            for entry in _entries(partial, settings):
                manifest.add_lines(entry.manifest.encode("ascii"))
                add_rows(entry.rows.encode("utf-8"))
                counts = [a + b for a, b in zip(counts, entry.labels, strict=True)]
                size += entry.size_bytes
        except (ValueError, TypeError, AttributeError) as error:
            raise partial.foreign("an entry of its journal was edited while it was written") from error
        labels_digest = table.hexdigest()
        # In byte order: DICOM/... , README.md, croissant.json, labels.csv
        texts = other_texts(settings, counts, labels_digest)
        for path in (README, CROISSANT):
            (partial.content / path).write_bytes(texts[path])
            manifest.add(path, hashlib.sha256(texts[path]).hexdigest())
            size += len(texts[path])
        manifest.add("labels.csv", labels_digest)
        size += rows.tell()
    record = _record(settings, counts, manifest.digest, manifest.files, size)
    atomic_write_json(partial.record, asdict(record))
    return record


def _record(
    settings: ArchiveSettings, counts: Iterable[int], manifest: str, files: int, size_bytes: int
) -> ArchiveRecord:
    return ArchiveRecord(
        patients=settings.patients,
        images=settings.images,
        segmentations=settings.images * settings.mask_files,
        reports=settings.images * settings.reports,
        labels=dict(zip(settings.classes, counts, strict=True)),
        manifest=manifest,
        files=files,
        size_bytes=size_bytes,
    )


def _entries(partial: Partial, settings: ArchiveSettings) -> Iterator[Entry]:
    for shard in range(shard_count(settings)):
        entry = partial.entry(shard)
        if entry is None:
            raise IntegrityError(
                "the journal of the archive was damaged while it was written",
                fix="Run again: damaged parts are redone.",
            )
        yield entry

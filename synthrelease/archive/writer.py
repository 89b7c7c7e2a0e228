"""A folder of synthetic patients as DICOM files, whole or not at all.

    P = number of samples, in order
    for patient in 1..P:            DICOM/P000001/S0000001/I0000001   image
                                    DICOM/P000001/S0000001/M0000001   masks
    labels.csv, README.md
    rename the finished folder to its name

File names have at most 8 characters and no extension, so a DICOMDIR stays possible (PS3.10, section 8.2). What is
written depends on the samples and the settings only, not on the batches, the number of processes or the clock.
"""

from __future__ import annotations

import csv
import hashlib
import io
import multiprocessing
import os
import re
import shutil
import signal
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path

import numpy as np
import numpy.typing as npt

from synthrelease.archive.patient import (
    MASK_THRESHOLD,
    ArchiveSettings,
    file_bytes,
    image_of,
    levels_of,
    masks_of,
    patient_id,
)
from synthrelease.archive.recipients import recipients_readme
from synthrelease.errors import UnsuitableData, UsageError
from synthrelease.records.files import PARTIAL, atomic_folder

__all__ = ["ArchiveRecord", "ArchiveSettings", "SampleBatch", "write_archive"]

MOST_PATIENTS = 9_999_999
"""Seven digits after the P of a folder name of 8 characters."""

_COLUMNS = ("file", "sop_instance_uid", "patient_id", "label", "mask_file")
_PATIENTS_A_TASK = 32


@dataclass(frozen=True)
class SampleBatch:
    """Samples as a generator makes them.

    Attributes:
        images: (n, 1, H, W) float32 in [-1, 1].
        masks: (n, K, H, W) float32 in [0, 1], inside from 0.5 on; K is the number of segments.
        labels: (n,) int, an index into the settings' classes.
    """

    images: npt.NDArray[np.float32]
    masks: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]


@dataclass(frozen=True)
class ArchiveRecord:
    """What was written.

    Attributes:
        patients: Number of synthetic patients; one image each.
        images: Number of image files.
        segmentations: Number of segmentation files.
        labels: Number of images by class name, every class included.
        size_bytes: Of all files together.
        files: SHA-256 by path relative to the archive, sorted by path; every file of the archive.
    """

    patients: int
    images: int
    segmentations: int
    labels: Mapping[str, int]
    size_bytes: int
    files: Mapping[str, str]


@dataclass(frozen=True)
class _Task:
    """A run of consecutive patients for one process; `first` counts from 1."""

    folder: Path
    settings: ArchiveSettings
    first: int
    levels: npt.NDArray[np.uint16]
    masks: npt.NDArray[np.bool_]
    labels: list[int]


@dataclass(frozen=True)
class _Written:
    """What one task wrote: rows of labels.csv, and path to (SHA-256, bytes)."""

    rows: list[tuple[str, ...]]
    files: dict[str, tuple[str, int]]


def write_archive(
    folder: Path,
    samples: Iterable[SampleBatch],
    settings: ArchiveSettings,
    *,
    processes: int = 1,
    progress: Callable[[int], None] | None = None,
) -> ArchiveRecord:
    """Write the samples as a DICOM archive; an archive that stands there is replaced when the new one is whole.

    Args:
        folder: The archive's place.
        samples: Read once, batch by batch; at most a few batches are held at a time.
        settings: What all files share.
        processes: How many write; 1 writes in this process. The files are the same for any number.
        progress: Called with the number of patients written so far.

    Returns:
        Counts, and the digest of every file for the caller's record.

    Raises:
        UsageError: `processes` below 1, or a label or mask count that the settings do not have.
        UnsuitableData: No sample, a wrong shape, a value that is not finite, or no space; nothing is changed.
    """
    if processes < 1:
        raise UsageError(f"processes is {processes}", fix="Use 1 or more.")
    rows: list[tuple[str, ...]] = []
    files: dict[str, tuple[str, int]] = {}

    def collect(written: _Written) -> None:
        rows.extend(written.rows)
        files.update(written.files)
        if progress is not None:
            progress(len(rows))

    _sweep_own_partials(folder)
    with atomic_folder(folder) as partial:
        tasks = _tasks(partial, samples, settings)
        if processes == 1:
            for task in tasks:
                collect(_write(task))
        else:
            _write_in_parallel(tasks, processes, collect)
        if not rows:
            raise UnsuitableData("there is no sample to write", fix="Ask for at least one synthetic patient.")
        counts = Counter(row[3] for row in rows)
        labels = {name: counts[name] for name in settings.classes}
        files["labels.csv"] = _save(partial / "labels.csv", _csv(rows))
        files["README.md"] = _save(partial / "README.md", recipients_readme(settings, labels).encode("utf-8"))
        # One flush for all files: the rename must not reach the disk before what it names.
        os.sync()
    return ArchiveRecord(
        patients=len(rows),
        images=len(rows),
        segmentations=sum(bool(row[4]) for row in rows),
        labels=labels,
        size_bytes=sum(size for _, size in files.values()),
        files={path: files[path][0] for path in sorted(files)},
    )


def _tasks(folder: Path, samples: Iterable[SampleBatch], settings: ArchiveSettings) -> Iterator[_Task]:
    first = 1
    size: tuple[int, ...] | None = None
    for batch in samples:
        _check(batch, settings)
        if size is not None and batch.images.shape[2:] != size:
            raise UnsuitableData(
                f"a batch of size {batch.images.shape[2:]} follows one of size {size}", fix="Use one image size."
            )
        size = batch.images.shape[2:]
        levels = levels_of(batch.images[:, 0])
        masks = batch.masks >= MASK_THRESHOLD
        for start in range(0, len(levels), _PATIENTS_A_TASK):
            part = slice(start, start + _PATIENTS_A_TASK)
            labels = [int(label) for label in batch.labels[part]]
            if first + len(labels) - 1 > MOST_PATIENTS:
                raise UnsuitableData(f"more than {MOST_PATIENTS} patients", fix="Split the release.")
            yield _Task(folder, settings, first, levels[part], masks[part], labels)
            first += len(labels)


def _check(batch: SampleBatch, settings: ArchiveSettings) -> None:
    images, masks, labels = batch.images, batch.masks, batch.labels
    if images.ndim != 4 or images.shape[1] != 1 or 0 in images.shape[2:]:
        raise UnsuitableData(f"images of shape {images.shape}", fix="Give (n, 1, rows, columns).")
    expected = (len(images), len(settings.segments), *images.shape[2:])
    if masks.shape != expected or not np.isfinite(masks).all():
        raise UnsuitableData(
            f"masks of shape {masks.shape}, or not finite; {expected} expected", fix="Give one plane a segment."
        )
    if labels.shape != (len(images),) or not np.issubdtype(labels.dtype, np.integer):
        raise UnsuitableData(
            f"labels of shape {labels.shape} and type {labels.dtype}", fix="Give one integer an image."
        )
    if len(labels) and not (labels.min() >= 0 and labels.max() < len(settings.classes)):
        raise UsageError(
            f"a label lies outside the {len(settings.classes)} classes", fix="Name every class in the policy."
        )


def _write(task: _Task) -> _Written:
    """Write one task's patients below its folder."""
    rows: list[tuple[str, ...]] = []
    files: dict[str, tuple[str, int]] = {}
    for offset, label in enumerate(task.labels):
        number = task.first + offset
        place = f"DICOM/P{number:06d}/S0000001"
        (task.folder / place).mkdir(parents=True)
        image = image_of(task.levels[offset], number, task.settings)
        image_file, mask_file = f"{place}/I0000001", ""
        files[image_file] = _save(task.folder / image_file, file_bytes(image))
        if task.settings.segments:
            mask_file = f"{place}/M0000001"
            masks = masks_of(image, task.masks[offset], task.settings.segments, number, task.settings)
            files[mask_file] = _save(task.folder / mask_file, file_bytes(masks))
        uid = str(image.SOPInstanceUID)
        rows.append((image_file, uid, patient_id(number), task.settings.classes[label], mask_file))
    return _Written(rows, files)


def _write_in_parallel(tasks: Iterator[_Task], processes: int, collect: Callable[[_Written], None]) -> None:
    """Write by several processes; results are collected in order and few tasks wait at a time."""
    # Spawned, not forked: the caller may hold threads of a deep-learning library.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(processes, mp_context=context, initializer=_obey_parent)
    waiting: deque[Future[_Written]] = deque()
    try:
        for task in tasks:
            waiting.append(pool.submit(_write, task))
            if len(waiting) > 2 * processes:
                collect(waiting.popleft().result())
        while waiting:
            collect(waiting.popleft().result())
    except BrokenProcessPool as error:
        raise UnsuitableData(
            "a writing process was ended from outside, most often for lack of memory", fix="Use fewer processes."
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _obey_parent() -> None:
    """Leave Ctrl-C to the parent, and end with it: nobody would collect what an orphan writes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_after, args=(parent.sentinel,), daemon=True).start()


def _end_after(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)


def _save(path: Path, content: bytes) -> tuple[str, int]:
    path.write_bytes(content)
    return hashlib.sha256(content).hexdigest(), len(content)


def _csv(rows: list[tuple[str, ...]]) -> bytes:
    stream = io.StringIO()
    table = csv.writer(stream, lineterminator="\n")
    table.writerow(_COLUMNS)
    table.writerows(rows)
    return stream.getvalue().encode("utf-8")


def _sweep_own_partials(folder: Path) -> None:
    """Remove what killed writers of this very archive left; other writers' unfinished work stays."""
    name = re.compile(re.escape(f"{PARTIAL}{folder.name}-") + "[0-9a-f]{8}")
    for leftover in folder.parent.glob(f"{PARTIAL}*"):
        if name.fullmatch(leftover.name):
            shutil.rmtree(leftover, ignore_errors=True)

"""Two ways to write the same pairs of image and segmentation."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from unittest.mock import patch

import numpy as np
from pydicom.dataset import Dataset

from benchmarks.archive_write.workload import HELD, HeldSamples
from synthrelease.archive.samples import MASK_THRESHOLD, levels_of
from synthrelease.archive.writer import ArchiveSettings, SampleBatch, write_archive
from synthrelease.dicom.release.instances import file_bytes, image_of, masks_of, report_of
from synthrelease.dicom.release.layout import FileKind, path_of, place_of


def ours(folder: Path, samples: HeldSamples, *, processes: int = 1) -> None:
    """Samples to the finished folder: stored values, UIDs, files, digests, manifest, labels.csv and all."""
    write_archive(folder, samples.source, samples.settings, processes=processes)


def plain(folder: Path, samples: HeldSamples, count: int) -> None:
    """The first pairs by pydicom and highdicom, each object built and saved; no digest, no manifest, no table."""
    settings = samples.settings
    with without_tricks():
        for index in range(count):
            image_path = folder / path_of(place_of(index + 1, settings), settings)
            image_path.parent.mkdir(parents=True)
            image, masks = _objects(samples.batch, index % HELD, index + 1, settings)
            image.save_as(image_path, enforce_file_format=True)
            mask_path = folder / path_of(place_of(index + 1, settings, FileKind.MASK), settings)
            masks.save_as(mask_path, enforce_file_format=True)


def slow_files(batch: SampleBatch, index: int, number: int, settings: ArchiveSettings) -> Iterator[tuple[str, bytes]]:
    """Path and bytes of every file of an image by the slow path, as highdicom gives them."""
    levels = levels_of(batch.images[index, 0], settings.bits)
    image = image_of(levels, number, settings)
    yield path_of(place_of(number, settings), settings), file_bytes(image)
    inside = batch.masks[index] >= np.float32(MASK_THRESHOLD)
    for part in range(settings.mask_files):
        masks = masks_of(image, inside, number, settings, part)
        yield path_of(place_of(number, settings, FileKind.MASK, part), settings), file_bytes(masks)
    if settings.reports:
        label = settings.classes[int(batch.labels[index])]
        report = report_of(image, label, number, settings)
        yield path_of(place_of(number, settings, FileKind.REPORT), settings), file_bytes(report)


def _objects(batch: SampleBatch, index: int, number: int, settings: ArchiveSettings) -> tuple[Dataset, Dataset]:
    image = image_of(levels_of(batch.images[index, 0], settings.bits), number, settings)
    return image, masks_of(image, batch.masks[index] >= np.float32(MASK_THRESHOLD), number, settings)


@contextmanager
def without_tricks() -> Iterator[None]:
    """highdicom as it comes: our slow path remembers its answers about the standard, which makes it faster."""
    with patch("synthrelease.dicom.segmentation.standard_tables_remembered", nullcontext):
        yield

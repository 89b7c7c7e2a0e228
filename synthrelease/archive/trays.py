"""Memory in which shards travel to the processes that write them.

Pixels sent through a pipe cost as much as writing their files. So the samples of a shard are put into a tray that all
writing processes see, and only the tray's number is sent. The memory has no name and belongs to the processes that
hold it: after a kill nothing of it is left.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import reduction
from typing import Any

import numpy as np

from synthrelease.archive.samples import Arrays, Cells, Contents, SampleBatch, contents_of, shard_range, shard_size
from synthrelease.dicom.release.settings import ArchiveSettings


@dataclass(frozen=True)
class Filled:
    """A shard that lies in a tray.

    Attributes:
        tray: Its number.
        shard: Number of the shard.
        labels: Class index of every image.
        notes: As in `samples.SampleBatch`.
    """

    tray: int
    shard: int
    labels: tuple[int, ...]
    notes: Cells = ()


class Trays:
    """So many trays, each with room for a shard; given to a spawned process as an argument, both see the same memory."""

    def __init__(self, settings: ArchiveSettings, count: int, descriptor: int) -> None:
        self._settings, self._count, self._descriptor = settings, count, descriptor
        self._memory = mmap.mmap(descriptor, count * _tray_bytes(settings))

    def __reduce__(self) -> tuple[Callable[..., Trays], tuple[Any, ...]]:
        return _inherited, (self._settings, self._count, reduction.DupFd(self._descriptor))

    def fill(self, task: int, shard: int, batch: SampleBatch) -> Filled:
        """Put a shard's samples into the tray of the `task`-th task, counted from 0; trays are used in turns.

        Raises:
            UnsuitableData, UsageError: See `samples.contents_of`.
        """
        tray = task % self._count
        contents = contents_of(shard, batch, self._settings, self._arrays(tray, shard))
        return Filled(tray, shard, contents.labels, contents.notes)

    def contents(self, filled: Filled) -> Contents:
        """What lies in a tray, without a copy."""
        arrays = self._arrays(filled.tray, filled.shard)
        return Contents(filled.shard, arrays.levels, arrays.masks, arrays.overlapping, filled.labels, filled.notes)

    def _arrays(self, tray: int, shard: int) -> Arrays:
        room, count = shard_size(self._settings.images_per_patient), len(shard_range(shard, self._settings))
        levels, masks = _shapes(self._settings)
        start = tray * _tray_bytes(self._settings)
        after_levels = start + 2 * room * levels[0] * levels[1]
        after_masks = after_levels + room * masks[0]
        return Arrays(
            np.ndarray((count, *levels), np.uint16, self._memory, start),
            np.ndarray((count, *masks), np.uint8, self._memory, after_levels),
            np.ndarray((count,), np.bool_, self._memory, after_masks),
        )


@contextmanager
def trays(settings: ArchiveSettings, count: int) -> Iterator[Trays]:
    """Trays for the shards of an archive, until the block ends."""
    descriptor = _anonymous(count * _tray_bytes(settings))
    try:
        yield Trays(settings, count, descriptor)
    finally:
        os.close(descriptor)


def _anonymous(size: int) -> int:
    """A file without a name: in memory where the system can (Linux), else a removed temporary one."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("synthrelease")
    else:
        with tempfile.TemporaryFile() as stream:
            descriptor = os.dup(stream.fileno())
    os.ftruncate(descriptor, size)
    return descriptor


def _inherited(settings: ArchiveSettings, count: int, duplicate: Any) -> Trays:
    return Trays(settings, count, duplicate.detach())


def _shapes(settings: ArchiveSettings) -> tuple[tuple[int, int], tuple[int]]:
    """Of one image's stored values and mask bits."""
    area = settings.rows * settings.columns
    return (settings.rows, settings.columns), (-(-len(settings.segments) * area // 8),)


def _tray_bytes(settings: ArchiveSettings) -> int:
    levels, masks = _shapes(settings)
    image = 2 * levels[0] * levels[1] + masks[0] + 1
    # Stored values begin at an even address.
    return shard_size(settings.images_per_patient) * (image + image % 2)

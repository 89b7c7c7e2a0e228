"""Samples on their way into files: where they come from, shard by shard, and as stored values.

A shard is the unit of work: whole patients, about 64 images, always the same ones for one plan. A shard can be drawn
without the ones before it, which is what makes a killed writer cheap to continue.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from synthrelease.dicom.image import highest_level
from synthrelease.dicom.release.notes import Note
from synthrelease.dicom.release.pixels import overlap
from synthrelease.dicom.release.settings import ArchiveSettings
from synthrelease.errors import UnsuitableData, UsageError
from synthrelease.records.digests import digest_of

MASK_THRESHOLD = 0.5
"""A mask value of at least this much is inside."""

Cells = tuple[tuple[str, ...], ...]
"""Rows of text cells."""

_ABOUT = 64


@dataclass(frozen=True)
class SampleBatch:
    """Samples as a generator makes them.

    Attributes:
        images: (n, 1, H, W) float32 in [-1, 1].
        masks: (n, K, H, W) float32 in [0, 1], inside from 0.5 on; K is the number of segments.
        labels: (n,) int, an index into the settings' classes.
        notes: n rows, a cell for each of the settings' notes; empty when there are none.
    """

    images: npt.NDArray[np.float32]
    masks: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]
    notes: Cells = ()


@dataclass(frozen=True)
class Samples:
    """A source of samples that can start anywhere.

    Attributes:
        digest: Of everything that the samples follow from; two sources of one digest give the same samples.
        draw: The samples of a shard, by its number from 0; see `shard_range`.
    """

    digest: str
    draw: Callable[[int], SampleBatch]


@dataclass(frozen=True)
class Arrays:
    """Room for the stored values of n images.

    Attributes:
        levels: (n, H, W) uint16.
        masks: (n, ceil(K * H * W / 8)) uint8: the masks' bits in row-major order, lowest bit first.
        overlapping: (n,) bool, whether any pixel of the image lies in two masks.
    """

    levels: npt.NDArray[np.uint16]
    masks: npt.NDArray[np.uint8]
    overlapping: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Contents:
    """The samples of one shard as they are stored.

    Attributes:
        shard: Its number, from 0.
        levels: As in `Arrays`.
        masks: As in `Arrays`.
        overlapping: As in `Arrays`.
        labels: n class indices.
        notes: As in `SampleBatch`.
    """

    shard: int
    levels: npt.NDArray[np.uint16]
    masks: npt.NDArray[np.uint8]
    overlapping: npt.NDArray[np.bool_]
    labels: tuple[int, ...]
    notes: Cells = ()


def shard_size(images_per_patient: int) -> int:
    """Images of a shard: a whole number of patients, about 64 images.

    >>> shard_size(1), shard_size(5), shard_size(99)
    (64, 60, 99)
    """
    return images_per_patient * max(1, _ABOUT // images_per_patient)


def shard_count(settings: ArchiveSettings) -> int:
    """How many shards an archive has."""
    return -(-settings.images // shard_size(settings.images_per_patient))


def shard_range(shard: int, settings: ArchiveSettings) -> range:
    """The images of a shard by their numbers in the archive, counted from 0."""
    size = shard_size(settings.images_per_patient)
    return range(shard * size, min((shard + 1) * size, settings.images))


def held_samples(batch: SampleBatch, settings: ArchiveSettings) -> Samples:
    """A source over samples that are in memory, all images of the archive in order."""

    def draw(shard: int) -> SampleBatch:
        part = shard_range(shard, settings)
        rows = slice(part.start, part.stop)
        return SampleBatch(batch.images[rows], batch.masks[rows], batch.labels[rows], batch.notes[rows])

    arrays = (batch.images, batch.masks, batch.labels)
    digests = [hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest() for array in arrays]
    return Samples(digest_of([*digests, batch.notes] if batch.notes else digests), draw)


def levels_of(images: npt.NDArray[np.float32], bits: int = 12) -> npt.NDArray[np.uint16]:
    """Pixel values in [-1, 1] as stored values in 0..2^bits - 1; values beyond the ends are cut off.

    Args:
        images: Any shape, float32.
        bits: Bits stored.

    Returns:
        Same shape, uint16.

    Raises:
        UnsuitableData: A value is not finite.
    """
    if not _finite(images):
        raise UnsuitableData(
            "a synthetic image holds values that are not finite", fix="The generator diverged; train it again."
        )
    # In place and in single precision: 24 bits are enough for 16, and this is a tenth of the time of a file.
    scaled = np.clip(images, np.float32(-1), np.float32(1)).astype(np.float32, copy=False)
    scaled += np.float32(1)
    scaled *= np.float32(highest_level(bits) / 2)
    return np.rint(scaled, out=scaled).astype(np.uint16)


def contents_of(shard: int, batch: SampleBatch, settings: ArchiveSettings, into: Arrays | None = None) -> Contents:
    """The samples of a shard as stored values.

    Args:
        shard: Its number, from 0.
        batch: Its samples.
        settings: Of the archive.
        into: Where to put them; None: into new memory.

    Raises:
        UnsuitableData: Another number of samples than the shard has, a wrong shape, a value that is not finite, or notes
            that do not fit.
        UsageError: A label that the settings do not have, or two classes in one patient.
    """
    _check(shard, batch, settings)
    into = into or _room(len(batch.images), settings)
    # One image at a time stays in the processor's cache; a whole shard does not.
    for index in range(len(batch.images)):
        into.levels[index] = levels_of(batch.images[index, 0], settings.bits)
        if not _finite(batch.masks[index]):
            raise UnsuitableData("masks are not finite", fix="The generator diverged; train it again.")
        masks = batch.masks[index] >= np.float32(MASK_THRESHOLD)
        into.masks[index] = np.packbits(masks.reshape(-1), bitorder="little")
        into.overlapping[index] = overlap(masks)
    labels = tuple(int(label) for label in batch.labels)
    return Contents(shard, into.levels, into.masks, into.overlapping, labels, batch.notes)


def _room(count: int, settings: ArchiveSettings) -> Arrays:
    bits = len(settings.segments) * settings.rows * settings.columns
    return Arrays(
        np.empty((count, settings.rows, settings.columns), np.uint16),
        np.empty((count, -(-bits // 8)), np.uint8),
        np.empty(count, np.bool_),
    )


def unpacked(contents: Contents, index: int, settings: ArchiveSettings) -> npt.NDArray[np.bool_]:
    """The (K, H, W) masks of one image of a shard."""
    shape = (len(settings.segments), settings.rows, settings.columns)
    bits = np.unpackbits(contents.masks[index], count=int(np.prod(shape)), bitorder="little")
    return bits.view(bool).reshape(shape)


def _finite(values: npt.NDArray[np.float32]) -> bool:
    """Whether no value is infinite or no number. Sums tell it at a fifth of the cost, unless one overflows itself."""
    with np.errstate(over="ignore", invalid="ignore"):
        sums = values.reshape(-1, values.shape[-1]).sum(axis=0)
    return bool(np.isfinite(sums).all()) or bool(np.isfinite(values).all())


def _check(shard: int, batch: SampleBatch, settings: ArchiveSettings) -> None:
    images, masks, labels = batch.images, batch.masks, batch.labels
    count = len(shard_range(shard, settings))
    expected = (count, 1, settings.rows, settings.columns)
    if images.shape != expected:
        raise UnsuitableData(f"images of shape {images.shape}", fix=f"Give {expected}, as the policy says.")
    expected = (count, len(settings.segments), *images.shape[2:])
    if masks.shape != expected:
        raise UnsuitableData(f"masks of shape {masks.shape}; {expected} expected", fix="Give one plane a segment.")
    if labels.shape != (count,) or not np.issubdtype(labels.dtype, np.integer):
        raise UnsuitableData(
            f"labels of shape {labels.shape} and type {labels.dtype}", fix="Give one integer an image."
        )
    if not (labels.min() >= 0 and labels.max() < len(settings.classes)):
        raise UsageError(
            f"a label lies outside the {len(settings.classes)} classes", fix="Name every class in the policy."
        )
    a_patient = settings.images_per_patient
    if any(len(set(labels[start : start + a_patient].tolist())) > 1 for start in range(0, count, a_patient)):
        raise UsageError(
            "the images of one synthetic patient are of two classes", fix="Draw the labels patient by patient."
        )
    if not notes_fit(batch.notes, count, settings):
        raise UnsuitableData(
            f"what is noted of the images are not {len(settings.notes)} numbers of each", fix="Give one cell a note."
        )


def notes_fit(notes: Cells, images: int, settings: ArchiveSettings) -> bool:
    """Whether so many images have the notes of an archive, each cell in its form."""
    if not settings.notes:
        return not notes
    return len(notes) == images and all(
        len(row) == len(settings.notes) and all(map(Note.fits, settings.notes, row)) for row in notes
    )

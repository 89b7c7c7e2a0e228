"""Samples that cost nothing to draw, and settings of the archives they are written into."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from synthrelease.archive.samples import shard_range
from synthrelease.archive.writer import ArchiveSettings, SampleBatch, Samples
from synthrelease.dicom.image import ImageClass
from synthrelease.dicom.mask_forms import Compression, MaskKind

SEGMENTS = ("right_lung", "left_lung", "heart", "nodule")
CLASSES = ("normal", "nodule", "effusion")
HELD = 64


def settings_of(images: int, side: int, image_class: ImageClass = ImageClass.DX) -> ArchiveSettings:
    """An archive of images with four masks in one file each, twelve bits."""
    return ArchiveSettings(
        release_name="benchmark",
        segments=SEGMENTS,
        classes=CLASSES,
        spacing_mm=(300 / side, 300 / side),
        software_version="0.1.0",
        study_date="20260101",
        body_part="BREAST" if image_class is ImageClass.MG else "CHEST",
        images=images,
        rows=side,
        columns=side,
        image_class=image_class,
    )


def random_batch(count: int, settings: ArchiveSettings, seed: int) -> SampleBatch:
    """Noise between the ends of the grey scale, and masks with holes: discs that may overlap, some absent."""
    rng = np.random.default_rng(seed)
    rows, columns = settings.rows, settings.columns
    images = rng.uniform(-1, 1, (count, 1, rows, columns)).astype(np.float32)
    y, x = np.mgrid[:rows, :columns]
    masks = np.zeros((count, len(settings.segments), rows, columns), np.float32)
    for plane in masks.reshape(-1, rows, columns):
        radius = rng.uniform(0, rows / 3) * (rng.random() > 0.1)
        inside = (y - rng.uniform(0, rows)) ** 2 + (x - rng.uniform(0, columns)) ** 2 < radius**2
        plane[inside] = rng.uniform(0.3, 1, int(inside.sum()))
    return SampleBatch(images, masks, rng.integers(0, len(settings.classes), count))


@dataclass(frozen=True)
class HeldSamples:
    """The same few samples again and again, so that drawing costs no time and no memory; picklable."""

    batch: SampleBatch
    settings: ArchiveSettings

    def draw(self, shard: int) -> SampleBatch:
        """The samples of a shard."""
        rows = np.fromiter((number % HELD for number in shard_range(shard, self.settings)), np.int64)
        if len(rows) == HELD:
            return self.batch
        return SampleBatch(self.batch.images[rows], self.batch.masks[rows], self.batch.labels[rows])

    @property
    def source(self) -> Samples:
        """As the writer takes them."""
        return Samples("benchmark", self.draw)


def held(settings: ArchiveSettings) -> HeldSamples:
    """Samples for an archive."""
    return HeldSamples(random_batch(HELD, settings, seed=0), settings)


def forms(side: int) -> dict[str, ArchiveSettings]:
    """Every image class in both depths, and every form of the masks, small: where both writers must agree."""
    made = {}
    for image_class in ImageClass:
        for bits in (12, 16):
            made[f"{image_class} {bits} bit"] = replace(
                settings_of(1, side, image_class), bits=bits, images_per_patient=2, reports=True
            )
    for kind, compression in (
        (MaskKind.BINARY, Compression.JPEG_2000),
        (MaskKind.LABELMAP, Compression.NONE),
        (MaskKind.LABELMAP, Compression.RLE),
        (MaskKind.LABELMAP, Compression.JPEG_LS),
        (MaskKind.LABELMAP, Compression.JPEG_2000),
    ):
        made[f"masks {kind} {compression}"] = replace(
            settings_of(1, side), mask_kind=kind, mask_compression=compression
        )
    made["a mask file each segment"] = replace(settings_of(1, side), one_file_per_segment=True)
    return made

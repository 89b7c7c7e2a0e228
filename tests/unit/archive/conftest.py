"""Samples and settings of small archives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from synthrelease.archive.writer import ArchiveSettings, SampleBatch
from synthrelease.dicom.image import ImageClass
from synthrelease.dicom.mask_forms import Compression, MaskKind

BASE: dict[str, Any] = {
    "release_name": "unit test 1",
    "segments": ("right_lung", "nodule"),
    "classes": ("normal", "nodule", "effusion"),
    "spacing_mm": (1.4, 1.4),
    "software_version": "0.1.0",
    "study_date": "20010203",
    "study_time": "040506",
    "rows": 16,
    "columns": 16,
}

FORMS = [
    (MaskKind.BINARY, Compression.NONE),
    (MaskKind.BINARY, Compression.JPEG_2000),
    (MaskKind.LABELMAP, Compression.NONE),
    (MaskKind.LABELMAP, Compression.RLE),
    (MaskKind.LABELMAP, Compression.JPEG_LS),
    (MaskKind.LABELMAP, Compression.JPEG_2000),
]


def small_settings(images: int = 3, **given: Any) -> ArchiveSettings:
    """Settings of an archive of 16 x 16 pixels."""
    if given.get("image_class") is ImageClass.MG:
        given["body_part"] = "BREAST"
    return ArchiveSettings(**(BASE | {"images": images} | given))


def random_samples(settings: ArchiveSettings, seed: int = 0) -> SampleBatch:
    """As many random samples as the archive holds, one class a patient."""
    rng = np.random.default_rng(seed)
    images = settings.images
    labels = np.repeat(rng.integers(0, min(2, len(settings.classes)), settings.patients), settings.images_per_patient)
    return SampleBatch(
        images=rng.uniform(-1, 1, (images, 1, settings.rows, settings.columns)).astype(np.float32),
        masks=rng.uniform(0, 1, (images, len(settings.segments), settings.rows, settings.columns)).astype(np.float32),
        labels=labels[:images],
    )


@pytest.fixture
def make_settings() -> Callable[..., ArchiveSettings]:
    """`small_settings`."""
    return small_settings


@pytest.fixture
def make_samples() -> Callable[..., SampleBatch]:
    """`random_samples`."""
    return random_samples

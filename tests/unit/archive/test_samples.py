"""Pixel mapping, shards, and samples that cannot be written."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthrelease.archive.samples import (
    contents_of,
    held_samples,
    levels_of,
    shard_count,
    shard_range,
    shard_size,
    unpacked,
)
from synthrelease.archive.writer import SampleBatch
from synthrelease.dicom.release.layout import place_of
from synthrelease.errors import UnsuitableData, UsageError
from tests.unit.archive.conftest import random_samples, small_settings


def test_pixels_map_ends_and_middle_onto_twelve_bits() -> None:
    levels = levels_of(np.array([-1.0, 0.0, 1.0, -7.0, 7.0], np.float32))
    assert levels.dtype == np.uint16
    assert levels.tolist() == [0, 2048, 4095, 0, 4095]


@pytest.mark.parametrize("bits", [12, 16])
def test_every_level_survives_the_round_trip_through_float32(bits: int) -> None:
    levels = np.arange(1 << bits, dtype=np.int64)
    assert np.array_equal(levels_of((levels / ((1 << bits) - 1) * 2 - 1).astype(np.float32), bits), levels)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_pixel_that_is_not_finite_is_refused(value: float) -> None:
    with pytest.raises(UnsuitableData, match="not finite"):
        levels_of(np.array([0.0, value], np.float32))


def test_values_whose_sum_overflows_are_finite_all_the_same() -> None:
    assert levels_of(np.full(4, 3e38, np.float32)).tolist() == [4095] * 4


def test_what_is_given_is_not_changed() -> None:
    images = np.linspace(-2, 2, 64, dtype=np.float32)
    before = images.copy()
    levels_of(images)
    assert np.array_equal(images, before)


@given(st.integers(1, 5000), st.integers(1, 99))
def test_shards_are_whole_patients_and_cover_every_image_once(images: int, a_patient: int) -> None:
    settings = small_settings(images, images_per_patient=a_patient)
    covered = [number for shard in range(shard_count(settings)) for number in shard_range(shard, settings)]
    assert covered == list(range(images))
    assert shard_size(a_patient) % a_patient == 0
    last = [place_of(shard_range(shard, settings)[-1] + 1, settings) for shard in range(shard_count(settings))]
    assert all(place.image == a_patient for place in last[:-1])


@pytest.mark.parametrize("segments", [(), ("lung",), ("lung", "heart", "nodule")])
@pytest.mark.parametrize("side", [9, 16])  # 81 pixels end inside a byte
def test_masks_come_out_of_a_shard_as_they_went_in(segments: tuple[str, ...], side: int) -> None:
    settings = small_settings(3, segments=segments, rows=side, columns=side)
    batch = random_samples(settings)
    contents = contents_of(0, batch, settings)
    for index in range(3):
        assert np.array_equal(unpacked(contents, index, settings), batch.masks[index] >= 0.5)
        assert contents.overlapping[index] == bool(((batch.masks[index] >= 0.5).sum(0) > 1).any())


def test_held_samples_of_other_values_have_another_digest() -> None:
    settings = small_settings()
    one = held_samples(random_samples(settings), settings)
    again = held_samples(random_samples(settings), settings)
    other = held_samples(random_samples(settings, seed=1), settings)
    assert one.digest == again.digest != other.digest


SETTINGS = small_settings(2)
GOOD = random_samples(SETTINGS)


@pytest.mark.parametrize(
    ("batch", "error"),
    [
        (replace(GOOD, images=GOOD.images[:1]), UnsuitableData),
        (replace(GOOD, images=GOOD.images[:, 0]), UnsuitableData),
        (replace(GOOD, images=GOOD.images[:, :, :8, :8]), UnsuitableData),
        (replace(GOOD, images=GOOD.images * np.nan), UnsuitableData),
        (replace(GOOD, masks=GOOD.masks[:, :1]), UnsuitableData),
        (replace(GOOD, masks=GOOD.masks * np.nan), UnsuitableData),
        (replace(GOOD, labels=GOOD.labels[:1]), UnsuitableData),
        (replace(GOOD, labels=GOOD.labels.astype(float)), UnsuitableData),
        (replace(GOOD, labels=GOOD.labels + 3), UsageError),
        (replace(GOOD, labels=GOOD.labels - 2), UsageError),
    ],
)
def test_samples_that_do_not_fit_are_refused(batch: SampleBatch, error: type[Exception]) -> None:
    contents_of(0, GOOD, SETTINGS)
    with pytest.raises(error):
        contents_of(0, batch, SETTINGS)


def test_two_classes_in_one_patient_are_refused() -> None:
    settings = small_settings(4, images_per_patient=2)
    batch = replace(random_samples(settings), labels=np.array([0, 0, 1, 0]))
    with pytest.raises(UsageError, match="two classes"):
        contents_of(0, batch, settings)

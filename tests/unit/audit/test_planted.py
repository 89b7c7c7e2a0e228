"""Known leaks are what their names say, the same every time, and leave the archive as it was."""

from __future__ import annotations

import numpy as np
import pytest

from synthrelease.audit.images import ImageSet
from synthrelease.audit.planted import NEGATIVES, TRANSFORMS, planted, replace_share, withheld_scans

SIDE = 64


def images(seed, count, each=1):
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(-1, 1, (count * each, 1, 16, 16)).astype(np.float32)
    masks = np.zeros((count * each, 2, SIDE, SIDE), np.float32)
    masks[:, 0, 10:50, 10:50] = 1.0
    masks[:, 1, 30:34, 40:44] = 1.0
    patient = np.repeat(np.arange(count), each)
    sex = np.where(patient % 2, "F", "M")
    return ImageSet(
        coarse.repeat(4, axis=2).repeat(4, axis=3), masks, patient % 3, patient, attributes={"sex": sex.astype(np.str_)}
    )


TRAIN, MADE = images(0, 40), images(1, 30)


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_every_leak_is_repeatable_in_range_and_of_real_people(transform):
    first, second = (planted(transform, TRAIN, MADE, 12) for _ in range(2))
    np.testing.assert_array_equal(first.images, second.images)
    assert first.images.dtype == np.float32
    assert np.abs(first.images).max() <= 1.0
    assert len(first) == 12
    before = MADE.images.copy()
    leaked = replace_share(MADE, TRAIN, transform, 5, np.random.default_rng(0))
    np.testing.assert_array_equal(MADE.images, before)
    changed = (leaked.images != MADE.images).any(axis=(1, 2, 3))
    assert changed.sum() == (0 if transform.startswith(("mask", "label")) else 5)


@pytest.mark.parametrize(("name", "pixels"), [("shift_1", 1), ("shift_2", 2), ("shift_4", 4), ("shift_8", 8)])
@pytest.mark.parametrize("side", [64, 128])
def test_shifts_have_the_stated_pixels_at_64_and_grow_with_the_side(name, pixels, side):
    rng = np.random.default_rng(0)
    picture = rng.uniform(-1, 1, (1, 1, side, side)).astype(np.float32)
    one = ImageSet(picture, np.zeros((1, 0, side, side), np.float32), np.zeros(1, np.int64), np.zeros(1, np.int64))
    moved = planted(name, one, one, 1).images[0, 0]
    step = pixels * side // 64
    inner = slice(2 * step, side - 2 * step)
    matches = [
        (down, right)
        for down in (-step, step)
        for right in (-step, step)
        if np.array_equal(np.roll(picture[0, 0], (down, right), (0, 1))[inner, inner], moved[inner, inner])
    ]
    assert len(matches) == 1


def test_a_pasted_square_is_16_pixels_of_the_source_and_covers_its_smallest_segment():
    leak = planted("patch_in_place", TRAIN, MADE, 12)
    from_source = [
        max((np.isclose(picture, other).sum() for other in TRAIN.images), default=0) for picture in leak.images
    ]
    assert min(from_source) >= 256
    host = MADE.images[np.array([np.isclose(MADE.images, x).sum(axis=(1, 2, 3)).argmax() for x in leak.images])]
    where = (leak.images != host)[:, 0]
    assert np.all(where.any(axis=2).sum(axis=1) <= 16)
    assert np.all(where[:, 24:48, 34:56].sum(axis=(1, 2)) > 0)


def test_a_leaked_mask_leaves_the_image_and_a_leaked_row_leaves_the_mask():
    mask, row = planted("mask_dilated", TRAIN, MADE, 12), planted("label_row", TRAIN, MADE, 12)
    assert mask.masks[0, 1].sum() == 36
    for leak in (mask, row):
        assert all(any(np.array_equal(x, y) for y in MADE.images) for x in leak.images)


@pytest.mark.parametrize("name", NEGATIVES)
def test_styles_change_every_image_and_stay_in_range(name):
    styled = NEGATIVES[name](MADE.images, np.random.default_rng(0))
    assert styled.shape == MADE.images.shape
    assert styled.dtype == np.float32
    assert np.isfinite(styled).all()
    assert np.abs(styled).max() <= 1.0
    assert (styled != MADE.images).any(axis=(1, 2, 3)).all()


def test_withheld_scans_are_of_patients_who_stay():
    twice = images(2, 20, each=2)
    stays, withheld = withheld_scans(twice, 8, np.random.default_rng(0))
    assert (len(stays), len(withheld)) == (32, 8)
    assert set(withheld.patient) <= set(stays.patient)
    assert len(withheld_scans(TRAIN, 8, np.random.default_rng(0))[1]) == 0

"""Outlines: the same shape is the same wherever it lies, strangers are not, and small shapes are shared by chance."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from synthrelease.features.shapes import ShapeGallery, SharedShapes, at_shape_resolution, widened

SIDE = 48


def blobs(rng, count, radius=9.0, side=SIDE):
    """(N, 1, S, S) round masks with wavy outlines of their own, each somewhere in the frame."""
    rows, columns = np.mgrid[:side, :side]
    waves = gaussian_filter(rng.normal(size=(count, 256)), (0, 6), mode="wrap") * 3.0
    reach = int(radius * 1.6)
    centre = rng.integers(reach, side - reach, (count, 2))
    y, x = rows[None] - centre[:, :1, None], columns[None] - centre[:, 1:, None]
    angle = ((np.arctan2(y, x) / (2 * np.pi)) % 1.0 * 256).astype(int) % 256
    wave = np.take_along_axis(waves, angle.reshape(count, -1), axis=1).reshape(angle.shape)
    return (np.hypot(y, x) < radius * (1.0 + 0.3 * wave))[:, None]


def changed(outlines, how):
    if how == "mirrored":
        return outlines[..., ::-1]
    if how == "turned":
        return np.rot90(outlines, axes=(2, 3))
    if how == "moved":
        return np.roll(outlines, (5, -3), axis=(2, 3))
    if how == "wider":
        return widened(outlines)[1]
    return outlines


@pytest.mark.parametrize("how", ["same", "mirrored", "turned", "moved", "wider"])
def test_a_copied_outline_is_like_its_source_and_nobody_else(how):
    rng = np.random.default_rng(1)
    people = blobs(rng, 40)
    inside = people[:, :, 8:-8, 8:-8].sum(axis=(1, 2, 3)) == people.sum(axis=(1, 2, 3))
    people = people[inside]
    found = ShapeGallery.of(people).similarity(changed(people, how))
    own = np.diag(found).copy()
    np.fill_diagonal(found, 0.0)
    assert own.min() > 0.999
    assert found.max() < 0.99
    assert np.all(own > found.max(axis=1))


def test_in_place_a_moved_outline_is_another_one_and_a_mirrored_frame_is_the_same():
    people = blobs(np.random.default_rng(2), 20)
    gallery = ShapeGallery.of(people, in_place=True)
    assert np.diag(gallery.similarity(changed(people, "mirrored"))).min() > 0.999
    assert np.diag(gallery.similarity(changed(people, "moved"))).max() < 0.95


def test_a_mask_cut_by_the_frame_when_it_was_moved_is_recognised_by_its_other_edges():
    people = np.roll(blobs(np.random.default_rng(3), 30, radius=8.0), 0, axis=2)
    tops = people.any(axis=(1, 3)).argmax(axis=1)
    cut = np.stack([np.pad(p[:, t + 4 :], ((0, 0), (0, t + 4), (0, 0))) for p, t in zip(people, tops, strict=True)])
    assert cut.any(axis=3)[:, 0, 0].all()
    found = ShapeGallery.of(people).similarity(cut)
    assert np.mean(found.argmax(axis=1) == np.arange(len(people))) > 0.9


def test_several_segments_are_compared_as_they_lie_to_each_other():
    rng = np.random.default_rng(4)
    pairs = np.concatenate([blobs(rng, 25, 6.0), blobs(rng, 25, 6.0)], axis=1)
    apart = pairs.copy()
    apart[:, 1] = np.roll(apart[:, 1], 3, axis=-1)
    gallery = ShapeGallery.of(pairs)
    assert np.diag(gallery.similarity(changed(pairs, "mirrored"))).min() > 0.999
    assert np.diag(gallery.similarity(apart)).max() < 0.95


def test_an_empty_mask_is_like_nothing():
    people = blobs(np.random.default_rng(5), 10)
    people[3] = False
    found = ShapeGallery.of(people).similarity(people)
    assert found[3].max() == 0.0
    assert found[:, 3].max() == 0.0


def test_widening_adds_one_pixel_by_cross_and_by_square():
    dot = np.zeros((1, 1, 5, 5), dtype=bool)
    dot[0, 0, 2, 2] = True
    cross, square = widened(dot)
    assert cross.sum() == 5
    assert square.sum() == 9
    dot[0, 0, 2, 2], dot[0, 0, 0, 0] = False, True
    assert [int(w.sum()) for w in widened(dot)] == [3, 4]


def test_coverage_is_averaged_and_cut_at_one_half():
    masks = np.zeros((1, 1, 128, 128), dtype=np.float32)
    masks[0, 0, 10:14, 20:22] = 1.0
    masks[0, 0, 100, 100] = 1.0
    assert at_shape_resolution(masks).shape == (1, 1, 64, 64)
    assert at_shape_resolution(masks).sum() == 2


def test_small_shapes_are_shared_by_chance_and_large_ones_are_not():
    rng = np.random.default_rng(6)
    small = np.zeros((200, 1, SIDE, SIDE), dtype=bool)
    for mask in small:
        height, width = rng.integers(2, 5, 2)
        mask[0, 10 : 10 + height, 10 : 10 + width] = True
    masks = np.concatenate([small, blobs(rng, 200)])
    pictures = rng.normal(size=(400, 50)).astype(np.float32)
    shared = SharedShapes.of(masks, np.arange(400), pictures)
    assert 16 < shared.least_area <= masks[200:].sum(axis=(1, 2, 3)).min()
    assert shared.chance(np.array([6]))[0] > 0.5 > 1e-4 > shared.chance(np.array([400]))[0]


def test_one_picture_filed_under_two_patients_does_not_make_its_shape_a_common_one():
    rng = np.random.default_rng(7)
    masks = blobs(rng, 60)
    masks[1::2] = masks[::2]
    pictures = rng.normal(size=(60, 50)).astype(np.float32)
    assert SharedShapes.of(masks, np.arange(60), pictures).least_area == np.inf
    pictures[1::2] = pictures[::2]
    assert np.isfinite(SharedShapes.of(masks, np.arange(60), pictures).least_area)


def test_too_few_masks_tell_nothing():
    masks = blobs(np.random.default_rng(8), 20)
    assert SharedShapes.of(masks, np.arange(20), np.ones((20, 4), dtype=np.float32)).least_area == np.inf

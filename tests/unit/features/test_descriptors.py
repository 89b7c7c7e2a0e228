"""What a descriptor must not see, what it must, and that blocks and patients are put together rightly."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from synthrelease.features import neighbours
from synthrelease.features.descriptors import (
    TemplateBank,
    at_audit_resolution,
    detail,
    fisher_z,
    orientations,
    warp_matrix,
    warped,
)
from synthrelease.features.neighbours import Gallery, best_similarity, equal_pairs, nearest


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(0)
    smooth = gaussian_filter(rng.normal(size=(24, 32, 32)), (0, 2, 2))
    return np.clip(smooth / smooth.std() * 0.3, -1, 1).astype(np.float32)


def similarity(probes, gallery):
    return gallery.by_patient(best_similarity(gallery.bank.windows(probes), gallery.templates))


CHANGES = {
    "nothing": lambda x: x,
    "gain and offset": lambda x: 0.6 * x + 0.2,
    "inversion": lambda x: -x,
    "mirror": lambda x: x[:, :, ::-1],
    "quarter turn": lambda x: np.rot90(x, axes=(1, 2)),
    "mirrored quarter turn": lambda x: np.rot90(x[:, :, ::-1], axes=(1, 2)),
    "shift by 3": lambda x: np.pad(x, ((0, 0), (3, 0), (0, 3)), mode="edge")[:, :32, 3:],
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_copy_is_as_like_as_the_image_itself(images, change):
    gallery = Gallery.of(images, np.arange(24))
    table = similarity(np.ascontiguousarray(CHANGES[change](images)), gallery)
    np.testing.assert_allclose(np.diag(table), 1.0, atol=1e-4)
    assert np.median(table[~np.eye(24, dtype=bool)]) < 0.8


def test_without_search_the_dot_product_is_the_correlation_of_band_passed_windows(images):
    bank = TemplateBank(32)
    middle = (bank.margin * 2 + 1) ** 2 // 2
    template, window = bank.templates(images)[0], bank.windows(images)[:, middle]
    np.testing.assert_allclose(template, window, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(template, axis=1), 1.0, atol=1e-5)


def test_small_blocks_and_unsorted_patients_change_nothing(images, monkeypatch):
    patient = np.array([7, 3, 7, 5] * 6)
    gallery = Gallery.of(images, patient)
    whole = similarity(images[:5], gallery)
    assert list(gallery.patients) == [3, 5, 7]
    each = similarity(images[:5], Gallery.of(images, np.arange(24)))
    for column, number in enumerate(gallery.patients):
        np.testing.assert_allclose(whole[:, column], each[:, patient == number].max(axis=1), atol=1e-6)
    monkeypatch.setattr(neighbours, "CACHE_FLOATS", 1)
    np.testing.assert_allclose(similarity(images[:5], gallery), whole, atol=1e-6)


def test_flat_images_are_like_nothing_instead_of_nan(images):
    gallery = Gallery.of(np.concatenate([images[:3], np.zeros((1, 32, 32), np.float32)]), np.arange(4))
    table = similarity(np.zeros((2, 32, 32), np.float32), gallery)
    assert np.all(table == 0.0)


def test_nearest_is_brute_force_and_keeps_its_digits_near_zero():
    rng = np.random.default_rng(1)
    gallery = (100 + rng.normal(size=(50, 40))).astype(np.float32)
    queries = gallery[:9] + np.float32(1e-3)
    rows, distance = nearest(queries, gallery)
    assert list(rows) == list(range(9))
    np.testing.assert_allclose(distance, 1e-3 * np.sqrt(40), rtol=0.05)


def test_nearest_by_tiles_is_the_nearest_of_all(monkeypatch):
    monkeypatch.setattr(neighbours, "TILE_ROWS", 7)
    monkeypatch.setattr(neighbours, "TILE_COLUMNS", 11)
    rng = np.random.default_rng(2)
    queries, gallery = rng.normal(size=(20, 5)).astype(np.float32), rng.normal(size=(50, 5)).astype(np.float32)
    rows, distance = nearest(queries, gallery)
    table = np.linalg.norm(queries[:, None] - gallery[None], axis=2)
    assert list(rows) == list(table.argmin(axis=1))
    np.testing.assert_allclose(distance, table.min(axis=1), rtol=1e-5)


def test_detail_of_strangers_is_unrelated_and_half_a_mixture_is_not():
    first, second = np.random.default_rng(3).normal(size=(2, 1, 64, 64)).astype(np.float32)
    assert abs((detail(first) @ detail(second).T).item()) < 0.15
    assert (detail(0.5 * first + 0.5 * second) @ detail(first).T).item() > 0.6
    assert (detail(0.5 * first - 3.0) @ detail(first).T).item() > 0.999


def test_warped_reads_where_its_matrix_says():
    image = np.zeros((1, 33, 33), np.float32)
    image[0, 16, 26] = 1.0
    turned = warped(image, 90.0, 1.0)[0]
    place = np.array(np.unravel_index(turned.argmax(), turned.shape)) - 16
    np.testing.assert_allclose(warp_matrix(90.0, 1.0) @ place, [0, 10], atol=1e-4)
    wide = warped(image, 0.0, 1.1)[0]
    assert np.unravel_index(wide.argmax(), wide.shape) == (16, 27)


def test_equal_pairs_finds_every_orientation_and_nothing_beyond_the_tolerance(images):
    turned = orientations(images)
    probes = np.stack([turned[i % 8, i] for i in range(24)])
    probe, row = equal_pairs(probes, images, 1e-6)
    assert list(probe) == list(row) == list(range(24))
    assert len(equal_pairs(probes + np.float32(0.02), images, 0.01)[0]) == 0
    assert len(np.unique(turned.reshape(8, -1), axis=0)) == 8


@pytest.mark.parametrize(("side", "expected"), [(16, 16), (32, 32), (64, 32), (48, 32)])
def test_large_images_are_averaged_and_small_ones_kept(side, expected):
    images = np.random.default_rng(0).uniform(-1, 1, (2, 1, side, side)).astype(np.float32)
    small = at_audit_resolution(images)
    assert small.shape == (2, expected, expected)
    np.testing.assert_allclose(small.mean(), images.mean(), atol=0.02)


def test_fisher_z_of_an_exact_copy_is_finite():
    assert np.isfinite(fisher_z(np.array([1.0, -1.0]))).all()

"""Points must travel with a pasted piece, and strangers must not look like it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from synthrelease.features import patches
from synthrelease.features.patches import (
    CELLS,
    PER_CELL,
    WINDOW,
    Pieces,
    Whitening,
    agreement,
    at_patch_resolution,
    best_cosines,
    least_piece,
    points,
    single_evidence,
)

SIDE = 64


def textures(seed: int, count: int, side: int = SIDE):
    rng = np.random.default_rng(seed)
    field = gaussian_filter(rng.normal(size=(count, side, side)), (0, 1.4, 1.4), mode="nearest")
    broad = gaussian_filter(rng.normal(size=(count, side, side)), (0, 8, 8), mode="nearest")
    return np.clip(0.5 * field / field.std() * 0.3 + broad / broad.std() * 0.3, -1, 1).astype(np.float32)


@pytest.fixture(scope="module")
def gallery():
    real = textures(0, 40)
    whitening = Whitening.fit(real)
    return real, whitening, Pieces.of(real, whitening)


def cosines(probes, whitening, pieces):
    return torch.cat([table for _, table in best_cosines(Pieces.of(probes, whitening), pieces)]).numpy()


def pasted(piece, top, left):
    host = textures(1, 1)
    host[0, top : top + piece.shape[0], left : left + piece.shape[1]] = piece
    return host


@pytest.mark.parametrize(
    "change",
    [lambda x: x, lambda x: 0.7 * x + 0.1, lambda x: x[:, ::-1], lambda x: 0.8 * x[:, ::-1] - 0.1],
    ids=["plain", "gain", "mirrored", "mirrored with gain"],
)
@pytest.mark.parametrize("corner", [(24, 24), (3, 41)], ids=["in place", "elsewhere"])
def test_a_pasted_square_of_16_px_is_found_wherever_it_lies(gallery, change, corner):
    real, whitening, pieces = gallery
    seen = cosines(pasted(change(real[7, 24:40, 24:40]), *corner), whitening, pieces)[0]
    assert seen.argmax() == 7
    assert seen[7] > 0.9995
    assert np.delete(seen, 7).max() < 0.9


def test_what_lies_outside_the_piece_changes_nothing_inside(gallery):
    real, _, _ = gallery
    inner = (slice(24, 40), slice(24, 40))
    first, second = textures(2, 2)
    first[inner], second[inner] = real[3][inner], real[3][inner]
    found = points(np.stack([first, second]))
    deep = found.used & ((found.place >= 24 + WINDOW // 2) & (found.place < 40 - WINDOW // 2)).all(dim=-1)
    places = [{tuple(p) for p in found.place[i][deep[i]].tolist()} for i in range(2)]
    assert places[0] == places[1] != set()


def test_consensus_names_displacement_mirroring_and_place(gallery):
    real, whitening, pieces = gallery
    moved = pasted(real[5, 16:46, 10:40], 20, 30)
    mirrored = pasted(real[5, 16:46, 10:40][:, ::-1], 20, 30)
    probes = Pieces.of(np.concatenate([moved, mirrored]), whitening)
    plain, turned = (agreement(probes, row, pieces, torch.tensor([4, 5]), SIDE) for row in (0, 1))
    assert plain.similarity[1] > 0.99 > 0.6 > plain.similarity[0]
    assert not plain.mirrored[1]
    assert plain.shift[1].tolist() == [4, 20]
    assert turned.mirrored[1]
    # Columns 10..39 lie at 24..53 of the mirrored image and went to 30.
    assert turned.shift[1].tolist() == [4, 6]
    top, left, bottom, right = plain.box[1].tolist()
    # A window at the rim may reach over it by a few pixels and still agree.
    assert 16 <= top < 24 < 46 < bottom <= 54
    assert 26 <= left < 34 < 56 < right <= 64


def test_consensus_says_at_least_what_its_best_pair_says(gallery):
    real, whitening, pieces = gallery
    probes = Pieces.of(textures(3, 3), whitening)
    single = torch.cat([single_evidence(table) for _, table in best_cosines(probes, pieces)])
    every = torch.arange(len(real))
    for row in range(3):
        assert (agreement(probes, row, pieces, every, SIDE).similarity >= single[row] - 1e-5).all()


def test_blocks_do_not_show(gallery, monkeypatch):
    _, whitening, pieces = gallery
    probes = textures(4, 7)
    whole = cosines(probes, whitening, pieces)
    monkeypatch.setattr(patches, "PROBES_AT_ONCE", 3)
    monkeypatch.setattr(patches, "IMAGES_AT_ONCE", 11)
    np.testing.assert_allclose(cosines(probes, whitening, pieces), whole, atol=1e-6)
    mine, theirs = Pieces.of(probes, whitening).descriptors, pieces.descriptors
    naive = torch.einsum("cmad,cnbd->mncab", mine, theirs).amax(dim=(2, 3, 4)).clamp(0, 1)
    np.testing.assert_allclose(whole, naive.numpy(), atol=1e-5)


def test_flat_and_faint_images_have_no_points():
    flat = np.full((1, SIDE, SIDE), 0.3, dtype=np.float32)
    ramp = np.linspace(-1, 1, SIDE, dtype=np.float32)[None, :, None].repeat(SIDE, 2)
    rounding = np.random.default_rng(0).uniform(-1 / 255, 1 / 255, (1, SIDE, SIDE)).astype(np.float32)
    assert not points(np.concatenate([flat, ramp, rounding])).used.any()


def test_an_image_without_points_is_like_nobody(gallery):
    _, whitening, pieces = gallery
    assert cosines(np.zeros((2, SIDE, SIDE), dtype=np.float32), whitening, pieces).max() == 0


def test_descriptors_have_unit_length_and_every_slot_its_cell(gallery):
    real, whitening, _ = gallery
    found = points(real[:5])
    assert found.used.shape == (5, CELLS, PER_CELL)
    length = whitening(found).norm(dim=-1)
    np.testing.assert_allclose(length[found.used].numpy(), 1.0, atol=1e-5)
    assert (length[~found.used] == 0).all()
    # Slots are filled from the front: the strongest points of a cell are kept.
    assert (found.used[..., 1:] <= found.used[..., :-1]).all()


@pytest.mark.parametrize("side", [28, 32, 64, 128])
def test_every_resolution_is_searched(side):
    images = at_patch_resolution(textures(5, 6, side)[:, None])
    assert images.shape == (6, min(side, 64), min(side, 64))
    whitening = Whitening.fit(images)
    seen = cosines(images, whitening, Pieces.of(images, whitening))
    np.testing.assert_allclose(np.diag(seen), 1.0, atol=1e-4)


def test_least_piece_is_thirteen_of_at_most_64_pixels():
    assert least_piece(512, 512) == least_piece(64, 64) == 13 / 64
    assert least_piece(32, 40) == 13 / 32

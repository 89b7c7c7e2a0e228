"""Points must travel with a pasted piece, whatever lies around it; flat ground has none."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from synthrelease.features.patches import (
    COARSE,
    DIMENSIONS,
    FINE,
    REACH,
    WINDOW,
    Level,
    Whitening,
    at_level,
    least_piece,
    levels,
    points,
)

SIDE = 64


def textures(seed: int, count: int, side: int = SIDE):
    rng = np.random.default_rng(seed)
    field = gaussian_filter(rng.normal(size=(count, side, side)), (0, 1.4, 1.4), mode="nearest")
    broad = gaussian_filter(rng.normal(size=(count, side, side)), (0, 8, 8), mode="nearest")
    return np.clip(0.5 * field / field.std() * 0.3 + broad / broad.std() * 0.3, -1, 1).astype(np.float32)


def test_what_lies_outside_the_piece_changes_nothing_inside():
    piece, (first, second) = textures(0, 1)[0, 24:40, 24:40], textures(2, 2)
    first[24:40, 24:40] = second[24:40, 24:40] = piece
    found = points(np.stack([first, second]), COARSE)
    deep = ((found.place >= 24 + REACH) & (found.place < 40 - REACH)).all(dim=1)
    one, two = (deep & (found.image == i) for i in range(2))
    assert found.place[one].tolist() == found.place[two].tolist() != []
    assert torch.equal(found.windows[one], found.windows[two])
    assert torch.equal(found.cell[one], found.cell[two])


@pytest.mark.parametrize("level", [COARSE, FINE], ids=["coarse", "fine"])
def test_gain_offset_and_mirroring_leave_the_canonical_window(level):
    image = textures(3, 1, level.resolution)
    plain, changed = points(image, level), points(0.7 * image[:, :, ::-1] + 0.1, level)
    there = {(r, level.resolution - 1 - c): i for i, (r, c) in enumerate(plain.place.tolist())}
    same = [(there[r, c], i) for i, (r, c) in enumerate(changed.place.tolist()) if (r, c) in there]
    # The faintest fall below the least response when contrast falls.
    assert len(same) > 0.95 * len(plain) > 100
    one, two = (list(each) for each in zip(*same, strict=True))
    np.testing.assert_allclose(plain.windows[one], changed.windows[two], atol=1e-4)
    assert (plain.mirrored[one] != changed.mirrored[two]).all()
    assert (plain.cell[one] == changed.cell[two]).float().mean() > 0.99


def test_points_lie_inside_and_not_side_by_side():
    found = points(textures(4, 3), COARSE)
    assert found.place.min() >= REACH
    assert found.place.max() < SIDE - REACH
    own = found.place[found.image == 0].float()
    bright = found.cell[found.image == 0] % 2
    apart = torch.cdist(own, own, p=torch.inf) + 1000 * (bright[:, None] != bright)
    assert apart.fill_diagonal_(1000).min() > COARSE.spacing
    np.testing.assert_allclose(found.windows.norm(dim=1), 1.0, atol=1e-5)
    np.testing.assert_allclose(found.windows.sum(dim=1), 0.0, atol=1e-4)


def test_flat_and_faint_images_have_no_points():
    flat = np.full((1, SIDE, SIDE), 0.3, dtype=np.float32)
    ramp = np.linspace(-1, 1, SIDE, dtype=np.float32)[None, :, None].repeat(SIDE, 2)
    rounding = np.random.default_rng(0).uniform(-1 / 255, 1 / 255, (1, SIDE, SIDE)).astype(np.float32)
    assert len(points(np.concatenate([flat, ramp, rounding]), COARSE)) == 0


@pytest.mark.parametrize("angle", [0, 20, 45, 90, 135])
def test_a_straight_edge_has_no_points_and_a_corner_has(angle):
    """The films of strangers share rims and collimators' shadows: such windows are equal, and nothing was copied."""
    down, across = np.meshgrid(np.arange(SIDE) - 31.5, np.arange(SIDE) - 31.5, indexing="ij")
    turn = np.deg2rad(angle)
    along, beyond = across * np.cos(turn) + down * np.sin(turn), down * np.cos(turn) - across * np.sin(turn)
    grain = 0.01 * textures(8, 1)[0]
    edge = np.where(beyond > 0, 0.8, -0.8)
    bar = np.where(np.abs(beyond) < 1.6, -0.8, 0.8)
    corner = np.where((beyond > 0) & (along > 0), 0.8, -0.8)

    def on_it(image, near):
        found = points(gaussian_filter(image + grain, 0.7)[None].astype(np.float32), COARSE)
        return int(near[tuple(found.place.T)].sum())

    assert on_it(edge, np.abs(beyond) < 3) == on_it(bar, np.abs(beyond) < 3) == 0
    assert on_it(corner, np.hypot(along, beyond) < 4) > 0


def test_whitened_windows_of_strangers_are_nearly_at_right_angles():
    whitening = Whitening.fit(textures(5, 40), COARSE)
    found = points(textures(6, 8), COARSE)
    described = whitening(found)
    assert described.shape == (len(found), DIMENSIONS)
    np.testing.assert_allclose(described.norm(dim=1), 1.0, atol=1e-5)
    strangers = found.image[:, None] != found.image
    plain = (found.windows @ found.windows.T)[strangers].pow(2).mean()
    assert (described @ described.T)[strangers].pow(2).mean() < 0.5 * plain


def test_a_kind_that_nobody_has_is_whitened_as_all_are():
    whitening = Whitening.fit(textures(5, 1, 24), Level(64, 1, 8, 8, 1000, 1.0))
    assert torch.isfinite(whitening.basis).all()
    assert whitening.basis.shape == (256, WINDOW**2, DIMENSIONS)


def test_moments_but_the_first_name_cells():
    found = points(textures(7, 20, 128), FINE)
    assert found.cell.min() >= 0
    assert found.cell.max() < FINE.cells
    share = torch.bincount(found.cell, minlength=FINE.cells) / len(found)
    # As if so many cells were filled evenly: that much less is compared.
    assert 1 / share.pow(2).sum() > 200


def test_images_above_64_px_are_searched_twice():
    assert levels(28, 28) == levels(64, 90) == (COARSE,)
    assert levels(65, 65) == levels(512, 300) == (COARSE, FINE)
    images = textures(8, 2, 256)[:, None]
    assert at_level(images, COARSE).shape == (2, 64, 64)
    assert at_level(images, FINE).shape == (2, 128, 128)
    assert at_level(images[:, :, :100, :100], FINE).shape == (2, 100, 100)


def test_least_piece_is_thirteen_of_at_most_128_pixels():
    assert least_piece(512, 512) == least_piece(128, 128) == 13 / 128
    assert least_piece(64, 64) == 13 / 64
    assert least_piece(32, 40) == 13 / 32

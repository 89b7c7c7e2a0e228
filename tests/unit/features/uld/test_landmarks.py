"""One shown point is found again in other images, however they are posed."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from synthrelease.cohort.phantom import simulate_patient
from synthrelease.features.uld.landmarks import Support, at_points, locate, peaks, similarity
from synthrelease.features.uld.public import public_encoder
from synthrelease.features.uld.views import affine, inverse, warp

NAMES = ("carina", "right_apex", "left_apex", "right_costophrenic", "left_costophrenic", "heart_center")


def ramp(height=24, width=32):
    """Vectors that turn with row and column: every pixel has its own."""
    y, x = np.meshgrid(np.arange(height) / height, np.arange(width) / width, indexing="ij")
    maps = np.stack([np.cos(y * 2), np.sin(y * 2), np.cos(x * 2), np.sin(x * 2)])[None] / np.sqrt(2)
    return maps.astype(np.float32)


def test_peak_lies_between_pixels_and_at_corners():
    y, x = torch.meshgrid(torch.arange(16.0), torch.arange(20.0), indexing="ij")
    for row, column in ((7.3, 11.6), (2.0, 3.0), (15.0, 0.0), (0.0, 19.0)):
        found = peaks(-0.05 * ((y - row) ** 2 + (x - column) ** 2)[None, None])
        assert found.shape == (1, 1, 2)
        assert np.allclose(found[0, 0], (row, column), atol=0.35)


def test_point_is_found_in_its_own_image_and_where_that_was_moved():
    maps = ramp()
    support = Support(np.zeros((1, 1, 24, 32), np.float32), np.array([[[9.0, 20.0], [14.0, 6.0]]]))
    assert np.allclose(
        locate(lambda images: np.repeat(maps, len(images), 0), support, support.images), support.points, atol=0.5
    )
    moved = locate(
        lambda images: np.roll(maps, (3, -2), (2, 3)) if len(images) > 1 else maps,
        support,
        np.zeros((2, 1, 24, 32), np.float32),
        window=1,
    )
    assert np.allclose(moved[0], support.points[0] + (3, -2), atol=0.5)


def test_several_supports_count_equally_and_unshown_ones_not():
    rng = np.random.default_rng(0)
    shown = torch.nn.functional.normalize(torch.from_numpy(rng.normal(size=(3, 2, 5))), dim=2)
    shown[1, 0] = 0.0  # not shown there
    maps = torch.nn.functional.normalize(torch.from_numpy(rng.normal(size=(4, 5, 6, 7))), dim=1)
    found = similarity(shown, maps)
    one, two, three = (torch.einsum("ld,ndhw->nlhw", s, maps) for s in shown)
    assert torch.allclose(found[:, 1], (one + two + three)[:, 1] / 3)
    assert torch.allclose(found[:, 0], (one + three)[:, 0] / 2)


def test_vector_between_two_pixels_is_their_mean_at_unit_length():
    maps = torch.from_numpy(ramp())
    read = at_points(maps, np.array([[[5.0, 7.5], [np.nan, np.nan]]]))
    mean = torch.nn.functional.normalize(maps[0, :, 5, 7] + maps[0, :, 5, 8], dim=0)
    assert torch.allclose(read[0, 0], mean, atol=1e-6)
    assert not read[0, 1].any()


@pytest.mark.parametrize(
    ("points", "what"),
    [
        (np.zeros((2, 3, 2)), "images are"),
        (np.array([[[3.0, 40.0]]]), "outside"),
        (np.full((1, 1, 2), np.nan), "no support"),
    ],
)
def test_unsound_supports_are_refused(points, what):
    with pytest.raises(ValueError, match=what):
        Support(np.zeros((1, 1, 24, 32), np.float32), points)


def test_no_images_give_no_points():
    support = Support(np.zeros((1, 1, 24, 32), np.float32), np.array([[[3.0, 4.0]]]))
    assert locate(lambda _: ramp(), support, np.zeros((0, 1, 24, 32), np.float32)).shape == (0, 1, 2)


def test_public_encoder_finds_anatomy_in_turned_and_moved_strangers_where_the_copied_place_fails():
    """U4 in small, two supports: on phantoms that are none of those it was fitted to, not half the error of the copy."""
    seen = [simulate_patient(31, index, 64).images[0] for index in range(14)]
    images = np.stack([i.pixels for i in seen])[:, None] * np.float32(2) - np.float32(1)
    points = np.array([[i.landmarks[name] for name in NAMES] for i in seen])
    support = Support(images[:2], points[:2])
    generator = torch.Generator().manual_seed(0)
    theta = affine(
        torch.deg2rad(60.0 * torch.rand(12, generator=generator) - 30.0),
        torch.ones(12),
        0.2 * torch.rand(12, 2, generator=generator) - 0.1,
    )
    posed = warp(torch.from_numpy(images[2:]), theta).numpy()
    back = inverse(theta).double().numpy()
    xy = (2 * points[2:, :, ::-1] + 1) / 64 - 1
    there = np.einsum("nij,nlj->nli", back[:, :, :2], xy) + back[:, None, :, 2]
    truth = (((there + 1) * 64 - 1) / 2)[..., ::-1]
    inside = ((truth > 0) & (truth < 63)).all(axis=2)
    error = np.linalg.norm(locate(public_encoder("landmarks").embed, support, posed) - truth, axis=2)[inside]
    copied = np.linalg.norm(points[:2].mean(axis=0) - truth, axis=2)[inside]
    assert np.median(error) < 0.5 * np.median(copied)
    assert (error <= 4).mean() > (copied <= 4).mean() + 0.35

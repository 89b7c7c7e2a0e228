"""Maps of superpixels: what they keep of a picture, in which levels, and the trap of the compactness."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from synthrelease.generators.um import guidance
from synthrelease.generators.um.guidance import Guidance, edges, guided
from synthrelease.generators.um.procedural import shapes
from synthrelease.generators.um.superpixels import in_one_piece, superpixels

USUAL = Guidance(superpixels=128, compactness=0.1, step=10)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def anatomies(size: int, side: int, noise: float = 0.02) -> Tensor:
    """(size, 1, side, side) in [-1, 1]: discs of one level each on a soft ground."""
    pictures = functional.interpolate(torch.rand(size, 1, 8, 8, generator=rng()), size=(side, side), mode="bilinear")
    axis = torch.linspace(-1, 1, side)
    at = torch.rand(size, 4, 3, generator=rng(1))
    for k in range(4):
        y, x = axis[:, None] - (at[:, k, 0] * 1.2 - 0.6)[:, None, None], axis - (at[:, k, 1] * 1.2 - 0.6)[:, None, None]
        inside = (y.square() + x.square() < 0.09)[:, None]
        pictures = torch.where(inside, at[:, k, 2][:, None, None, None], pictures)
    return (pictures + noise * torch.randn(pictures.shape, generator=rng(2))).clamp(0, 1) * 2 - 1


def explained(pictures: Tensor, by: Tensor) -> float:
    """Share of the pictures' variance that their superpixels' means explain."""
    spread = (pictures - pictures.mean(dim=(1, 2, 3), keepdim=True)).square().sum()
    return float(1 - (pictures - by).square().sum() / spread)


@pytest.mark.parametrize("side", [32, 64])
def test_superpixels_follow_the_picture(side: int) -> None:
    pictures = anatomies(6, side)
    assert explained(pictures, USUAL.averaged(pictures)) >= 0.95


def test_the_compactness_of_colours_makes_a_plain_grid_of_grey_levels() -> None:
    pictures = anatomies(6, 64)
    right, of_colours = (explained(pictures, Guidance(128, m, 10).averaged(pictures)) for m in (0.1, 10.0))
    assert right - of_colours > 0.1


def test_one_hot_pixel_moves_no_superpixel_far_from_it() -> None:
    picture = anatomies(1, 64) * 0.8
    hot = picture.clone()
    hot[0, 0, 5, 5] = 1.0
    assert torch.equal(USUAL.of(picture)[..., 32:, 32:], USUAL.of(hot)[..., 32:, 32:])


def test_a_map_has_few_levels_all_of_them_multiples_of_the_step() -> None:
    levels = torch.unique((USUAL.of(anatomies(8, 64)) + 1) * 127.5)
    assert len(levels) <= 255 // 10 + 1
    torch.testing.assert_close(levels / 10, (levels / 10).round(), atol=1e-3, rtol=0)


def test_a_map_is_flat_within_each_superpixel_and_a_map_of_a_map_has_its_levels() -> None:
    pictures = anatomies(3, 32)
    owner = superpixels((pictures[:, 0] + 1) / 2, 128, 0.1)
    levels = USUAL.of(pictures)[:, 0]
    for own, map_ in zip(owner, levels, strict=True):
        for number in torch.unique(own):
            assert len(torch.unique(map_[own == number])) == 1
    torch.testing.assert_close(USUAL.quantised(levels), levels)


def test_every_superpixel_is_in_one_piece() -> None:
    owner = superpixels((anatomies(4, 32, noise=0.2)[:, 0] + 1) / 2, 64, 0.05)
    again = in_one_piece(owner, int(owner.max()) + 1)
    assert torch.equal(owner, again)


def test_the_smaller_part_of_a_torn_superpixel_goes_to_a_neighbour() -> None:
    torn = torch.tensor([[[0, 0, 1, 0], [0, 0, 1, 1], [2, 2, 1, 1], [2, 2, 1, 1]]])
    assert in_one_piece(torn, 3)[0, 0, 3] == 1


def test_the_number_of_superpixels_is_that_of_the_picture_whatever_its_size() -> None:
    for side in (32, 64):
        found = len(torch.unique(superpixels((anatomies(1, side)[:, 0] + 1) / 2, 128, 0.1)))
        assert 90 <= found <= 128


def test_edges_are_where_levels_change() -> None:
    levels = torch.zeros(1, 1, 4, 4)
    levels[..., 2:] = 1.0
    assert edges(levels)[0, 0].tolist() == [[0, 1, 1, 0]] * 4
    assert guided(levels).shape == (1, 2, 4, 4)
    assert not edges(torch.zeros(1, 1, 4, 4)).any()


def test_a_map_that_is_met_again_is_the_same() -> None:
    pictures = anatomies(4, 32)
    fresh = Guidance(64, 0.1, 10)
    first = fresh.remembered(pictures[:3])
    assert torch.equal(fresh.remembered(pictures)[:3], first)
    assert torch.equal(first, fresh.of(pictures[:3]))


def test_maps_are_kept_up_to_so_many_bytes_whatever_their_size_and_the_oldest_go_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for side, kept in ((16, 8), (32, 2)):
        monkeypatch.setattr(guidance, "REMEMBERED", 8 * 16 * 16 * 4)
        fresh, pictures = Guidance(16, 0.1, 10), anatomies(12, side)
        for first in range(0, 12, 4):
            maps = fresh.remembered(pictures[first : first + 4])
            assert torch.equal(maps, fresh.of(pictures[first : first + 4]))
        assert len(fresh._known) == kept
        assert sum(each.untyped_storage().nbytes() for each in fresh._known.values()) <= guidance.REMEMBERED
        computed: list[int] = []
        monkeypatch.setattr(Guidance, "of", lambda self, images, into=computed: (into.append(len(images)), images)[1])
        fresh.remembered(pictures[-kept:])
        assert computed == []
        fresh.remembered(pictures[:1])
        assert computed == [1]
        monkeypatch.undo()


def test_a_map_depends_on_its_own_picture_alone() -> None:
    pictures = anatomies(4, 32)
    assert torch.equal(USUAL.of(pictures)[1:2], USUAL.of(pictures[1:2]))


def test_gradients_pass_where_levels_are_floored() -> None:
    picture = (anatomies(1, 32) * 0.9).requires_grad_(True)
    made = USUAL.straight_through(picture)
    assert torch.equal(made.detach(), USUAL.of(picture.detach()))
    made.square().sum().backward()  # type: ignore[no-untyped-call]
    assert picture.grad is not None
    assert picture.grad.abs().sum() > 0


def test_procedural_shapes_are_of_no_data_and_vary() -> None:
    made = shapes(6, 32, rng())
    assert made.shape == (6, 1, 32, 32)
    assert -1 <= made.min() <= made.max() <= 1
    assert torch.equal(made, shapes(6, 32, rng()))
    assert (made[0] - made[1]).abs().mean() > 0.05
    assert len(torch.unique(USUAL.of(made))) > 5

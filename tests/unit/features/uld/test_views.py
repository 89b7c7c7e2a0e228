"""Views: whatever was done to an image is undone to its features, in the right order, and what is fill is known."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from synthrelease.features.uld.views import (
    AffineRange,
    GreyRange,
    QuarterTurn,
    affine,
    after,
    draw_affine,
    draw_quarter_turn,
    filled,
    grey_change,
    inverse,
    scaled,
    shared_geometry,
    slight_turn,
    unwarp,
    warp,
)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def coordinates(height, width, count=1):
    """Images whose two channels are the row and the column: the features of a network that knows only places."""
    rows, columns = torch.meshgrid(torch.arange(float(height)), torch.arange(float(width)), indexing="ij")
    return torch.stack([rows, columns]).expand(count, 2, height, width).clone()


@pytest.mark.parametrize("flip", [(), (2, 3), (3,), (2,)])
@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize(("height", "width"), [(8, 8), (6, 10)])
def test_quarter_turns_and_mirrors_are_undone_on_coordinate_images(flip, turns, height, width):
    places, change = coordinates(height, width), QuarterTurn(flip, turns)
    assert change.apply(places).shape[-2:] == ((height, width) if turns % 2 == 0 else (width, height))
    assert torch.equal(change.undo(change.apply(places)), places)


def test_undoing_in_the_order_of_doing_is_wrong_for_a_mirror_and_hidden_by_half_a_turn():
    places = coordinates(8, 8)

    def in_order_of_doing(change):
        return torch.rot90(change.apply(places).flip(change.flip), -change.turns, (2, 3))

    assert torch.equal(in_order_of_doing(QuarterTurn((2, 3), 1)), places)
    assert not torch.equal(in_order_of_doing(QuarterTurn((3,), 1)), places)


def test_images_that_are_not_square_are_turned_by_halves_only():
    assert {draw_quarter_turn(generator(seed), square=False).turns for seed in range(40)} == {0, 2}
    assert {draw_quarter_turn(generator(seed)).turns for seed in range(40)} == {0, 1, 2, 3}
    assert {draw_quarter_turn(generator(seed)).flip for seed in range(40)} == {(), (2, 3)}


@pytest.mark.parametrize(("height", "width"), [(64, 64), (48, 80)])
def test_features_of_a_warped_view_come_back_to_the_place_of_the_image(height, width):
    places = coordinates(height, width, 16)
    theta = draw_affine(16, AffineRange(), generator(), width / height)
    back, seen = unwarp(warp(places, theta), theta)
    assert 0.5 < seen.float().mean() < 1.0
    wrong = ((back - places) * seen).abs()
    assert wrong[..., 2:-2, 2:-2].max() < 0.01
    assert wrong.max() < 0.5  # the outermost pixels are mixed with the repeated border
    assert (back * ~seen).abs().max() == 0


def test_a_view_of_a_view_is_one_map():
    places = coordinates(64, 64, 4)
    first, second = (draw_affine(4, AffineRange(10, 0.05, (0.95, 1.05)), generator(seed)) for seed in range(2))
    twice, once = warp(warp(places, first), second), warp(places, after(first, second))
    assert (twice - once)[..., 20:44, 20:44].abs().max() < 0.01
    same = after(first, inverse(first))
    torch.testing.assert_close(same, torch.eye(2, 3).expand(4, 2, 3), atol=1e-5, rtol=0)


def test_a_view_shows_anatomy_elsewhere_so_that_position_cannot_name_a_cell():
    places = coordinates(64, 64, 32)
    moved = (warp(places, draw_affine(32, AffineRange(), generator())) - places).norm(dim=1)
    assert moved.mean() > 8  # a cell of the 8 x 8 grid


def test_a_turn_keeps_shapes_on_images_that_are_not_square():
    places = coordinates(40, 80)
    theta = affine(torch.tensor([math.pi / 6]), torch.ones(1), torch.zeros(1, 2), aspect=2.0)
    seen = warp(places, theta)
    step_right, step_down = seen[0, :, 20, 41] - seen[0, :, 20, 40], seen[0, :, 21, 40] - seen[0, :, 20, 40]
    assert step_right.norm() == pytest.approx(1.0, abs=1e-3)
    assert step_down.norm() == pytest.approx(1.0, abs=1e-3)
    assert float(step_right @ step_down) == pytest.approx(0.0, abs=1e-3)


def test_relative_views_stay_in_their_range_and_never_mirror():
    span = AffineRange(degrees=28, shift=0.15, scale=(0.87, 1.15))
    theta = draw_affine(2000, span, generator())
    determinant = torch.linalg.det(theta[:, :, :2])
    assert determinant.min() >= 1.15**-2 - 1e-5
    assert determinant.max() <= 0.87**-2 + 1e-5
    turn = torch.atan2(theta[:, 1, 0], theta[:, 0, 0]).rad2deg().abs()
    assert 27 < turn.max() <= 28 + 1e-4
    assert 0.29 < theta[:, :, 2].abs().max() <= 0.30 + 1e-6
    torch.testing.assert_close(inverse(inverse(theta)), theta, rtol=1e-4, atol=1e-5)


def test_shared_geometry_mirrors_only_when_asked():
    marked = torch.zeros(64, 1, 32, 32)
    # Three spots around the middle; their sense of rotation tells a mirror image.
    spots = [(10, 16, 1.0), (20, 22, 2.0), (20, 10, 3.0)]
    for row, column, value in spots:
        marked[:, :, row - 1 : row + 2, column - 1 : column + 2] = value

    def senses(images):
        found = []
        for image in images[:, 0]:
            places = []
            for value in (1.0, 2.0, 3.0):
                near = ((image - value).abs() < 0.3).nonzero().float().mean(dim=0)
                places.append(near)
            one, two = places[1] - places[0], places[2] - places[0]
            found.append(float(torch.sign(one[0] * two[1] - one[1] * two[0])))
        return set(found)

    assert len(senses(shared_geometry(marked, generator())[0])) == 1
    assert len(senses(shared_geometry(marked, generator(), mirror=True)[0])) == 2


def test_fill_is_known_and_repeats_the_border_instead_of_black():
    images = torch.ones(8, 1, 32, 32)
    posed, fill = shared_geometry(images, generator(3))
    assert posed.min() > 0.999
    assert 0 < fill.float().mean() < 0.4
    quarter = affine(torch.tensor([math.pi / 4]), torch.ones(1), torch.zeros(1, 2))
    corners = filled(quarter, 32, 32)
    assert corners[0, 0, 0, 0]
    assert not corners[0, 0, 16, 16]


def test_the_light_view_turns_by_two_degrees_at_most():
    places = coordinates(65, 65, 50)
    moved = (slight_turn(places, generator()) - places)[..., 32, 60].norm(dim=1)
    assert 0.3 < moved.max() <= 28 * math.radians(2.0) * 1.02


def test_grey_changes_keep_order_of_greys_and_are_drawn_for_each_image():
    ramp = torch.linspace(-1, 1, 64).view(1, 1, 8, 8).expand(5, 1, 8, 8)
    changed = grey_change(ramp, GreyRange(noise=0.0), generator())
    assert (changed.flatten(1).diff(dim=1) >= 0).all()
    assert len({round(float(x), 4) for x in changed[:, 0, 4, 4]}) == 5
    untouched = grey_change(ramp, GreyRange(0.0, 0.0, 0.0, 0.0), generator())
    torch.testing.assert_close(untouched, ramp.contiguous(), atol=1e-3, rtol=0)


def test_shading_is_smooth_and_only_there_when_asked():
    flat = torch.zeros(4, 1, 64, 64)
    quiet = GreyRange(gain=0.0, offset=0.0, gamma=0.0, noise=0.0)
    plain, shaded = (grey_change(flat, replace(quiet, shading=s), generator()) for s in (0.0, 0.3))
    assert plain.std() < 1e-6
    assert 0.1 < shaded.std() < 0.6
    assert shaded.diff(dim=3).abs().max() < 0.1


def test_a_share_of_a_range_shrinks_to_nothing():
    assert scaled(AffineRange(), 1.0) == AffineRange()
    assert scaled(AffineRange(), 0.0) == AffineRange(0.0, 0.0, (1.0, 1.0))
    half = scaled(AffineRange(28.0, 0.15, (0.87, 1.15)), 0.5)
    assert (half.degrees, half.shift) == (14.0, 0.075)
    assert half.scale == pytest.approx((0.935, 1.075))

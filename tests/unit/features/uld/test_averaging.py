"""Averages: cells of any grid, first averaged and then brought to length, and a bell that finds the middle of a disc."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from synthrelease.features.uld.averaging import bell, pool, sliding, to_grid


def vectors(*shape, seed=0):
    return functional.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=1)


def test_the_bell_sums_to_one_and_is_highest_and_even_about_its_middle():
    for width in (4, 9):
        weights = bell(width, width / 4)
        assert float(weights.sum()) == pytest.approx(1.0)
        assert torch.equal(weights, weights.flip((0, 1)))
        assert torch.allclose(weights, weights.T)
        assert weights.max() == weights[width // 2, width // 2]


@pytest.mark.parametrize(("height", "width", "cells"), [(64, 64, 8), (28, 28, 8), (30, 45, 7), (16, 16, 16)])
def test_plain_cells_are_adaptive_average_pooling_also_where_the_grid_does_not_divide_the_side(height, width, cells):
    maps = vectors(2, 5, height, width)
    torch.testing.assert_close(
        pool(maps, cells, centre_sensitive=False), functional.adaptive_avg_pool2d(maps, cells), rtol=1e-4, atol=1e-6
    )
    for centre_sensitive in (True, False):
        grid = to_grid(maps, cells, centre_sensitive=centre_sensitive)
        assert grid.shape == (2, cells, cells, 5)
        torch.testing.assert_close(grid.norm(dim=-1), torch.ones(2, cells, cells))


def test_weights_of_a_cell_sum_to_one():
    torch.testing.assert_close(pool(torch.ones(1, 1, 30, 45), 7), torch.ones(1, 1, 7, 7))


def test_vectors_are_averaged_before_they_are_brought_to_length():
    # Three pixels agree, one opposes at a right angle: the average leans on the three, three to one.
    maps = torch.zeros(1, 2, 2, 2)
    maps[0, 0, 0, :], maps[0, 0, 1, 0], maps[0, 1, 1, 1] = 1.0, 1.0, 1.0
    cell = to_grid(maps, 1, centre_sensitive=False)[0, 0, 0]
    torch.testing.assert_close(cell, functional.normalize(torch.tensor([3.0, 1.0]), dim=0))


def test_more_cells_than_pixels_are_refused():
    with pytest.raises(ValueError, match="cannot be cut"):
        pool(torch.ones(1, 1, 8, 8), 9)


def test_sliding_windows_are_weighted_means_about_each_pixel():
    maps = vectors(1, 3, 12, 15)
    weights = bell(5, 0.25 * 5)
    row, column = 6, 4
    window = (maps[0, :, row - 2 : row + 3, column - 2 : column + 3] * weights).sum(dim=(1, 2))
    torch.testing.assert_close(sliding(maps, 5)[0, :, row, column], functional.normalize(window, dim=0))
    assert torch.equal(sliding(maps, 4), sliding(maps, 5))


def test_a_constant_stays_what_it_is_up_to_the_border():
    even = functional.normalize(torch.ones(1, 4, 9, 9), dim=1)
    for centre_sensitive in (True, False):
        torch.testing.assert_close(sliding(even, 5, centre_sensitive=centre_sensitive), even)


def disc(radius=8, side=65):
    """Embedding of an even disc on another even ground: pixels know what they are, not where."""
    axis = torch.arange(float(side)) - side // 2
    inside = (axis[:, None] ** 2 + axis[None] ** 2 <= radius**2).float()
    return torch.stack([inside, 1.0 - inside])[None]


def similarity(query, support, *, centre_sensitive, width=25):
    """Of every window of a query to the window in the middle of a support; windows wider than the disc of 17 px."""
    point = sliding(support, width, centre_sensitive=centre_sensitive)[:, :, 32, 32]
    return (sliding(query, width, centre_sensitive=centre_sensitive) * point[..., None, None]).sum(dim=1)[0]


def test_the_bell_keeps_one_narrow_peak_where_plain_windows_are_all_alike():
    bell_shaped, plain = (similarity(disc(), disc(), centre_sensitive=c) > 1 - 1e-3 for c in (True, False))
    assert bell_shaped.sum() < 0.15 * plain.sum()
    assert bell_shaped[32, 32]


def test_the_middle_of_an_even_disc_is_found_in_noise_by_the_bell_and_missed_by_plain_windows():
    def error(centre_sensitive, seed):
        noise = 0.3 * torch.randn(1, 2, 65, 65, generator=torch.Generator().manual_seed(seed))
        query = functional.normalize(disc() + noise, dim=1)
        row, column = divmod(int(similarity(query, disc(), centre_sensitive=centre_sensitive).argmax()), 65)
        return ((row - 32) ** 2 + (column - 32) ** 2) ** 0.5

    bell_shaped, plain = (sum(error(c, seed) for seed in range(12)) / 12 for c in (True, False))
    assert bell_shaped < 1.5
    assert plain > 3 * bell_shaped

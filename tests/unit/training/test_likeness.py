"""One picture saved twice is known for one, strangers are not, and a blank picture is nobody's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from synthrelease.cohort.phantom.patients import simulate_patient
from synthrelease.training.likeness import SAME, any_is_among, steps

PATIENTS = 60


def chests(seed: int) -> Tensor:
    """(60, 1, 64, 64) in [-1, 1], an image of each of 60 simulated patients."""
    pixels = [simulate_patient(seed, patient, 64).images[0].pixels for patient in range(PATIENTS)]
    return torch.from_numpy(np.stack(pixels))[:, None] * 2 - 1


@pytest.fixture(scope="module")
def ours() -> Tensor:
    return chests(1)


@pytest.fixture(scope="module")
def strangers() -> Tensor:
    return chests(2)


def at(images: Tensor, side: int) -> Tensor:
    return functional.interpolate(images, size=(side, side), mode="area")


def saved(images: Tensor) -> Tensor:
    """As 8 bits hold it."""
    return ((images.clamp(-1, 1) + 1) * 127.5).round() / 127.5 - 1


@pytest.mark.parametrize("side", [16, 28, 32, 64])
def test_a_picture_is_known_in_8_bits_and_brighter_or_darker(side: int, ours: Tensor) -> None:
    pictures = at(ours, side)
    for changed in (pictures, pictures + 0.15, pictures - 0.05, 0.9 * pictures):
        alike = (steps(saved(changed)) * steps(pictures)).sum(dim=1)
        assert (alike >= SAME).all()
        assert not any_is_among(saved(changed)[:5], [pictures[5:]])


def test_a_picture_is_known_through_another_resampling_and_faint_noise(ours: Tensor) -> None:
    rng = torch.Generator().manual_seed(0)
    smooth = functional.interpolate(ours, size=(32, 32), mode="bilinear", antialias=True)
    noisy = saved(ours + 0.02 * torch.randn(ours.shape, generator=rng))
    for changed, pictures in ((smooth, at(ours, 32)), (noisy, ours)):
        assert ((steps(changed) * steps(pictures)).sum(dim=1) >= SAME).float().mean() > 0.9


@pytest.mark.parametrize("side", [16, 28, 32, 64])
def test_strangers_are_not_the_same_although_radiographs_are_all_alike(
    side: int, ours: Tensor, strangers: Tensor
) -> None:
    one, other = at(ours, side), at(strangers, side)
    centred = [(each - each.mean(dim=(1, 2, 3), keepdim=True)).flatten(1) for each in (one, other)]
    pixels = functional.normalize(centred[0]) @ functional.normalize(centred[1]).T
    assert pixels.max() > 0.95
    assert (steps(one) @ steps(other).T).max() < SAME - 0.015
    assert not any_is_among(one, [other])


def test_one_among_many_is_found_in_whatever_block(ours: Tensor, strangers: Tensor) -> None:
    for place in (0, 31, 59):
        others = strangers.clone()
        others[place] = saved(ours[7])
        assert any_is_among(ours, others.split(16))
        assert any_is_among(others, ours.split(16))


def test_no_block_is_asked_for_after_the_first_that_holds_one(ours: Tensor) -> None:
    def blocks():
        yield ours
        raise AssertionError("one was found already")

    assert any_is_among(ours[:1], blocks())


def test_a_blank_picture_is_like_none_and_not_even_like_itself(ours: Tensor) -> None:
    blank = torch.full((1, 1, 64, 64), -1.0)
    grey = blank + torch.zeros_like(blank).index_fill(-1, torch.arange(32), 1 / 127.5)
    for each in (blank, blank + 1.3, grey):
        assert not steps(each).any()
        assert not any_is_among(each, [torch.cat([blank, grey, ours])])


def test_a_broken_picture_hides_no_other(ours: Tensor) -> None:
    broken = ours.clone()
    broken[3, 0, 5, 5] = torch.nan
    assert any_is_among(ours[4:5], [broken])
    assert not any_is_among(ours[3:4], [broken])

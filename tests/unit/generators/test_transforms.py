"""A transform moves image and masks together, is never nothing, and is what its name says."""

from __future__ import annotations

from typing import get_args

import pytest
import torch

from synthrelease.generators.transforms import transformed
from synthrelease.policy.generators import Transform
from synthrelease.policy.transform_rules import CHANGES

NAMES = get_args(Transform)


def pictures(size: int = 6, side: int = 16) -> torch.Tensor:
    """A bright square off the centre, the same as a mask."""
    made = torch.full((size, 2, side, side), -0.5)
    made[:, :, 2:8, 3:7] = 0.5
    return made


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_policy_says_of_every_transform_what_it_changes() -> None:
    assert set(CHANGES) == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_it_is_never_the_identity_and_keeps_shape_and_range(name: str) -> None:
    given = pictures()
    turned = transformed(given, (name,), rng())
    assert turned.shape == given.shape
    assert turned.abs().max() <= 1.0
    assert ((turned - given).abs().flatten(1).max(dim=1).values > 0.05).all()
    assert torch.equal(given, pictures())


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mirror", lambda x: x.flip(-1)),
        ("upside_down", lambda x: x.flip(-2)),
        ("quarter_turn", lambda x: x.rot90(1, (-2, -1))),
    ],
)
def test_whole_turns_move_pixels_and_change_none(name: str, expected: object) -> None:
    given = torch.rand(3, 2, 16, 16, generator=rng(1)) * 2 - 1
    torch.testing.assert_close(transformed(given, (name,), rng()), expected(given), atol=1e-4, rtol=0)  # type: ignore[operator]


@pytest.mark.parametrize("name", ["rotate", "shift", "zoom"])
def test_masks_move_with_the_image(name: str) -> None:
    turned = transformed(pictures(), (name,), rng())
    torch.testing.assert_close(turned[:, 0], turned[:, 1])


def test_exposure_leaves_masks_where_and_as_they_are() -> None:
    given = pictures()
    turned = transformed(given, ("exposure",), rng())
    torch.testing.assert_close(turned[:, 1:], given[:, 1:], atol=1e-5, rtol=0)
    assert (turned[:, :1] != given[:, :1]).any()


def test_of_several_one_is_always_taken_and_rows_differ() -> None:
    given = pictures(64)
    turned = transformed(given, ("mirror", "exposure"), rng())
    assert ((turned - given).abs().flatten(1).max(dim=1).values > 0.05).all()
    assert len({tuple(row.flatten().tolist()) for row in turned[:, 1]}) == 2


def test_equal_randomness_gives_equal_bits() -> None:
    first, again = (transformed(pictures(), NAMES, rng(3)) for _ in range(2))
    assert torch.equal(first, again)

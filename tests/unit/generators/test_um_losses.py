"""What painter and critics are trained to; and that the mistakes of the published code are not ours."""

from __future__ import annotations

import torch
from torch import Tensor

from synthrelease.generators.um.losses import judged, pseudo_masks, segmentation, squared_slope, trusted

ALL = torch.ones(3, 1, 8, 8)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def masks() -> Tensor:
    wanted = torch.zeros(3, 2, 8, 8)
    wanted[:, 0, :4], wanted[:, 1, 2:6, 2:6] = 1.0, 1.0
    return wanted


def test_pseudo_masks_hold_what_the_painter_draws_and_are_not_emptied() -> None:
    """The published code takes the argmax of an argmax: its pseudo-masks are background everywhere."""
    logits = (masks() - 0.5) * 6
    assert torch.equal(pseudo_masks(logits), masks())


def test_masks_may_overlap() -> None:
    drawn = pseudo_masks((masks() - 0.5) * 6)
    assert (drawn.sum(dim=1) == 2).any()


def test_a_confident_mistake_has_a_slope() -> None:
    """The published code squashes twice: where the first has saturated, the second has no slope."""
    logits = torch.full((1, 1, 8, 8), -12.0, requires_grad=True)
    segmentation(logits, torch.ones(1, 1, 8, 8), torch.ones(1, 1, 8, 8)).sum().backward()  # type: ignore[no-untyped-call]
    once = logits.grad
    twice = torch.full((1, 1, 8, 8), -12.0, requires_grad=True)
    torch.nn.functional.binary_cross_entropy_with_logits(torch.sigmoid(twice), torch.ones(1, 1, 8, 8)).backward()
    assert once is not None
    assert twice.grad is not None
    assert once.abs().mean() > 1000 * twice.grad.abs().mean()


def test_dice_is_of_each_image_and_not_of_the_batch() -> None:
    """The published code pools it over the batch, where one patient moves another's loss."""
    logits = torch.randn(3, 2, 8, 8, generator=rng())
    alone = torch.cat([segmentation(logits[i : i + 1], masks()[i : i + 1], ALL[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(segmentation(logits, masks(), ALL), alone)


def test_a_right_drawing_costs_next_to_nothing_and_a_wrong_one_much() -> None:
    right, wrong = (masks() - 0.5) * 40, (0.5 - masks()) * 40
    assert segmentation(right, masks(), ALL).max() < 0.01
    assert segmentation(wrong, masks(), ALL).min() > 5


def test_an_empty_mask_that_is_left_empty_costs_nothing() -> None:
    empty = torch.zeros(3, 2, 8, 8)
    assert segmentation(empty - 20, empty, ALL).max() < 1e-3


def test_pixels_that_are_not_trusted_do_not_count_and_an_image_without_any_costs_nothing() -> None:
    logits, pixels = torch.randn(3, 2, 8, 8, generator=rng()), ALL.clone()
    pixels[0] = 0.0
    pixels[1, :, 4:] = 0.0
    loss = segmentation(logits, masks(), pixels)
    assert loss[0] == 0
    other = logits.clone()
    other[1, :, 4:] += 3.0
    torch.testing.assert_close(segmentation(other, masks(), pixels)[1], loss[1])
    assert loss[2] > 0


def test_trust_is_where_the_critic_takes_the_painted_for_real() -> None:
    finest = torch.full((1, 4, 4), -3.0)
    finest[:, :2] = 3.0
    where = trusted(finest, 16, 0.5)[0, 0]
    assert where[:6].all()
    assert not where[10:].any()


def test_every_scale_weighs_the_same_in_a_verdict() -> None:
    sure, unsure = torch.full((2, 8, 8), 5.0), torch.zeros(2, 2, 2)
    one, other = judged([sure, unsure], real=True), judged([unsure, sure], real=True)
    torch.testing.assert_close(one, other)
    assert (judged([sure, sure], real=True) < judged([sure, sure], real=False)).all()


def test_the_slope_of_a_plane_is_its_own() -> None:
    at = torch.zeros(2, 1, 4, 4, requires_grad=True)
    scores = (3.0 * at).sum(dim=(1, 2, 3))
    torch.testing.assert_close(squared_slope(scores, at), torch.full((2,), 9.0 * 16))

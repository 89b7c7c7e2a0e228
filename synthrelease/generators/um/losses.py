"""What painter and critics are trained to, a number for each example.

    critics     1/2 (BCE(D(UM, x), 1) + BCE(D(UM, G(UM)), 0)), over patches and scales
    painter     BCE(D(UM, G(UM)), 1) + 10 |G(UM) - x| + a (CE + Dice)
                a = 10 with the patient's masks, 0.5 with pseudo-masks on trusted pixels, as published; a fifth of both as shipped

Every loss is of logits: the entropy of what was already squashed has hardly a slope where it is wrong. Dice is taken of each
image and each mask by itself: over a batch it would mix patients. Masks may overlap here, so that each is a question of its own
instead of one choice among classes.

Source: Xing et al., IEEE TMI 2023, with what its published code means to do.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

PRESENT = 0.5
SMOOTH = 1.0
"""Pixels added above and below in Dice: a mask that is empty on both sides agrees."""


def judged(scales: Sequence[Tensor], *, real: bool) -> Tensor:
    """Cross-entropy (N,) of patch logits (N, h, h) of each scale against one verdict, every scale weighing the same."""
    sign = -1.0 if real else 1.0
    return torch.stack([functional.softplus(sign * scores).mean(dim=(1, 2)) for scores in scales]).mean(dim=0)


def segmentation(logits: Tensor, wanted: Tensor, pixels: Tensor) -> Tensor:
    """Cross-entropy plus soft Dice (N,) of masks, over the pixels that count.

    Args:
        logits: (N, K, H, W), K at least 1. wanted: (N, K, H, W) in [0, 1].
        pixels: (N, 1, H, W) weights in [0, 1]; an image of which no pixel counts has loss 0.
    """
    held = pixels.sum(dim=(1, 2, 3))
    entropy = functional.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    entropy = (entropy * pixels).sum(dim=(1, 2, 3)) / (held.clamp_min(1.0) * logits.shape[1])
    found = torch.sigmoid(logits) * pixels
    both = (found * wanted).sum(dim=(2, 3))
    dice = (2.0 * both + SMOOTH) / (found.sum(dim=(2, 3)) + (wanted * pixels).sum(dim=(2, 3)) + SMOOTH)
    return torch.where(held > 0, entropy + 1.0 - dice.mean(dim=1), 0.0)


def pseudo_masks(logits: Tensor) -> Tensor:
    """(N, K, H, W) of 0 and 1: what the painter itself would draw, each mask where it is likelier than not."""
    return (torch.sigmoid(logits) > PRESENT).to(logits.dtype)


def trusted(finest: Tensor, side: int, threshold: float) -> Tensor:
    """(N, 1, side, side) of 0 and 1: the pixels that the critic would take for real.

    Args:
        finest: (N, h, h) logits of what was painted. threshold: On its probability.
    """
    wide = functional.interpolate(torch.sigmoid(finest)[:, None], size=(side, side), mode="bilinear")
    return (wide > threshold).to(finest.dtype)


def squared_slope(scores: Tensor, at: Tensor) -> Tensor:
    """Squared length (N,) of the gradient of scores (N,) with respect to pictures ``at`` (N, C, H, W)."""
    (gradient,) = torch.autograd.grad(scores.sum(), at, create_graph=True)
    return gradient.square().sum(dim=(1, 2, 3))

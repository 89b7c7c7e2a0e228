"""Gradient reversal in both directions: predictors learn one code from the other, the encoder learns to defeat them.

    predictors   |F_c(z^) - c^|^2 + |F_z(c^) - z^|^2, down
    encoder      the same, up, times a weight that rises with training

Three things keep the game honest. Codes are standardised example by example, so that no length of a code decides it; a
target is detached, so that the encoder hides one code from the other instead of moving the other; and the encoder gains
nothing from a predictor that is worse than chance.

The predictors must keep up: with one step of theirs for each of the encoder the reversal failed while their loss looked like
success. That loss tells nothing of how far the codes are apart; probes that are trained afterwards do.

Sources: Ganin et al., "Domain-adversarial training of neural networks", JMLR 2016 (reversal and its ramp); Havaei et al.,
Medical Image Analysis 2021 (both directions).
"""

from __future__ import annotations

from math import exp

import torch
from torch import Tensor, nn
from torch.nn import functional

from synthrelease.generators.layers import rectified
from synthrelease.generators.protocol import Forward

CHANCE = 1.0
"""Mean squared error of predicting nothing, since targets are standardised."""
STEEPNESS = 10.0


def ramp(share: float) -> float:
    """Weight of the reversal after a share of the training, from 0 to 1.

    >>> ramp(0.0), round(ramp(1.0), 3)
    (0.0, 1.0)
    """
    return 2.0 / (1.0 + exp(-STEEPNESS * share)) - 1.0


def standardised(code: Tensor) -> Tensor:
    """Each example's code (N, d) less its own mean, over its own deviation."""
    return functional.layer_norm(code, code.shape[-1:])


class Predictors(nn.Module):
    """F_c: style to content, and F_z: content to style.

    Args:
        style: Dimensions of z.
        content: Dimensions of c.
        width: Inner width.
    """

    def __init__(self, *, style: int, content: int, width: int) -> None:
        super().__init__()
        self.content = nn.ModuleList([nn.Linear(style, width), nn.Linear(width, width), nn.Linear(width, content)])
        self.style = nn.ModuleList([nn.Linear(content, width), nn.Linear(width, width), nn.Linear(width, style)])

    def forward(self, style: Tensor, content: Tensor) -> Tensor:
        """(N, style), (N, content) to (N, content + style): the content told from the style, the style from the content."""
        return torch.cat([_through(self.content, style), _through(self.style, content)], dim=1)


def errors(forward: Forward, style: Tensor, content: Tensor) -> Tensor:
    """Mean squared errors (N, 2) of content told from style and of style told from content; chance is 1.

    Args:
        forward: The predictors.
        style: (N, style) inferred.
        content: (N, content) inferred.
    """
    style, content = standardised(style), standardised(content)
    parts = [content.shape[1], style.shape[1]]
    told_content, told_style = torch.split(forward(style, content), parts, dim=1)
    return torch.stack(
        [
            (told_content - content.detach()).square().mean(dim=1),
            (told_style - style.detach()).square().mean(dim=1),
        ],
        dim=1,
    )


def reversed_errors(forward: Forward, style: Tensor, content: Tensor) -> Tensor:
    """What the encoder minimises (N,): the predictors' errors with their sign turned round, and no less than at chance."""
    return -errors(forward, style, content).clamp_max(CHANCE).sum(dim=1)


def _through(layers: nn.ModuleList, h: Tensor) -> Tensor:
    for layer in layers[:-1]:
        h = rectified(layer(h))
    out: Tensor = layers[-1](h)
    return out

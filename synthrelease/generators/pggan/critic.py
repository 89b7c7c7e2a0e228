"""The critic: how real a picture of image and masks looks."""

from __future__ import annotations

from itertools import pairwise
from math import gcd, sqrt

import torch
from torch import Tensor, nn

from synthrelease.generators.layers import rectified
from synthrelease.generators.pggan.growth import halved
from synthrelease.generators.pggan.network import Equalised, Growable, convolution, width_at

GROUP = 4
"""Pictures whose spread is measured together."""


def group_spread(x: Tensor) -> Tensor:
    """How much pictures of a group differ: (N, C, H, W) to (N,), the mean standard deviation over groups of up to four.

    Source: Karras et al., ICLR 2018, section 3, with the groups of their official code.
    """
    size = gcd(len(x), GROUP)
    groups = x.reshape(size, len(x) // size, *x.shape[1:])
    spread = ((groups - groups.mean(dim=0)).square().mean(dim=0) + 1e-8).sqrt().mean(dim=(1, 2, 3))
    return spread.repeat(size)


class Critic(Growable):
    """D: a picture of image and masks to a score, higher for what looks real.

    Args:
        channels: 1 + K, image and masks.
        resolution: H = W when fully grown.
        width: Channels of the scales up to 16 px.
        batch_spread: See how much a batch varies (minibatch standard deviation), which drives a generator to variety.
            A statistic over examples: never under a privacy claim. Out of training mode a constant stands for it, so
            that a picture's score is its own.

    Attributes:
        usual_spread: () what stands for the statistic out of training mode.
    """

    usual_spread: Tensor

    def __init__(self, channels: int, resolution: int, width: int, *, batch_spread: bool) -> None:
        super().__init__(resolution)
        widths = [width_at(size, width) for size in self.sizes]
        self.batch_spread = batch_spread
        self.ends = nn.ModuleList(Equalised(nn.Conv2d(channels, inner, 1)) for inner in widths)
        self.blocks = nn.ModuleList(
            nn.ModuleList([convolution(inner, inner), convolution(inner, outer)]) for outer, inner in pairwise(widths)
        )
        self.last = convolution(widths[0] + batch_spread, widths[0])
        self.dense = Equalised(nn.Linear(widths[0] * self.sizes[0] ** 2, widths[0]))
        self.score = Equalised(nn.Linear(widths[0], 1), 1.0)
        self.register_buffer("usual_spread", torch.tensor(sqrt(0.5)))
        self.grow(self.stage)

    def parts(self, level: int) -> tuple[nn.Module, ...]:
        """See :class:`Growable`."""
        return (self.last, self.dense, self.score) if level == 0 else (self.blocks[level - 1],)

    def end(self, level: int) -> nn.Module:
        """See :class:`Growable`."""
        return self.ends[level]

    def trunk(self, pictures: Tensor) -> Tensor:
        """(N, 1 + K, h, w) pictures at the stage's size to (N, C, s, s) features at the coarsest scale's size."""
        level = self.stage.level
        h = rectified(self.ends[level](pictures))
        for at in range(level, 0, -1):
            for layer in self.blocks[at - 1]:  # type: ignore[attr-defined]
                h = rectified(layer(h))
            h = halved(h)
            if at == level and self.stage.blend < 1.0:
                h = rectified(self.ends[level - 1](halved(pictures))).lerp(h, self.stage.blend)
        return h

    def forward(self, pictures: Tensor) -> Tensor:
        """(N, 1 + K, h, w) pictures at the stage's size to (N,) scores."""
        h = self.trunk(pictures)
        if self.batch_spread:
            spread = group_spread(h) if self.training else self.usual_spread.expand(len(h))
            h = torch.cat([h, spread[:, None, None, None].expand(-1, 1, *h.shape[2:])], dim=1)
        h = rectified(self.last(h))
        score: Tensor = self.score(rectified(self.dense(h.flatten(1))))
        return score[:, 0]

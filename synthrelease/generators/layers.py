"""Layers that several generators draw and judge with. None reads more than one example.

Where there are pixels enough, two by two are folded into channels first: a small picture is then worked on at half of its
side, at a quarter of the cost.

Source: Huang and Belongie, "Arbitrary style transfer in real-time with adaptive instance normalization", ICCV 2017, for what is
normalised by itself, then scaled and moved as a code says. The sizes are ours.
"""

from __future__ import annotations

from itertools import pairwise
from math import gcd

from torch import Tensor, nn
from torch.nn import functional

SLOPE = 0.2
FOLDED_FROM = 28
"""Pixels a side from which pictures are folded."""
COARSEST = 4
GROUPS = 8


def rectified(x: Tensor) -> Tensor:
    """Leaky rectifier."""
    return functional.leaky_relu(x, SLOPE)


def fold_of(resolution: int) -> int:
    """Pixels a side that become one: 2 from 28 px on, else 1."""
    return 2 if resolution >= FOLDED_FROM else 1


def sides(resolution: int, coarsest: int = COARSEST) -> tuple[int, ...]:
    """Sides of the grids that a picture goes through, finest first: folded, then halved while that leaves ``coarsest``.

    >>> sides(32)
    (16, 8, 4)
    >>> sides(28)
    (14, 7)
    >>> sides(64, 8)
    (32, 16, 8)
    """
    found = [resolution // fold_of(resolution)]
    while found[-1] % 2 == 0 and found[-1] // 2 >= coarsest:
        found.append(found[-1] // 2)
    return tuple(found)


def widths(resolution: int, width: int, coarsest: int = COARSEST) -> tuple[int, ...]:
    """Channels at each side: ``width`` at the finest, twice as many at each halving, up to four times."""
    return tuple(width * min(4, 2**level) for level in range(len(sides(resolution, coarsest))))


def normed(channels: int, *, affine: bool = True) -> nn.GroupNorm:
    """Each example over its own groups of channels: one channel by itself would lose how bright a picture is."""
    return nn.GroupNorm(gcd(channels, GROUPS), channels, affine=affine)


class Decoder(nn.Module):
    """A code to a picture: the code sets the coarsest grid, and scales and moves the features of every grid.

    Args:
        code: Dimensions of the code.
        channels: Of the picture. resolution: H = W. width: Channels of the finest grid.
    """

    def __init__(self, code: int, channels: int, resolution: int, width: int) -> None:
        super().__init__()
        self._coarsest, self._fold = sides(resolution)[-1], fold_of(resolution)
        each = widths(resolution, width)[::-1]
        self._widest = each[0]
        self.start = nn.Linear(code, each[0] * self._coarsest**2)
        self.convolutions = nn.ModuleList(nn.Conv2d(coarse, fine, 3, padding=1) for coarse, fine in pairwise(each))
        self.norms = nn.ModuleList(normed(channels, affine=False) for channels in each)
        self.modulations = nn.ModuleList(nn.Linear(code, 2 * channels) for channels in each)
        self.last = nn.Conv2d(each[-1], channels * self._fold**2, 3, padding=1)

    def forward(self, code: Tensor) -> Tensor:
        """(N, code) to (N, channels, H, W) in (-1, 1)."""
        h = self.start(code).reshape(len(code), self._widest, self._coarsest, self._coarsest)
        h = self._modulated(0, h, code)
        for level, convolution in enumerate(self.convolutions, start=1):
            h = self._modulated(level, convolution(functional.interpolate(h, scale_factor=2.0, mode="nearest")), code)
        return functional.pixel_shuffle(self.last(h), self._fold).tanh()

    def _modulated(self, level: int, h: Tensor, code: Tensor) -> Tensor:
        scale, move = self.modulations[level](code)[:, :, None, None].chunk(2, dim=1)
        return rectified(self.norms[level](h) * (1.0 + scale) + move)

"""The generator, the encoder, and the trunk that encoder and critics have each their own of.

    conditioning   class t -> p(c | t), a Gaussian over contents            (conditioning augmentation)
    generator      style z, content c -> picture of image and masks
    encoder        picture -> q(z | x), q(c | x), one trunk with two heads

No layer reads more than one example. Where there are pixels enough, two by two are folded into channels first: a small
picture is then drawn at half of its side, at a quarter of the cost.

Sources: Havaei, Mao, Wang, Lao, "Conditional generation of medical images via disentangled adversarial inference",
Medical Image Analysis 2021, for what there is; Zhang et al., "StackGAN", ICCV 2017, for the conditioning. The layers are
ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import gcd

import torch
from torch import Tensor, nn
from torch.nn import functional

SLOPE = 0.2
FOLDED_FROM = 28
"""Pixels a side from which pictures are folded."""
COARSEST = 4
NARROW = -2.0
"""Log-variance that codes begin with: at a variance of one, noise drowns the class before it is learned."""
LOG_VARIANCE = (-8.0, 2.0)


@dataclass(frozen=True)
class Gaussian:
    """A Gaussian with independent coordinates: mean and log-variance, (..., d) each."""

    mean: Tensor
    log_variance: Tensor

    def at(self, noise: Tensor) -> Tensor:
        """The point that standard normal ``noise`` (..., d) stands for."""
        return self.mean + (0.5 * self.log_variance).exp() * noise


@dataclass(frozen=True)
class Codes:
    """What the encoder says of pictures: q(z | x) and q(c | x)."""

    style: Gaussian
    content: Gaussian


def gaussian(raw: Tensor) -> Gaussian:
    """(..., 2 d) numbers as mean and log-variance."""
    mean, spread = raw.chunk(2, dim=-1)
    return Gaussian(mean, (spread + NARROW).clamp(*LOG_VARIANCE))


def rectified(x: Tensor) -> Tensor:
    """Leaky rectifier."""
    return functional.leaky_relu(x, SLOPE)


def fold_of(resolution: int) -> int:
    """Pixels a side that become one: 2 from 28 px on, else 1."""
    return 2 if resolution >= FOLDED_FROM else 1


def sides(resolution: int) -> tuple[int, ...]:
    """Sides of the grids that a picture goes through, finest first: folded, then halved while that leaves 4 or more.

    >>> sides(32)
    (16, 8, 4)
    >>> sides(28)
    (14, 7)
    """
    found = [resolution // fold_of(resolution)]
    while found[-1] % 2 == 0 and found[-1] // 2 >= COARSEST:
        found.append(found[-1] // 2)
    return tuple(found)


def widths(resolution: int, width: int) -> tuple[int, ...]:
    """Channels at each side: ``width`` at the finest, twice as many at each halving, up to four times."""
    return tuple(width * min(4, 2**level) for level in range(len(sides(resolution))))


class Trunk(nn.Module):
    """A picture to features.

    Args:
        channels: 1 + K, image and masks.
        resolution: H = W of the picture.
        width: Channels of the finest grid.
        normed: Whether features are normalised, each example over its own groups of channels.

    Attributes:
        features: F, 4 x ``width``.
    """

    def __init__(self, channels: int, resolution: int, width: int, *, normed: bool) -> None:
        super().__init__()
        each, self._fold = widths(resolution, width), fold_of(resolution)
        self.features = 4 * width
        self.first = nn.Conv2d(channels * self._fold**2, each[0], 3, padding=1)
        self.halving = nn.ModuleList(nn.Conv2d(fine, coarse, 4, stride=2, padding=1) for fine, coarse in pairwise(each))
        self.norms = nn.ModuleList(
            nn.GroupNorm(gcd(channels, 8), channels) if normed else nn.Identity() for channels in each[1:]
        )
        self.last = nn.Linear(each[-1] * sides(resolution)[-1] ** 2, self.features)

    def forward(self, pictures: Tensor) -> Tensor:
        """(N, 1 + K, H, W) to (N, F)."""
        h = rectified(self.first(functional.pixel_unshuffle(pictures, self._fold)))
        for convolution, norm in zip(self.halving, self.norms, strict=True):
            h = rectified(norm(convolution(h)))
        return rectified(self.last(h.flatten(1)))


class Encoder(nn.Module):
    """q(z | x) and q(c | x). What it says of a real image is as private as the image.

    Args:
        channels: 1 + K. resolution: H = W. width: Of the trunk.
        style: Dimensions of z.
        content: Dimensions of c.
    """

    def __init__(self, channels: int, resolution: int, width: int, *, style: int, content: int) -> None:
        super().__init__()
        self._parts = (2 * style, 2 * content)
        self.trunk = Trunk(channels, resolution, width, normed=True)
        self.head = nn.Linear(self.trunk.features, sum(self._parts))

    def forward(self, pictures: Tensor) -> Tensor:
        """(N, 1 + K, H, W) to (N, 2 (style + content)) numbers; :meth:`codes` says what they mean."""
        out: Tensor = self.head(self.trunk(pictures))
        return out

    def codes(self, raw: Tensor) -> Codes:
        """What the numbers of :meth:`forward` mean."""
        style, content = torch.split(raw, list(self._parts), dim=-1)
        return Codes(gaussian(style), gaussian(content))


class Painter(nn.Module):
    """G_x(z, c), and the contents p(c | t) of each class.

    Args:
        classes: Number of classes.
        channels: 1 + K. resolution: H = W. width: Channels of the finest grid.
        style: Dimensions of z.
        content: Dimensions of c.
    """

    def __init__(self, classes: int, channels: int, resolution: int, width: int, *, style: int, content: int) -> None:
        super().__init__()
        self._sides, self._fold = sides(resolution)[::-1], fold_of(resolution)
        each = widths(resolution, width)[::-1]
        code, self._widest = style + content, each[0]
        self.conditioning = nn.Embedding(classes, 2 * content)
        with torch.no_grad():
            self.conditioning.weight[:, content:].zero_()
        self.start = nn.Linear(code, each[0] * self._sides[0] ** 2)
        self.convolutions = nn.ModuleList(nn.Conv2d(coarse, fine, 3, padding=1) for coarse, fine in pairwise(each))
        self.norms = nn.ModuleList(nn.GroupNorm(gcd(channels, 8), channels, affine=False) for channels in each)
        self.modulations = nn.ModuleList(nn.Linear(code, 2 * channels) for channels in each)
        self.last = nn.Conv2d(each[-1], channels * self._fold**2, 3, padding=1)

    def contents(self, labels: Tensor) -> Gaussian:
        """p(c | t) of each class index in ``labels`` (N,)."""
        return gaussian(self.conditioning(labels))

    def forward(self, style: Tensor, content: Tensor) -> Tensor:
        """(N, style) and (N, content) to (N, 1 + K, H, W) pictures in (-1, 1)."""
        code = torch.cat([style, content], dim=1)
        h = self.start(code).reshape(len(code), self._widest, self._sides[0], self._sides[0])
        h = self._modulated(0, h, code)
        for level, convolution in enumerate(self.convolutions, start=1):
            h = self._modulated(level, convolution(functional.interpolate(h, scale_factor=2.0, mode="nearest")), code)
        return functional.pixel_shuffle(self.last(h), self._fold).tanh()

    def _modulated(self, level: int, h: Tensor, code: Tensor) -> Tensor:
        """Normalised by itself, then scaled and moved as the code says."""
        scale, move = self.modulations[level](code)[:, :, None, None].chunk(2, dim=1)
        return rectified(self.norms[level](h) * (1.0 + scale) + move)

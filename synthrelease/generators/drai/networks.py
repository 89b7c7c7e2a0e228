"""The generator, the encoder, and the trunk that encoder and critics have each their own of.

    conditioning   class t -> p(c | t), a Gaussian over contents            (conditioning augmentation)
    generator      style z, content c -> picture of image and masks
    encoder        picture -> q(z | x), q(c | x), one trunk with two heads

No layer reads more than one example.

Sources: Havaei, Mao, Wang, Lao, "Conditional generation of medical images via disentangled adversarial inference",
Medical Image Analysis 2021, for what there is; Zhang et al., "StackGAN", ICCV 2017, for the conditioning. The layers are
ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from synthrelease.generators import layers

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
        each, self._fold = layers.widths(resolution, width), layers.fold_of(resolution)
        self.features = 4 * width
        self.first = nn.Conv2d(channels * self._fold**2, each[0], 3, padding=1)
        self.halving = nn.ModuleList(nn.Conv2d(fine, coarse, 4, stride=2, padding=1) for fine, coarse in pairwise(each))
        self.norms = nn.ModuleList(layers.normed(channels) if normed else nn.Identity() for channels in each[1:])
        self.last = nn.Linear(each[-1] * layers.sides(resolution)[-1] ** 2, self.features)

    def forward(self, pictures: Tensor) -> Tensor:
        """(N, 1 + K, H, W) to (N, F)."""
        h = layers.rectified(self.first(functional.pixel_unshuffle(pictures, self._fold)))
        for convolution, norm in zip(self.halving, self.norms, strict=True):
            h = layers.rectified(norm(convolution(h)))
        return layers.rectified(self.last(h.flatten(1)))


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
        self.conditioning = nn.Embedding(classes, 2 * content)
        with torch.no_grad():
            self.conditioning.weight[:, content:].zero_()
        self.decoder = layers.Decoder(style + content, channels, resolution, width)

    def contents(self, labels: Tensor) -> Gaussian:
        """p(c | t) of each class index in ``labels`` (N,)."""
        return gaussian(self.conditioning(labels))

    def forward(self, style: Tensor, content: Tensor) -> Tensor:
        """(N, style) and (N, content) to (N, 1 + K, H, W) pictures in (-1, 1)."""
        picture: Tensor = self.decoder(torch.cat([style, content], dim=1))
        return picture

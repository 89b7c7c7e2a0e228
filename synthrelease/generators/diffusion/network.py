"""The U-Net inside the denoiser.

Built from convolutions, linear layers, group norms and one embedding, each used once in a forward pass: per-patient
gradients can then be taken by hooks on layers as well as by ``torch.func``. No layer reads more than one example.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional


def space_to_depth(x: Tensor, factor: int) -> Tensor:
    """(N, C, H, W) to (N, C f^2, H/f, W/f); plain reshapes, so that ``vmap`` can follow."""
    n, c, h, w = x.shape
    x = x.reshape(n, c, h // factor, factor, w // factor, factor)
    return x.permute(0, 1, 3, 5, 2, 4).reshape(n, c * factor * factor, h // factor, w // factor)


def depth_to_space(x: Tensor, factor: int) -> Tensor:
    """The inverse of :func:`space_to_depth`."""
    n, c, h, w = x.shape
    x = x.reshape(n, c // factor**2, factor, factor, h, w)
    return x.permute(0, 1, 4, 2, 5, 3).reshape(n, c // factor**2, h * factor, w * factor)


def doubled(x: Tensor) -> Tensor:
    """Each pixel as two by two: (N, C, H, W) to (N, C, 2H, 2W)."""
    n, c, h, w = x.shape
    return x[:, :, :, None, :, None].expand(n, c, h, 2, w, 2).reshape(n, c, 2 * h, 2 * w)


def place_waves(side: int, waves: int) -> Tensor:
    """(waves^2 - 1, side, side) products of cosines in row and column, each in [-1, 1]: where a pixel is.

    A convolution alone knows its place only by the border; organs sit at places.
    """
    at = (torch.arange(side, dtype=torch.float32) + 0.5) / side
    axis = (math.pi * torch.arange(waves, dtype=torch.float32)[:, None] * at).cos()
    return (axis[:, None, :, None] * axis[None, :, None, :]).reshape(-1, side, side)[1:]


def _norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(math.gcd(channels, 8), channels)


def _conv(inputs: int, outputs: int, size: int = 3, *, zero: bool = False, stride: int = 1) -> nn.Conv2d:
    layer = nn.Conv2d(inputs, outputs, size, stride=stride, padding=size // 2)
    if zero:
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return layer


class Block(nn.Module):
    """Residual block, told of noise level and class by a scale and shift of its channels (FiLM)."""

    def __init__(self, channels: int, knowledge: int) -> None:
        super().__init__()
        self.norm_in = _norm(channels)
        self.conv_in = _conv(channels, channels)
        self.film = nn.Linear(knowledge, 2 * channels)
        self.norm_out = _norm(channels)
        self.conv_out = _conv(channels, channels, zero=True)

    def forward(self, x: Tensor, knowledge: Tensor) -> Tensor:
        y = self.conv_in(functional.silu(self.norm_in(x)))
        scale, shift = self.film(knowledge)[:, :, None, None].chunk(2, dim=1)
        y = functional.silu(self.norm_out(y) * (1.0 + scale) + shift)
        return torch.as_tensor(x + self.conv_out(y))


class UNet(nn.Module):
    """Two or three levels on an unshuffled picture, and a thin layer at full resolution against a block pattern.

    Args:
        channels: Image and masks together.
        classes: Number of classes.
        resolution: H = W, divisible by ``factor``.
        factor: Pixels per side folded into channels before the first level.
        width: Channels of the first level; the lower levels have twice as many.
    """

    FREQUENCIES = 5
    FINE = 8
    PLACES = 4

    places: Tensor

    def __init__(self, channels: int, classes: int, resolution: int, factor: int, width: int) -> None:
        super().__init__()
        self.factor = factor
        knowledge = 2 * width
        self.noise = nn.Linear(2 * self.FREQUENCIES, knowledge)
        self.label = nn.Embedding(classes, knowledge)
        self.mix = nn.Linear(knowledge, knowledge)

        side = resolution // factor
        # A third level where it halves evenly: 16 -> 8 -> 4. 28 px gives 14 -> 7 and stops.
        depth = 2 if side % 4 == 0 else 1
        widths = [width] + [2 * width] * depth
        self.register_buffer("places", place_waves(side, self.PLACES), persistent=False)
        self.stem = _conv(channels * factor**2 + self.PLACES**2 - 1, width)
        self.downs = nn.ModuleList()
        self.shrinks = nn.ModuleList()
        for outer, inner in pairwise(widths):
            self.downs.append(Block(outer, knowledge))
            self.shrinks.append(_conv(outer, inner, stride=2))
        self.middle = Block(widths[-1], knowledge)
        self.ups = nn.ModuleList()
        self.widens = nn.ModuleList()
        for outer, inner in zip(reversed(widths[:-1]), reversed(widths[1:]), strict=True):
            self.widens.append(_conv(inner, outer, 1))
            self.ups.append(Block(outer, knowledge))
        self.norm = _norm(width)
        self.coarse = _conv(width, channels * factor**2, 1, zero=True)
        self.spread = _conv(width, self.FINE * factor**2, 1)
        self.fine = _conv(self.FINE + channels, self.FINE)
        self.head = _conv(self.FINE, channels, zero=True)

    def forward(self, x: Tensor, noise: Tensor, labels: Tensor) -> Tensor:
        """(N, C, H, W) scaled noisy input, (N,) c_noise, (N,) labels -> (N, C, H, W) raw output."""
        octaves = torch.exp2(torch.arange(self.FREQUENCIES, dtype=x.dtype, device=x.device))
        angles = noise[:, None] * octaves * (math.pi / 4.0)
        waves = torch.cat([angles.cos(), angles.sin()], dim=1)
        knowledge = functional.silu(self.noise(waves) + self.label(labels))
        knowledge = functional.silu(self.mix(knowledge))

        places = self.places.to(x.dtype).expand(len(x), -1, -1, -1)
        h = self.stem(torch.cat([space_to_depth(x, self.factor), places], dim=1))
        kept: list[Tensor] = []
        for block, shrink in zip(self.downs, self.shrinks, strict=True):
            h = block(h, knowledge)
            kept.append(h)
            h = shrink(h)
        h = self.middle(h, knowledge)
        for block, widen in zip(self.ups, self.widens, strict=True):
            # Skips are added, not joined: half the weights, which is half the noise under privacy.
            h = block(doubled(widen(h)) + kept.pop(), knowledge)
        h = functional.silu(self.norm(h))
        # The coarse answer takes a short way out; the fine layer, which also sees the input, mends its block pattern.
        coarse = depth_to_space(self.coarse(h), self.factor)
        fine = functional.silu(self.fine(torch.cat([depth_to_space(self.spread(h), self.factor), x], dim=1)))
        return torch.as_tensor(coarse + self.head(fine))

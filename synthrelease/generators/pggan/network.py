"""The generator's network, and the parts that it shares with the critic.

Weights are drawn from a standard normal and used at run time at the scale that keeps the size of what passes through
(equalised learning rate): Adam then moves every layer at the same relative speed. The scale is put on what a layer
reads, never on its weight, so that the layer stays a plain one, whose per-patient gradients are known; the bias is not
scaled.

Source: Karras, Aila, Laine, Lehtinen, "Progressive growing of GANs", ICLR 2018, sections 4.1 and 4.2.
"""

from __future__ import annotations

from itertools import pairwise
from math import sqrt

import torch
from torch import Tensor, nn

from synthrelease.generators.layers import rectified
from synthrelease.generators.pggan.growth import Stage, doubled, scales

GAIN = sqrt(2.0)
"""Of a layer that a leaky rectifier follows."""
COARSE = 16
"""Up to so many pixels a side a scale has the full width."""
NARROWEST = 16
MASK_SHARE = 4
"""One in so many features of a scale is for the masks alone, where there are masks."""
MASK_REACH = 0.5
"""Masks go from minus this to this in a picture, half as far as grey values: their borders are the sharpest edges there
are, and a critic that sees them at full strength looks at little else."""


def width_at(size: int, width: int) -> int:
    """Channels of the scale of ``size`` pixels a side: ``width`` up to 16 px, then half as many at each doubling.

    A convolution then costs the same at 32 px as at 64; what is fine is local and needs fewer channels.
    """
    return min(width, max(width * COARSE // size, NARROWEST))


def pixel_norm(x: Tensor) -> Tensor:
    """Each pixel's channels over their root mean square: (N, C, ...) to the same shape."""
    return x * (x.square().mean(dim=1, keepdim=True) + 1e-8).rsqrt()


class Equalised(nn.Module):
    """A layer with standard normal weights whose input is scaled by gain / sqrt(fan-in); the bias is not scaled.

    Args:
        layer: A convolution or a linear layer; its weights are drawn anew and its bias set to zero.
        gain: sqrt 2 where a rectifier follows, 1 where nothing does.
    """

    def __init__(self, layer: nn.Conv2d | nn.Linear, gain: float = GAIN) -> None:
        super().__init__()
        self.layer = layer
        self.scale = gain / sqrt(layer.weight[0].numel())
        nn.init.normal_(layer.weight)
        assert layer.bias is not None
        nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        """The layer on the scaled input."""
        out: Tensor = self.layer(x * self.scale)
        return out


def convolution(inputs: int, outputs: int) -> Equalised:
    """Three by three pixels, size kept, a rectifier to follow."""
    return Equalised(nn.Conv2d(inputs, outputs, 3, padding=1))


class End(nn.Module):
    """From features to a picture. Image and masks read features of their own, and the image's are normed by themselves.

    At the border of a mask its features pass through zero. In a norm over all features the others would grow there, and
    the outline of the mask would be etched into the image.

    Args:
        inputs: Features. channels: 1 + K, image and masks.
    """

    def __init__(self, inputs: int, channels: int) -> None:
        super().__init__()
        self.own = inputs // MASK_SHARE if channels > 1 else 0
        self.image = Equalised(nn.Conv2d(inputs - self.own, 1, 1), 1.0)
        self.masks = Equalised(nn.Conv2d(self.own, channels - 1, 1), 1.0) if self.own else None

    def forward(self, features: Tensor) -> Tensor:
        """(N, C, h, w) features to (N, 1 + K, h, w): images in about [-1, 1] and not limited to it, masks within
        ± MASK_REACH."""
        seen = features.shape[1] - self.own
        image: Tensor = self.image(pixel_norm(features[:, :seen]))
        if self.masks is None:
            return image
        # Masks are flat but for their borders; what is squashed need not be flat itself.
        return torch.cat([image, MASK_REACH * self.masks(features[:, seen:]).tanh()], dim=1)


class Growable(nn.Module):
    """A network of several scales, the finest of which is faded in.

    Attributes:
        sizes: Pixels a side of every scale, coarsest first.
        stage: Where growing stands; fully grown at first.
    """

    def __init__(self, resolution: int) -> None:
        super().__init__()
        self.sizes = scales(resolution)
        self.stage = Stage(len(self.sizes) - 1)

    def parts(self, level: int) -> tuple[nn.Module, ...]:
        """What a scale is made of, apart from its way to or from a picture."""
        raise NotImplementedError

    def end(self, level: int) -> nn.Module:
        """A scale's way to or from a picture."""
        raise NotImplementedError

    def grow(self, stage: Stage) -> bool:
        """Go to a stage. Parameters that it does not use ask for no gradient.

        Returns:
            Whether other parameters are used than before.
        """
        used: set[int] = set()
        for level in range(stage.level + 1):
            for part in self.parts(level):
                used |= {id(p) for p in part.parameters()}
        used |= {id(p) for p in self.end(stage.level).parameters()}
        if stage.blend < 1.0:
            used |= {id(p) for p in self.end(stage.level - 1).parameters()}
        changed = False
        for p in self.parameters():
            changed |= p.requires_grad != (id(p) in used)
            p.requires_grad_(id(p) in used)
        self.stage = stage
        return changed


class Painter(Growable):
    """G: a latent to a picture of image and masks. Only the direction of a latent matters, not its length.

    Args:
        latent: d, dimensions of the latent.
        channels: 1 + K, image and masks.
        resolution: H = W when fully grown.
        width: Channels of the scales up to 16 px.
    """

    def __init__(self, latent: int, channels: int, resolution: int, width: int) -> None:
        super().__init__(resolution)
        widths = [width_at(size, width) for size in self.sizes]
        self._shape = (widths[0], self.sizes[0], self.sizes[0])
        # A quarter of the gain, as in the official code: the first layer is followed by a norm, its speed is all that counts.
        self.start = Equalised(nn.Linear(latent, widths[0] * self.sizes[0] ** 2), GAIN / 4.0)
        self.first = convolution(widths[0], widths[0])
        self.blocks = nn.ModuleList(
            nn.ModuleList([convolution(outer, inner), convolution(inner, inner)]) for outer, inner in pairwise(widths)
        )
        self.ends = nn.ModuleList(End(inner, channels) for inner in widths)
        self.grow(self.stage)

    def parts(self, level: int) -> tuple[nn.Module, ...]:
        """See :class:`Growable`."""
        return (self.start, self.first) if level == 0 else (self.blocks[level - 1],)

    def end(self, level: int) -> nn.Module:
        """See :class:`Growable`."""
        return self.ends[level]

    def forward(self, z: Tensor) -> Tensor:
        """(N, d) latents to (N, 1 + K, h, w) pictures at the stage's size: images in about [-1, 1] and not limited to it, masks
        within ± MASK_REACH."""
        h = self.start(pixel_norm(z)).reshape(len(z), *self._shape)
        h = pixel_norm(rectified(self.first(pixel_norm(rectified(h)))))
        before = h
        for block in list(self.blocks)[: self.stage.level]:
            before, h = h, doubled(h)
            for layer in block:  # type: ignore[attr-defined]
                h = pixel_norm(rectified(layer(h)))
        picture: Tensor = self.ends[self.stage.level](h)
        if self.stage.blend < 1.0:
            coarse: Tensor = doubled(self.ends[self.stage.level - 1](before))
            picture = coarse.lerp(picture, self.stage.blend)
        return picture

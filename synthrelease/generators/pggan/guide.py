"""The guide: a small classifier of several findings at once, whose gradient steers latents.

It sees the image alone, never the masks. No layer reads more than one example, and each is used once in a forward pass:
per-patient gradients can be taken by hooks as well as by ``torch.func``. Activations are smooth and the training images
are shifted, re-exposed and noisy: a guide that knows only clean images is satisfied by noise that no eye sees.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from math import gcd

import torch
from torch import Tensor, nn
from torch.nn import functional

from synthrelease.generators.protocol import Batch, Forward, Inputs, Player, Spec

EITHER = 0.5
"""What a target says of a finding that may be present or absent."""

SHIFT = 1 / 32
"""Share of the side by which a look is shifted at most."""
NOISE = 0.1
"""Standard deviation of the strongest noise in training; grey values span 2."""
EXPOSURE = 0.1
"""Contrast is multiplied by 1 ± so much, and brightness moved by as much."""


class Guide(nn.Module):
    """Strided convolutions down to about 4 x 4 places, then one linear layer.

    Args:
        spec: Resolution and findings.
        width: Channels of the first level; each level has half as many more, up to four times.
    """

    def __init__(self, spec: Spec, width: int = 16) -> None:
        super().__init__()
        side, widths = spec.resolution, [1]
        while side > 5 or len(widths) == 1:
            widths.append(min(4 * width, width * (1 + len(widths)) // 2))
            side = (side + 1) // 2
        self.convolutions = nn.ModuleList(
            nn.Conv2d(inputs, outputs, 3, stride=2, padding=1) for inputs, outputs in pairwise(widths)
        )
        self.norms = nn.ModuleList(nn.GroupNorm(gcd(channels, 4), channels) for channels in widths[1:])
        self.head = nn.Linear(widths[-1] * side**2, spec.target_table().shape[1])

    def forward(self, images: Tensor) -> Tensor:
        """(N, 1, H, W) images in [-1, 1] -> (N, L) logits, one a finding."""
        h = images
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            h = functional.silu(norm(convolution(h)))
        logits: Tensor = self.head(h.flatten(1))
        return logits


def reach(side: int) -> int:
    """Pixels by which a look is shifted at most."""
    return max(1, round(SHIFT * side))


def shifted(images: Tensor, down: int, right: int) -> Tensor:
    """(N, 1, H, W) moved by whole pixels; the border is repeated. Differentiable."""
    far = max(abs(down), abs(right))
    if far == 0:
        return images
    padded = functional.pad(images, (far, far, far, far), mode="replicate")
    height, width = images.shape[-2:]
    return padded[..., far - down : far - down + height, far - right : far - right + width]


def masked_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross entropy of (N, L) logits over the findings that a target asks for: (N,), their mean.

    Args:
        logits: Of the findings. targets: 1 present, 0 absent, 0.5 either; the last count nothing.
    """
    asked = (targets != EITHER).to(logits.dtype)
    each = functional.binary_cross_entropy_with_logits(logits, targets, reduction="none") * asked
    return each.sum(dim=1) / asked.sum(dim=1).clamp_min(1.0)


def varied(images: Tensor, rng: torch.Generator) -> Tensor:
    """(N, 1, H, W) images, each shifted, exposed otherwise, and with noise of its own strength.

    Args:
        images: In [-1, 1]; left as they are.
        rng: Source of all randomness.
    """
    far = reach(images.shape[-1])
    offsets = torch.randint(-far, far + 1, (len(images), 2), generator=rng).tolist()
    moved = torch.cat([shifted(images[i : i + 1], *offset) for i, offset in enumerate(offsets)]) if offsets else images
    draw = torch.rand(3, len(images), 1, 1, 1, generator=rng)
    contrast, brightness = 1.0 + EXPOSURE * (2.0 * draw[0] - 1.0), EXPOSURE * (2.0 * draw[1] - 1.0)
    noise = NOISE * draw[2] * torch.randn(images.shape, generator=rng)
    return contrast * moved + brightness + noise


def player(guide: Guide, spec: Spec) -> Player:
    """The guide as a network that is trained on real images and their labels."""
    table = spec.target_table()

    def draw(batch: Batch, rng: torch.Generator) -> dict[str, Tensor]:
        return {"images": varied(batch.images, rng), "targets": table[batch.labels]}

    def loss(forward: Forward, inputs: Inputs) -> Tensor:
        return masked_loss(forward(inputs["images"]), inputs["targets"])

    return Player(name="guide", module=guide, sees_real=True, draw=draw, loss=loss)


def fit(guide: Guide, spec: Spec, batches: Iterable[Batch], *, seed: int, learning_rate: float = 2e-3) -> None:
    """Train a guide outside the loop, on images that cost no privacy: one step a batch.

    Args:
        guide: Stepped in place.
        spec: Its findings.
        batches: Samples of private moments, say; read once.
        seed: Of everything random.
        learning_rate: Of Adam.
    """
    rng = torch.Generator().manual_seed(seed)
    told = player(guide, spec)
    adam = torch.optim.Adam(guide.parameters(), lr=learning_rate)
    for batch in batches:
        adam.zero_grad(set_to_none=True)
        told.loss(guide, told.draw(batch, rng)).mean().backward()  # type: ignore[no-untyped-call]
        adam.step()

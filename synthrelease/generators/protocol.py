"""What a generator is: players that are trained, and samples that come out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

Forward = Callable[..., Tensor]
Inputs = Mapping[str, Tensor]


@dataclass(frozen=True)
class Spec:
    """Shape of what is generated: public, from the policy."""

    resolution: int
    classes: int
    segments: int


@dataclass(frozen=True)
class Batch:
    """Images with their masks and classes.

    Attributes:
        images: (N, 1, H, W) float32 in [-1, 1].
        masks: (N, K, H, W) float32 in [0, 1], the share of each pixel that the segment covers; K may be 0.
        labels: (N,) int64 class indices.
    """

    images: Tensor
    masks: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Player:
    """One network that is trained.

    The training loop privatises exactly the players with ``sees_real``; a generator cannot forget privacy.

    Attributes:
        name: Unique among the generator's players.
        module: The network whose parameters are stepped.
        sees_real: Whether its loss reads real images.
        draw: Adds everything random to a batch, outside of any differentiation: batch, random generator -> named tensors,
            each with leading axis N.
        loss: (forward, inputs) -> (N,) losses, one an example. Row i may depend on row i of the inputs only: no statistic
            of the batch. ``forward`` is the module, or the module with other parameters put in.
        generated: (random generator) -> one loss on what the generator itself makes, no real image in it; None = there is
            none. Under privacy its gradient is added outside the noise: it depends on real images only through what was
            noised before.
    """

    name: str
    module: nn.Module
    sees_real: bool
    draw: Callable[[Batch, torch.Generator], dict[str, Tensor]]
    loss: Callable[[Forward, Inputs], Tensor]
    generated: Callable[[torch.Generator], Tensor] | None = None


class Generator(Protocol):
    """A trained or trainable generator."""

    spec: Spec

    def players(self) -> tuple[Player, ...]:
        """The networks to train; empty for a closed form."""
        ...

    def sample(self, labels: Tensor, rng: torch.Generator) -> Batch:
        """Draw one image with masks for each class index in ``labels`` (N,), bit-equal for an equal ``rng``."""
        ...

    def state(self) -> dict[str, Tensor]:
        """Every tensor that sampling needs, by name; the inverse is the class's ``from_state``."""
        ...

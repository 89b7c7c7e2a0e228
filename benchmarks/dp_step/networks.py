"""The networks that are stepped: two kinds of critic, and the denoiser that the project trains."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import gcd, sqrt
from types import SimpleNamespace

import torch
from torch import Tensor, nn
from torch.nn import functional

from synthrelease.generators.diffusion.model import DiffusionGenerator
from synthrelease.generators.protocol import Batch, Forward, Inputs, Spec

Loss = Callable[[Forward, Inputs], Tensor]

CHANNELS = 2
"""Image and one mask."""


@dataclass(frozen=True)
class Configuration:
    """One line of the table.

    Attributes:
        network: A key of :data:`NETWORKS`.
        size: About how many parameters; a key of the network's widths.
        resolution: H = W.
        batch: Images in one step.
        images: Images a patient; divides ``batch``.
    """

    network: str
    size: str
    resolution: int
    batch: int
    images: int

    @property
    def patients(self) -> int:
        """Patients in one step."""
        return self.batch // self.images


@dataclass(frozen=True)
class Workload:
    """A network with the patients of one step.

    Attributes:
        module: Stepped in place.
        loss: (forward, inputs) -> (rows,) losses.
        inputs: Named tensors (P, M, ...).
    """

    module: nn.Module
    loss: Loss
    inputs: Mapping[str, Tensor]


class StridedCritic(nn.Module):
    """4x4 convolutions of stride 2 with group norm down to 4x4, then a linear layer (DCGAN, without batch norm)."""

    def __init__(self, resolution: int, width: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(CHANNELS, width, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
        side, inner = resolution // 2, width
        while side > 4:
            layers += [
                nn.Conv2d(inner, 2 * inner, 4, stride=2, padding=1),
                nn.GroupNorm(gcd(2 * inner, 8), 2 * inner),
                nn.LeakyReLU(0.2),
            ]
            side, inner = side // 2, 2 * inner
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(inner * side * side, 1)

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) -> (N,) scores."""
        score: Tensor = self.head(self.body(images).flatten(1))[:, 0]
        return score


class Equalised(nn.Module):
    """A layer with standard normal weights whose input is scaled by sqrt(2 / fan-in) (equalised learning rate)."""

    def __init__(self, layer: nn.Conv2d | nn.Linear) -> None:
        super().__init__()
        self.layer = layer
        self.scale = sqrt(2.0 / layer.weight[0].numel())
        nn.init.normal_(layer.weight)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        """The layer on the scaled input."""
        out: Tensor = self.layer(x * self.scale)
        return out


class ProgressiveCritic(nn.Module):
    """Pairs of 3x3 convolutions of stride 1, each pair ending in an average pool, from full resolution to 4x4.

    Without the statistic over the batch that the published critic ends with: it reaches across patients.
    """

    def __init__(self, resolution: int, width: int) -> None:
        super().__init__()
        self.start = Equalised(nn.Conv2d(CHANNELS, width, 1))
        self.levels = nn.ModuleList()
        side, inner = resolution, width
        while side > 4:
            outer = min(2 * inner, 4 * width)
            first, second = nn.Conv2d(inner, inner, 3, padding=1), nn.Conv2d(inner, outer, 3, padding=1)
            self.levels.append(nn.ModuleList([Equalised(first), Equalised(second)]))
            side, inner = side // 2, outer
        self.last = Equalised(nn.Conv2d(inner, inner, 3, padding=1))
        self.dense = Equalised(nn.Linear(inner * side * side, inner))
        self.head = Equalised(nn.Linear(inner, 1))

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) -> (N,) scores."""
        h = functional.leaky_relu(self.start(images), 0.2)
        for level in self.levels:
            assert isinstance(level, nn.ModuleList)
            for layer in level:
                h = functional.leaky_relu(layer(h), 0.2)
            h = functional.avg_pool2d(h, 2)
        h = functional.leaky_relu(self.last(h), 0.2)
        h = functional.leaky_relu(self.dense(h.flatten(1)), 0.2)
        score: Tensor = self.head(h)[:, 0]
        return score


def real_score_loss(forward: Forward, inputs: Inputs) -> Tensor:
    """Logistic loss of a critic on real images: (N,)."""
    return functional.softplus(-forward(inputs["images"]))


def critic(kind: type[StridedCritic] | type[ProgressiveCritic]) -> Callable[[int, int, Batch], Workload]:
    """Builder of a critic's workload; inputs (N, ...) not yet grouped by patient."""

    def build(resolution: int, width: int, batch: Batch) -> Workload:
        pictures = torch.cat([batch.images, 2.0 * batch.masks - 1.0], dim=1)
        return Workload(kind(resolution, width), real_score_loss, {"images": pictures})

    return build


def denoiser(resolution: int, width: int, batch: Batch) -> Workload:
    """The project's own player, with its own draw of noise levels and its own loss."""
    settings = SimpleNamespace(width=width, sampler_steps=1, seed=0)
    spec = Spec(resolution=resolution, classes=2, segments=CHANNELS - 1)
    (player,) = DiffusionGenerator(spec, settings).players()
    return Workload(player.module, player.loss, player.draw(batch, torch.Generator().manual_seed(1)))


@dataclass(frozen=True)
class Network:
    """How a network is built, and the width that gives a size at a resolution."""

    build: Callable[[int, int, Batch], Workload]
    widths: Mapping[str, Mapping[int, int]]


NETWORKS: dict[str, Network] = {
    "dcgan": Network(critic(StridedCritic), {"0.3M": {32: 44, 64: 20}, "2M": {32: 112, 64: 56}}),
    "diffusion": Network(denoiser, {"0.3M": {32: 28, 64: 28}, "2M": {32: 76, 64: 76}}),
    "progressive": Network(critic(ProgressiveCritic), {"0.2M": {32: 16, 64: 14}}),
}


def workload(configuration: Configuration, *, seed: int = 0) -> Workload:
    """The same network, weights and patients at each call with the same arguments.

    Raises:
        ValueError: The images of a patient do not divide the batch.
    """
    if configuration.batch % configuration.images:
        raise ValueError(f"{configuration.batch} images are not whole patients of {configuration.images}")
    network, side, n = NETWORKS[configuration.network], configuration.resolution, configuration.batch
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        batch = Batch(
            images=torch.rand(n, 1, side, side) * 2.0 - 1.0,
            masks=torch.rand(n, CHANNELS - 1, side, side),
            labels=torch.randint(2, (n,)),
        )
        made = network.build(side, network.widths[configuration.size][side], batch)
        with torch.no_grad():
            # Layers that start at zero would leave the gradients before them zero.
            for parameter in made.module.parameters():
                parameter.add_(0.02 * torch.randn_like(parameter))
    made.module.train()
    shape = (configuration.patients, configuration.images)
    grouped = {name: value.reshape(*shape, *value.shape[1:]) for name, value in made.inputs.items()}
    return Workload(made.module, made.loss, grouped)


def parameters(module: nn.Module) -> int:
    """Trained parameters."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)

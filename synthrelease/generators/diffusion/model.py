"""The diffusion generator: a preconditioned denoiser of image and masks, trained with one loss, sampled by one flow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, Self

import torch
from torch import Tensor, nn

from synthrelease.generators.diffusion import precondition
from synthrelease.generators.diffusion.network import UNet
from synthrelease.generators.diffusion.sampler import heun
from synthrelease.generators.protocol import Batch, Forward, Inputs, Player, Spec
from synthrelease.generators.weights import put

# Images denoised together while sampling. Fixed, since another size may change the last bits.
CHUNK = 64


class NetworkSettings(Protocol):
    """The settings that the network, its start and its sampler need."""

    @property
    def width(self) -> int: ...
    @property
    def sampler_steps(self) -> int: ...
    @property
    def seed(self) -> int: ...


def unshuffle_factor(resolution: int) -> int:
    """Pixels per side folded into channels: 1 below 28 px, 2 below 64 px, then 4, and 8 from 128 px."""
    if resolution < 28:
        return 1
    if resolution < 64:
        return 2
    return 4 if resolution < 128 else 8


class Denoiser(nn.Module):
    """D(x; sigma, class): what the picture under the noise is expected to be.

    Args:
        spec: Shape of what is generated.
        width: Channels of the U-Net's first level.
    """

    waves: Tensor
    power: Tensor

    def __init__(self, spec: Spec, width: int) -> None:
        super().__init__()
        self.network = UNet(
            channels=1 + spec.segments,
            classes=spec.classes,
            resolution=spec.resolution,
            factor=unshuffle_factor(spec.resolution),
            width=width,
        )
        self.register_buffer("waves", precondition.cosines(spec.resolution), persistent=False)
        self.register_buffer("power", precondition.spectrum(spec.resolution, spec.segments), persistent=False)

    def forward(self, noisy: Tensor, sigma: Tensor, labels: Tensor) -> Tensor:
        """(N, 1 + K, H, W) picture plus sigma times noise, (N,) sigma, (N,) labels -> (N, 1 + K, H, W) picture."""
        raw = self.network(
            precondition.in_scale(sigma)[:, None, None, None] * noisy, precondition.noise_input(sigma), labels
        )
        skip = precondition.wiener(noisy, sigma, self.waves, self.power)
        denoised: Tensor = skip + precondition.out_scale(sigma, self.power)[:, :, None, None] * raw
        return denoised


def pictures(batch: Batch) -> Tensor:
    """(N, 1 + K, H, W) image and masks as channels, all in [-1, 1]."""
    return torch.cat([batch.images, 2.0 * batch.masks - 1.0], dim=1)


def draw(batch: Batch, rng: torch.Generator) -> dict[str, Tensor]:
    """Add a noise level and noise to each example.

    Returns:
        clean (N, 1 + K, H, W), noise of the same shape, sigma (N,), labels (N,).
    """
    clean = pictures(batch)
    return {
        "clean": clean,
        "noise": torch.randn(clean.shape, generator=rng),
        "sigma": precondition.training_sigma(torch.randn(len(clean), generator=rng)),
        "labels": batch.labels,
    }


def loss(forward: Forward, inputs: Inputs) -> Tensor:
    """Mean squared error of the denoised picture over c_out^2: (N,) losses (EDM, equation 2).

    Every noise level, and image and masks among themselves, start with the same loss for pictures of the public
    spectrum.
    """
    clean, sigma = inputs["clean"], inputs["sigma"]
    noisy = clean + sigma[:, None, None, None] * inputs["noise"]
    error = forward(noisy, sigma, inputs["labels"]) - clean
    power = precondition.spectrum(clean.shape[-1], clean.shape[1] - 1).to(clean.device)
    return ((error**2).mean(dim=(2, 3)) / precondition.out_scale(sigma, power) ** 2).mean(dim=1)


class DiffusionGenerator:
    """Class-conditional diffusion of image and masks together.

    Args:
        spec: Shape of what is generated.
        settings: Width, sampler steps, and the seed of the initial weights.

    Attributes:
        denoiser: The network, which a trainer steps in place.
    """

    def __init__(self, spec: Spec, settings: NetworkSettings) -> None:
        self.spec = spec
        self._steps = settings.sampler_steps
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(settings.seed)
            self.denoiser = Denoiser(spec, settings.width)

    @classmethod
    def from_state(cls, spec: Spec, settings: NetworkSettings, state: Mapping[str, Tensor]) -> Self:
        """The generator whose ``state()`` this is.

        Raises:
            IntegrityError: A tensor is missing or has another shape.
        """
        generator = cls(spec, settings)
        put(generator.denoiser, state, "the network")
        return generator

    def players(self) -> tuple[Player, ...]:
        """The denoiser, which reads real images."""
        return (Player(name="denoiser", module=self.denoiser, sees_real=True, draw=draw, loss=loss),)

    def sample(self, labels: Tensor, rng: torch.Generator) -> Batch:
        """Draw one image with masks for each class index.

        Args:
            labels: (N,) int64.
            rng: Source of all randomness; equal state, equal bits.

        Returns:
            Images in [-1, 1] and masks in [0, 1].
        """
        size = self.spec.resolution
        start = torch.randn(len(labels), 1 + self.spec.segments, size, size, generator=rng)
        self.denoiser.eval()
        parts = [
            heun(self.denoiser, noise, classes, self._steps)
            for noise, classes in zip(torch.split(start, CHUNK), torch.split(labels, CHUNK), strict=True)
        ]
        done = torch.cat(parts).clamp(-1.0, 1.0)
        return Batch(images=done[:, :1], masks=(done[:, 1:] + 1.0) / 2.0, labels=labels)

    def state(self) -> dict[str, Tensor]:
        """Every weight of the denoiser, by name."""
        return {name: tensor.detach() for name, tensor in self.denoiser.state_dict().items()}

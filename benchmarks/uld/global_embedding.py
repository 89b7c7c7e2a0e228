"""A global embedding made for finding copies, after SSCD: what an audit of whole images could do at best.

One unit vector for an image, from a small convolutional network that is fitted to phantoms. Two altered views of an image
(turned, cropped, other greys, blurred) attract each other and repel everybody else, and an entropy term spreads
the vectors evenly over the sphere, which makes one threshold do for all images:

    L = InfoNCE(z, z+; T) - w mean_i log min_j |z_i - z_j|,   j neither i nor its partner

Source: Pizzi et al., A Self-Supervised Descriptor for Image Copy Detection, CVPR 2022 (InfoNCE with the entropy term of
Sablayrolles et al., generalised-mean pooling). Network, views, weights and steps are ours, of the size of the problem.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.uld.chests import phantoms
from synthrelease.features.extractors.preprocessing import resized
from synthrelease.features.uld import views

FloatArray = npt.NDArray[np.float32]

SIDE = 64
WIDTHS = (24, 48, 96, 128)
DIMENSIONS = 64
PLACES = views.AffineRange(degrees=15.0, shift=0.12, scale=(0.9, 1.5))
"""Turn and crop: an enlarged view shows down to two thirds of each side."""

GREYS = views.GreyRange(gain=0.25, offset=0.2, gamma=0.35, noise=0.05)
BLUR = 1.0
"""Greatest deviation of a Gaussian, in pixels."""

STRANGERS, STRANGERS_SEED = 200, 20_296


@dataclass(frozen=True)
class Recipe:
    """What the network follows from."""

    phantoms: int = 400
    steps: int = 260
    batch: int = 64
    learning_rate: float = 2e-3
    temperature: float = 0.1
    entropy_weight: float = 0.5
    seed: int = 20_295


class GlobalNetwork(nn.Module):
    """(N, 1, 64, 64) in [-1, 1] to (N, 64) of unit length."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in zip((1, *WIDTHS[:-1]), WIDTHS, strict=True):
            layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.GroupNorm(8, after), nn.ReLU()]
        self.layers = nn.Sequential(*layers)
        self.out = nn.Linear(WIDTHS[-1], DIMENSIONS)

    def forward(self, images: Tensor) -> Tensor:
        """Generalised means over places, power 3, then a linear map."""
        pooled = self.layers(images).clamp(min=1e-6).pow(3).mean(dim=(2, 3)).pow(1 / 3)
        return functional.normalize(self.out(pooled), dim=1)

    def describe(self, images: FloatArray) -> FloatArray:
        """(N, 1, H, W) in [-1, 1] to (N, 64)."""
        with torch.inference_mode():
            blocks = torch.split(torch.from_numpy(np.ascontiguousarray(images)), 256)
            return np.concatenate([self(resized(block, SIDE)).numpy() for block in blocks])


def altered(images: Tensor, generator: torch.Generator) -> Tensor:
    """A view of each image: turned, cropped, blurred half of the time, of other greys and noisy."""
    seen = views.warp(images, views.draw_affine(len(images), PLACES, generator))
    sigma = BLUR * torch.rand(len(images), generator=generator) * (torch.rand(len(images), generator=generator) < 0.5)
    axis = torch.arange(-3.0, 4.0)
    bell = torch.exp(-0.5 * (axis / sigma.clamp(min=1e-3)[:, None]) ** 2)
    bell = bell / bell.sum(dim=1, keepdim=True)
    flat = functional.pad(seen.transpose(0, 1), (3, 3, 3, 3), mode="replicate")
    rows = functional.conv2d(flat, bell[:, None, :, None], groups=len(images))
    blurred = functional.conv2d(rows, bell[:, None, None, :], groups=len(images)).transpose(0, 1)
    return views.grey_change(blurred, GREYS, generator)


def contrast(vectors: Tensor, temperature: float) -> Tensor:
    """InfoNCE of (2 M, D) unit vectors; rows i and i + M are views of one image, all others are strangers."""
    count = len(vectors) // 2
    scores = (vectors @ vectors.T / temperature).fill_diagonal_(-torch.inf)
    return functional.cross_entropy(scores, torch.arange(2 * count).roll(count))


def crowding(vectors: Tensor) -> Tensor:
    """Minus the mean logarithm of the distance to the nearest stranger, rows as in `contrast`; low when spread out."""
    count = len(vectors) // 2
    own = torch.eye(count, dtype=torch.bool).repeat(2, 2)
    squares = (2.0 - 2.0 * vectors @ vectors.T).masked_fill(own, torch.inf)
    return -0.5 * squares.amin(dim=1).clamp(min=1e-8).log().mean()


def fit(images: FloatArray, recipe: Recipe) -> GlobalNetwork:
    """Fit to (N, 1, 64, 64) images of as many people; the same recipe gives the same network."""
    generator = torch.Generator().manual_seed(recipe.seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        network = GlobalNetwork()
    optimiser = torch.optim.Adam(network.parameters(), lr=recipe.learning_rate)
    cooling = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, recipe.steps)
    everybody = torch.from_numpy(images)
    for _ in range(recipe.steps):
        shown = everybody[torch.randperm(len(everybody), generator=generator)[: recipe.batch]]
        vectors = network(torch.cat([altered(shown, generator) for _ in range(2)]))
        loss = contrast(vectors, recipe.temperature) + recipe.entropy_weight * crowding(vectors)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        cooling.step()
    return network.eval()


@cache
def fitted(recipe: Recipe) -> GlobalNetwork:
    """The network of a recipe, fitted to phantoms once a process."""
    return fit(phantoms(recipe.phantoms, recipe.seed).images, recipe)


def named(network: GlobalNetwork, images: FloatArray, seed: int = 0) -> float:
    """Share of images whose altered whole is nearer to its original than to anybody else of the set."""
    views_of = altered(torch.from_numpy(images), torch.Generator().manual_seed(seed))
    table = network.describe(views_of.numpy()) @ network.describe(images).T
    return float((table.argmax(axis=1) == np.arange(len(images))).mean())


def measure(recipe: Recipe) -> dict[str, float]:
    """What it can do with altered whole images of people whom it has never seen, and what its fit cost."""
    began = time.process_time()
    network = fitted(recipe)
    took = time.process_time() - began
    strangers = phantoms(STRANGERS, STRANGERS_SEED).images
    return {"named": named(network, strangers), "strangers": len(strangers), "fit_cpu_seconds": round(took, 1)}

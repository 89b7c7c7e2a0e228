"""A small network of our own, trained on invented chests: no patient had a part in it, and all cohorts get the same one.

It learns where lungs, heart, nodule and effusion are and which finding an image has, under random gain, turns and
mirrors; so its layers answer to edges, textures and places, and to grey levels only softly. Training takes about half a
minute on two cores and happens once; the weights stay in the user's cache folder under the digest of the recipe.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn

from synthrelease.cohort.phantom import FINDINGS, SEGMENTS, simulate_patient
from synthrelease.errors import UnsuitableData
from synthrelease.features.descriptors import FloatArray
from synthrelease.features.extractors.preprocessing import in_batches, resized
from synthrelease.records.digests import digest_of
from synthrelease.records.files import atomic_write_bytes

SIDE = 64


@dataclass(frozen=True)
class Recipe:
    """What the weights follow from; the digest of it names the cached file."""

    patients: int = 160
    steps: int = 300
    batch: int = 32
    seed: int = 20_260
    version: int = 1

    @property
    def digest(self) -> str:
        """First 12 hexadecimal digits of SHA-256."""
        return digest_of(asdict(self))[:12]


class Network(nn.Module):
    """(N, 1, 64, 64) to layers; the mean and the deviation of the last two are the features, (N, 192)."""

    def __init__(self) -> None:
        super().__init__()
        self.early = nn.Sequential(
            nn.PixelUnshuffle(2),
            nn.Conv2d(4, 24, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(24, 32, 3, stride=2, padding=1),
            nn.GroupNorm(4, 32),
            nn.ReLU(),
        )
        self.late = nn.Sequential(
            nn.Conv2d(32, 64, 3, stride=2, padding=1), nn.GroupNorm(8, 64), nn.ReLU(), nn.Conv2d(64, 64, 3, padding=1)
        )
        self.places = nn.Conv2d(64, len(SEGMENTS), 1)
        self.finding = nn.Linear(64, len(FINDINGS))

    def layers(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The two layers: (N, 32, 16, 16) and (N, 64, 8, 8)."""
        early = self.early(images)
        return early, nn.functional.relu(self.late(early))

    def features(self, images: Tensor) -> Tensor:
        """(N, 192)."""
        layers = self.layers(images)
        return torch.cat([part for x in layers for part in (x.mean((2, 3)), x.std((2, 3)))], dim=1)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of the segments' coverage at 8 x 8 and of the finding."""
        late = self.layers(images)[1]
        return self.places(late), self.finding(late.mean((2, 3)))


class PhantomNetwork:
    """192 features of our own network."""

    def __init__(self, network: Network, digest: str) -> None:
        self._network = network.eval()
        self.name = (
            f"own network at {SIDE} px (antialiased, fixed window), trained on phantoms (recipe {digest}), "
            "fitted on no patient"
        )

    @classmethod
    def cached(cls, recipe: Recipe | None = None, folder: Path | None = None) -> PhantomNetwork:
        """From the user's cache folder; trained and put there when it is missing.

        Args:
            recipe: Another than the shipped one. folder: Another cache folder.
        """
        recipe = recipe or Recipe()
        path = (folder or cache_folder()) / f"phantom_network-{recipe.digest}.safetensors"
        network = Network()
        try:
            network.load_state_dict(load_file(path))
        except Exception:  # Missing, cut, or of another shape: the recipe gives it again.
            network = train(recipe)
            with suppress(UnsuitableData):  # A read-only home costs time at the next audit, nothing else.
                atomic_write_bytes(path, save(network.state_dict()))
        return cls(network, recipe.digest)

    def __call__(self, images: FloatArray) -> npt.NDArray[np.float64]:
        """(N, 1, H, W) in [-1, 1] to (N, 192)."""
        return in_batches(images, lambda batch: self._network.features(resized(batch, SIDE)))


def cache_folder() -> Path:
    """Where weights that anybody may see are kept: ``$XDG_CACHE_HOME/synthrelease``, else ``~/.cache/synthrelease``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "synthrelease"


def train(recipe: Recipe) -> Network:
    """Train on phantoms; the same recipe gives the same network on one machine."""
    patients = [simulate_patient(recipe.seed, index, SIDE) for index in range(recipe.patients)]
    seen = [(patient.finding, image) for patient in patients for image in patient.images]
    images = torch.from_numpy(np.stack([image.pixels for _, image in seen])[:, None] * np.float32(2) - np.float32(1))
    masks = torch.from_numpy(np.stack([[image.masks[name] for name in SEGMENTS] for _, image in seen])).float()
    findings = torch.tensor([FINDINGS.index(finding) for finding, _ in seen])
    generator = torch.Generator().manual_seed(recipe.seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        network = Network()
    optimizer = torch.optim.Adam(network.parameters(), lr=2e-3)
    for _ in range(recipe.steps):
        rows = torch.randint(len(images), (recipe.batch,), generator=generator)
        x, y = _changed(images[rows], masks[rows], generator)
        places, finding = network(x)
        coverage = nn.functional.adaptive_avg_pool2d(y, places.shape[-1])
        loss = nn.functional.binary_cross_entropy_with_logits(places, coverage)
        loss = loss + 0.3 * nn.functional.cross_entropy(finding, findings[rows])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return network


def _changed(images: Tensor, masks: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """A quarter turn and a mirror for the batch; gain, offset, sign and noise for each image."""
    turns, mirror = int(torch.randint(4, (1,), generator=generator)), bool(torch.rand(1, generator=generator) < 0.5)
    dimensions = [3] if mirror else []
    x, y = (torch.rot90(part, turns, (2, 3)).flip(dimensions) for part in (images, masks))
    shape = (len(images), 1, 1, 1)
    gain = 0.6 + 0.8 * torch.rand(shape, generator=generator)
    sign = torch.where(torch.rand(shape, generator=generator) < 0.25, -1.0, 1.0)
    offset = 0.3 * (torch.rand(shape, generator=generator) - 0.5)
    noise = 0.05 * torch.rand(shape, generator=generator) * torch.randn(images.shape, generator=generator)
    return sign * gain * x + offset + noise, y

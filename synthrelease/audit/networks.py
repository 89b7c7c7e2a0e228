"""Two small networks that stand for whoever trains on the archive: a classifier and a segmenter. CPU seconds."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from synthrelease.features.extractors.preprocessing import in_batches

Array = npt.NDArray[np.float64]
FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]

BATCH = 32


class Classifier(nn.Module):
    """Three strided convolutions and a linear layer: (N, 1, H, W) to (N, classes) logits."""

    def __init__(self, classes: int, side: int) -> None:
        super().__init__()
        widths = (1, 16, 24, 32)
        layers: list[nn.Module] = []
        for i in range(3):
            layers += [
                nn.Conv2d(widths[i], widths[i + 1], 3, stride=2, padding=1),
                nn.GroupNorm(4, widths[i + 1]),
                nn.ReLU(),
            ]
        self.features = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(min(4, max(1, side // 8))), nn.Flatten())
        self.head = nn.Linear(32 * min(4, max(1, side // 8)) ** 2, classes)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.features(images))
        return logits


class Segmenter(nn.Module):
    """A U-shaped network of three levels: (N, 1, H, W) to (N, K, H, W) logits; any H and W from 8 up.

    Pixels enter and leave in blocks of two by two as channels: full resolution costs nothing in between.
    """

    def __init__(self, segments: int) -> None:
        super().__init__()
        self.top = nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(4, 24, 3, padding=1), nn.GroupNorm(4, 24), nn.ReLU())
        self.deep = nn.Sequential(
            nn.Conv2d(24, 32, 3, stride=2, padding=1),
            nn.GroupNorm(4, 32),
            nn.ReLU(),
            nn.Conv2d(32, 32, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(32, 64, 3, padding=1),
            nn.ReLU(),
            nn.PixelShuffle(2),
            nn.Conv2d(16, 64, 3, padding=1),
            nn.ReLU(),
            nn.PixelShuffle(2),
        )
        self.out = nn.Sequential(
            nn.Conv2d(40, 24, 3, padding=1), nn.ReLU(), nn.Conv2d(24, 4 * segments, 3, padding=1), nn.PixelShuffle(2)
        )

    def forward(self, images: Tensor) -> Tensor:
        side = images.shape[-1]
        padded = nn.functional.pad(images, (0, -side % 8, 0, -images.shape[-2] % 8), mode="replicate")
        top = self.top(padded)
        logits: Tensor = self.out(torch.cat([top, self.deep(top)], dim=1))
        return logits[..., : images.shape[-2], :side]


def _fit(
    network: nn.Module, images: Tensor, target: Tensor, loss: nn.Module, steps: int, generator: torch.Generator
) -> None:
    """Adam under a one-cycle step size, the same number of steps whatever the size of the set."""
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=6e-3, total_steps=steps)
    for _ in range(steps):
        batch = torch.randint(len(images), (min(BATCH, len(images)),), generator=generator)
        optimizer.zero_grad()
        loss(network(images[batch]), target[batch]).backward()
        optimizer.step()
        schedule.step()
    network.eval()


def fit_classifier(
    images: FloatArray, labels: IntArray, classes: int, *, steps: int, seed: int
) -> Callable[[FloatArray], Array]:
    """Train a classifier.

    Args:
        images: (N, 1, H, W) in [-1, 1]. labels: (N,) in 0..classes-1. seed: Of weights and batches.

    Returns:
        (M, 1, H, W) to class probabilities, (M, classes) float64.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = Classifier(classes, images.shape[-1])
        _fit(network, torch.from_numpy(images), torch.from_numpy(labels), nn.CrossEntropyLoss(), steps, generator)
    return lambda test: in_batches(test, lambda batch: network(batch).softmax(dim=1))


def fit_label_features(
    images: FloatArray, labels: IntArray, classes: int, *, steps: int, seed: int
) -> Callable[[FloatArray], Array]:
    """Train a classifier and keep what it looks at: (M, 1, H, W) to its features (M, D). Arguments of :func:`fit_classifier`."""
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = Classifier(classes, images.shape[-1])
        _fit(network, torch.from_numpy(images), torch.from_numpy(labels), nn.CrossEntropyLoss(), steps, generator)
    return lambda test: in_batches(test, network.features)


def fit_segmenter(
    images: FloatArray, masks: FloatArray, *, steps: int, seed: int
) -> Callable[[FloatArray], FloatArray]:
    """Train a segmenter: images (N, 1, H, W) to coverage (N, K, H, W) in [0, 1]."""
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = Segmenter(masks.shape[1])
        _fit(network, torch.from_numpy(images), torch.from_numpy(masks), _SegmentationLoss(), steps, generator)
    return lambda test: in_batches(test, lambda batch: network(batch).sigmoid()).astype(np.float32)


class _SegmentationLoss(nn.Module):
    """Cross entropy plus soft Dice over the batch, so that small segments are not drowned by background."""

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        chance = logits.sigmoid()
        overlap = (chance * target).sum((0, 2, 3))
        total = chance.sum((0, 2, 3)) + target.sum((0, 2, 3))
        dice = 1.0 - (2.0 * overlap + 1.0) / (total + 1.0)
        return nn.functional.binary_cross_entropy_with_logits(logits, target) + dice.mean()

"""The toy cohort of UM: a bright disc in each image, whose mask is the disc."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from synthrelease.generators.protocol import Batch, Spec
from synthrelease.policy.generators import UmGenerator as Settings

SMALL = Spec(resolution=16, classes=2, segments=1)


def settings(**changes: Any) -> Settings:
    return Settings(**{"name": "um", "width": 8, "latent": 6, "batch": 8, "superpixels": 36, **changes})


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def discs(size: int, generator: torch.Generator, labelled: Tensor | None = None) -> Batch:
    """A bright disc somewhere, large in class 1; the mask is the disc."""
    labels = torch.randint(2, (size,), generator=generator)
    at = torch.rand(size, 2, generator=generator) * 6 + 5
    axis = torch.arange(16).float()
    y, x = axis[:, None] - at[:, 0, None, None], axis - at[:, 1, None, None]
    masks = ((y.square() + x.square()).sqrt() < (2.5 + 2.0 * labels)[:, None, None]).float()[:, None]
    images = masks - 0.5 + 0.05 * torch.randn(masks.shape, generator=generator)
    if labelled is not None:
        masks = masks * labelled[:, None, None, None]
    return Batch(images, masks, labels, labelled=labelled)

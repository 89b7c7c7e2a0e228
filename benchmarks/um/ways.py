"""Two ways to an annotated archive from few masks: image and mask painted after a map, and images painted after made-up masks."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from synthrelease.generators.protocol import Batch, Spec
from synthrelease.generators.um.guidance import Guidance
from synthrelease.generators.um.model import UmGenerator
from synthrelease.policy.generators import UmGenerator as Settings

SUPERPIXELS = 128
PENALTY = 0.1
"""Of the slope of what judges made-up masks. With UM's 1.0 all of them came out empty: a Dice of 0.01 on tumours, 0.12 with this,
betas and segmenter alike."""


class MaskMaps(Guidance):
    """Masks in the place of maps: 1 inside, -1 outside. What is made up is cut at nothing, and taught as if it were not."""

    def of(self, images: Tensor) -> Tensor:
        """(N, 1, H, W) of -1 and 1."""
        return torch.where(images > 0, 1.0, -1.0)

    def straight_through(self, images: Tensor) -> Tensor:
        """The same, to which gradients come as if nothing were cut."""
        return images + (self.of(images) - images).detach()


class MaskGuided(UmGenerator):
    """Noise -> mask -> image, of the same networks: the mask-conditioned synthesis that UM is held against (V2M2I).

    It can learn from images with masks alone.
    """

    def __init__(self, spec: Spec, settings: Settings) -> None:
        super().__init__(replace(spec, segments=0), settings.model_copy(update={"penalty_weight": PENALTY}))
        self.guidance = MaskMaps(settings.superpixels, settings.compactness, settings.level_step)

    def _maps_of(self, batch: Batch, *, again: bool) -> Tensor:
        return self.guidance.of(batch.masks - 0.5)

    def sample(self, labels: Tensor, rng: torch.Generator) -> Batch:
        """An image for each class index, with the mask that it was painted after."""
        maps = self.sample_maps(labels, rng)
        return Batch(self.painted(maps, labels).images, (maps > 0).float(), labels)


def settings(
    *, width: int, batch: int, seed: int, transforms: tuple[str, ...], guidance: str = "generated"
) -> Settings:
    """Of both ways."""
    return Settings.model_validate(
        {
            "name": "um",
            "width": width,
            "batch": batch,
            "seed": seed,
            "transforms": transforms,
            "superpixels": SUPERPIXELS,
            "guidance": guidance,
        }
    )

"""Maps of guidance: what superpixels leave of a picture, in levels, with its edges.

    SLIC -> the mean level of each superpixel -> floor to a multiple of the step -> one ordered channel in [-1, 1], and a
    binary map of where it changes

Levels stay ordered numbers, never classes: neighbours that fall on one level become one region by themselves.

A map is a deterministic function of its picture that can nearly be inverted: at 32 superpixels and more every one leads back
to its patient. It is as private as the picture.

Source: Xing, Papanastasiou, Walsh, Yang, "Less is more: unsupervised mask-guided annotated CT image synthesis with minimum
manual segmentations", IEEE TMI 2023. The superpixels are ours to compute; see :mod:`.superpixels`.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from hashlib import blake2b

import torch
from torch import Tensor

from synthrelease.generators.um.superpixels import superpixels

WHITE = 255
REMEMBERED = 256 * 2**20
"""Bytes of maps kept in memory at most."""


@dataclass(frozen=True)
class Guidance:
    """How maps are made: public constants, chosen without a look at the cohort.

    Attributes:
        superpixels: Wanted, of a picture of any size.
        compactness: See :mod:`.superpixels`.
        step: Levels of 0..255 that become one.
    """

    superpixels: int
    compactness: float
    step: int
    _known: OrderedDict[bytes, Tensor] = field(default_factory=OrderedDict, compare=False, repr=False)

    def of(self, images: Tensor) -> Tensor:
        """Levels (N, 1, H, H) in [-1, 1] of pictures (N, 1, H, H) in [-1, 1]; nothing is differentiated through."""
        with torch.no_grad():
            return self.quantised(self.averaged(images))

    def remembered(self, images: Tensor) -> Tensor:
        """The same, computed once for each picture: a cohort's are met again and again.

        Maps are kept up to ``REMEMBERED`` bytes, and the oldest go first: a warm-up's, which no one meets again, make room
        for the cohort's.
        """
        keys = [blake2b(image.numpy().tobytes(), digest_size=16).digest() for image in images]
        new = {key: number for number, key in enumerate(keys) if key not in self._known}
        fresh = dict(zip(new, self.of(images[list(new.values())]), strict=True)) if new else {}
        maps = torch.stack([fresh[key] if key in fresh else self._known[key] for key in keys])
        # Copies: a part of a batch would keep the whole batch in memory.
        self._known.update({key: each.clone() for key, each in fresh.items()})
        while len(self._known) * maps[0].nbytes > REMEMBERED:
            self._known.popitem(last=False)
        return maps

    def averaged(self, images: Tensor) -> Tensor:
        """Each pixel the mean of its superpixel, (N, 1, H, H); differentiable, the superpixels being taken as given."""
        flat = images.flatten(1)
        owner = superpixels((images[:, 0].detach() + 1.0) / 2.0, self.superpixels, self.compactness).flatten(1)
        count = int(owner.max()) + 1
        held = torch.zeros(len(flat), count).scatter_add_(1, owner, torch.ones_like(flat))
        total = torch.zeros(len(flat), count).scatter_add(1, owner, flat)
        return (total / held.clamp_min(1.0)).gather(1, owner).reshape(images.shape)

    def quantised(self, levels: Tensor) -> Tensor:
        """Floored to multiples of the step, in [-1, 1]."""
        # A mean that is a multiple but for rounding stays one.
        grey = ((levels + 1.0) * (WHITE / 2)).clamp(0, WHITE) + 1e-3
        return torch.floor(grey / self.step) * self.step * (2 / WHITE) - 1.0

    def straight_through(self, images: Tensor) -> Tensor:
        """A picture's map, to which gradients come as if levels were not floored."""
        averaged = self.averaged(images)
        return averaged + (self.quantised(averaged) - averaged).detach()


def edges(levels: Tensor) -> Tensor:
    """(N, 1, H, H) of 0 and 1: where a pixel differs from one of its four neighbours."""
    across = levels[..., :, 1:] != levels[..., :, :-1]
    down = levels[..., 1:, :] != levels[..., :-1, :]
    out = torch.zeros(levels.shape, dtype=torch.bool)
    out[..., :, 1:] |= across
    out[..., :, :-1] |= across
    out[..., 1:, :] |= down
    out[..., :-1, :] |= down
    return out.to(levels.dtype)


def guided(levels: Tensor) -> Tensor:
    """(N, 2, H, H): levels and edges, what generator and critic are shown."""
    return torch.cat([levels, edges(levels)], dim=1)

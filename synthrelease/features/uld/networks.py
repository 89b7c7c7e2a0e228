"""U-shaped networks that give every pixel a point on the unit sphere, and optionally a share in each of K clusters."""

from __future__ import annotations

from itertools import pairwise
from math import gcd
from typing import Any, Literal

import torch
from torch import Tensor, nn

Norm = Literal["group", "batch"]

DIMENSIONS = 32
"""Of the sphere on which pixels lie."""

SMALLEST_SIDE = 16
"""Pixels on the shorter side of an image, at least."""


class EmbeddingNetwork(nn.Module):
    """Images to unit vectors per pixel.

    Encoder stages halve the side in between; the decoder doubles it by repetition and joins the encoder's map of the
    same size. A level that joins a map of width w gives w, then the width of the level above. The top join goes
    straight into the head.

    Args:
        widths: Channels of the encoder's stages, finest first; 2 to 5 of them.
        dimensions: D, of the sphere.
        clusters: K, of the clustering head; 0 for none.
        norm: ``group`` treats each image by itself; ``batch`` is the paper's and mixes the images of a batch.
        convolutions: Of each encoder stage; two each unless told.
        last: Width of the heads' last convolution, 3 as published or 1: at full resolution it costs a third of all.

    Raises:
        ValueError: Fewer than 2 or more than 5 stages, or a negative number of clusters.
    """

    def __init__(
        self,
        widths: tuple[int, ...],
        *,
        dimensions: int = DIMENSIONS,
        clusters: int = 0,
        norm: Norm = "group",
        convolutions: tuple[int, ...] | None = None,
        last: int = 3,
    ) -> None:
        super().__init__()
        convolutions = convolutions or (2,) * len(widths)
        if (
            not 2 <= len(widths) <= 5
            or len(convolutions) != len(widths)
            or clusters < 0
            or last not in (1, 3)
            or norm not in ("group", "batch")
        ):
            raise ValueError(
                f"no network has {len(widths)} stages, {len(convolutions)} depths, {clusters} clusters, norm {norm}"
            )
        self.widths, self.dimensions, self.clusters, self.norm = tuple(widths), dimensions, clusters, norm
        self.convolutions, self.last = tuple(convolutions), last
        self.encoder = nn.ModuleList(
            _blocks((before, *(width,) * count), norm)
            for before, width, count in zip((1, *widths[:-1]), widths, convolutions, strict=True)
        )
        joins, carried = [], widths[-1]
        for level in range(len(widths) - 2, 0, -1):
            joins.append(_blocks((carried + widths[level], widths[level], widths[level - 1]), norm))
            carried = widths[level - 1]
        self.decoder = nn.ModuleList(joins)
        self.head = _head(carried + widths[0], dimensions, norm, last)
        _draw(self)
        # Its weights are drawn last: the rest begins alike with a clustering head and without one.
        self.clustering = _head(carried + widths[0], clusters, norm, last) if clusters else None
        if self.clustering is not None:
            _draw(self.clustering)

    @property
    def settings(self) -> dict[str, Any]:
        """Arguments that build a network of this shape, as JSON values."""
        return {
            "widths": list(self.widths),
            "dimensions": self.dimensions,
            "clusters": self.clusters,
            "norm": self.norm,
            "convolutions": list(self.convolutions),
            "last": self.last,
        }

    def stages(self, images: Tensor) -> list[Tensor]:
        """Maps of the encoder, finest first: (N, widths[i], H / 2^i, W / 2^i), H and W filled up to a multiple."""
        _check(images)
        # Channels beside each other make the convolutions of a processor a quarter faster, and change no number.
        x = _filled(images, 2 ** (len(self.widths) - 1)).contiguous(memory_format=torch.channels_last)
        maps = []
        for level, stage in enumerate(self.encoder):
            x = stage(nn.functional.max_pool2d(x, 2) if level else x)
            maps.append(x)
        return maps

    def forward(self, images: Tensor) -> Tensor:
        """(N, 1, H, W) in [-1, 1] to (N, D, H, W) of unit length at every pixel; H and W at least 16."""
        return self._embedded(self._decoded(images), images)

    def assign(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Embedding and cluster shares; both heads read the same decoded map.

        Returns:
            (N, D, H, W) as `forward`, and r (N, K, H, W) >= 0 with sum 1 over K.

        Raises:
            ValueError: The network has no clustering head.
        """
        if self.clustering is None:
            raise ValueError("this network has no clustering head")
        decoded = self._decoded(images)
        return self._embedded(decoded, images), shares_of(_cropped(self.clustering(decoded), images))

    def _decoded(self, images: Tensor) -> Tensor:
        """The top join, filled up to the multiple."""
        maps = self.stages(images)
        x = maps[-1]
        for level, skip in enumerate(maps[-2::-1]):
            x = torch.cat([nn.functional.interpolate(x, scale_factor=2.0, mode="nearest"), skip], dim=1)
            if level < len(self.decoder):
                x = self.decoder[level](x)
        return x

    def _embedded(self, decoded: Tensor, images: Tensor) -> Tensor:
        return nn.functional.normalize(_cropped(self.head(decoded), images), dim=1)


def shares_of(raw: Tensor) -> Tensor:
    """Sigmoid, then divided by the sum over clusters: (N, K, ...) to the same.

    Not a softmax: where all sigmoids vanish together, the small constant makes the shares equal, so that a network
    unsure of everything says "1 / K each" and no gradient blows up.
    """
    x = raw.sigmoid() + 1e-6
    return x / x.sum(dim=1, keepdim=True)


def small(clusters: int = 0) -> EmbeddingNetwork:
    """The default: four stages, GroupNorm, 0.2 million weights; made for 64 px and a few hundred images."""
    return EmbeddingNetwork((12, 24, 48, 64), clusters=clusters, last=1)


def paper(clusters: int = 16) -> EmbeddingNetwork:
    """The published one: VGG16 with batch normalisation at a quarter of its width as encoder, 1.4 million weights."""
    return EmbeddingNetwork((16, 32, 64, 128, 128), clusters=clusters, norm="batch", convolutions=(2, 2, 3, 3, 3))


def _blocks(widths: tuple[int, ...], norm: Norm) -> nn.Sequential:
    """Convolution, normalisation, ReLU between each two widths."""
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Conv2d(before, after, 3, padding=1), _normalised(after, norm), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


def _draw(part: nn.Module) -> None:
    """Weights of all convolutions as He et al. 2015 (fan-out), biases zero."""
    for module in part.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def _head(before: int, after: int, norm: Norm, last: int) -> nn.Sequential:
    return nn.Sequential(*_blocks((before, after), norm), nn.Conv2d(after, after, last, padding=last // 2))


def _normalised(width: int, norm: Norm) -> nn.Module:
    return nn.BatchNorm2d(width) if norm == "batch" else nn.GroupNorm(gcd(width, 4), width)


def _check(images: Tensor) -> None:
    if images.ndim != 4 or images.shape[1] != 1 or min(images.shape[-2:]) < SMALLEST_SIDE:
        raise ValueError(f"images are (N, 1, H, W) with H and W of at least {SMALLEST_SIDE}, not {tuple(images.shape)}")


def _filled(images: Tensor, multiple: int) -> Tensor:
    """The border repeated below and to the right until both sides are multiples."""
    height, width = images.shape[-2:]
    if height % multiple == 0 and width % multiple == 0:
        return images
    return nn.functional.pad(images, (0, -width % multiple, 0, -height % multiple), mode="replicate")


def _cropped(maps: Tensor, images: Tensor) -> Tensor:
    return maps[..., : images.shape[-2], : images.shape[-1]]

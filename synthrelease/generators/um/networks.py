"""The networks: from noise to a map, from a map to image and masks, and what judges each.

    mapper        noise z, class t -> grey picture, of which the map is taken                            V -> UM
    map critic    (map, t) -> score
    painter       (map, edges, t) -> image | logits of masks, one trunk with two heads                   UM -> I
    critic        (map, edges, image, t) -> scores of patches, at two scales; it never sees the masks

No layer reads more than one example. Where there are pixels enough, two by two are folded into channels first: the picture is
then worked on at half of its side. The class enters painter and critic too, since an archive is asked for classes.

Sources: Xing et al., IEEE TMI 2023, for what there is; Wang et al., "High-resolution image synthesis and semantic manipulation
with conditional GANs", CVPR 2018, for the trunk of down, residual and up, and the patches at several scales; Miyato and Koyama,
ICLR 2018, for the class by projection. The first stage's layers are ours.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from synthrelease.generators import layers

RESIDUALS = 3
BOTTOM = 7
"""Side of the painter's coarsest grid, at least: nine residual blocks at a sixteenth are for pictures of a thousand pixels."""
SCALES = 2


class Painter(nn.Module):
    """Map to image and masks. No noise: one map of one class gives one image.

    Args:
        classes: Number of classes. segments: K masks.
        resolution: H = W. width: Channels of the finest grid.
    """

    def __init__(self, classes: int, segments: int, resolution: int, width: int) -> None:
        super().__init__()
        each, self._fold = layers.widths(resolution, width, BOTTOM), layers.fold_of(resolution)
        self.first = nn.Conv2d(2 * self._fold**2, each[0], 3, padding=1)
        self.classes = nn.Embedding(classes, each[-1])
        self.downs = nn.ModuleList(nn.Conv2d(fine, coarse, 4, stride=2, padding=1) for fine, coarse in pairwise(each))
        self.residuals = nn.ModuleList(_Residual(each[-1]) for _ in range(RESIDUALS))
        self.ups = nn.ModuleList(nn.Conv2d(coarse, fine, 3, padding=1) for coarse, fine in pairwise(each[::-1]))
        self.down_norms = nn.ModuleList(layers.normed(channels) for channels in each)
        self.up_norms = nn.ModuleList(layers.normed(channels) for channels in each[-2::-1])
        self.image = nn.Conv2d(each[0], self._fold**2, 3, padding=1)
        self.masks = nn.Conv2d(each[0], segments * self._fold**2, 3, padding=1) if segments else None

    def forward(self, guided: Tensor, labels: Tensor) -> Tensor:
        """(N, 2, H, W) levels and edges, (N,) classes, to (N, 1 + K, H, W): image in (-1, 1), and logits of each mask."""
        h = layers.rectified(self.down_norms[0](self.first(functional.pixel_unshuffle(guided, self._fold))))
        seen = [h]
        for down, norm in zip(self.downs, list(self.down_norms)[1:], strict=True):
            h = layers.rectified(norm(down(h)))
            seen.append(h)
        h = h + self.classes(labels)[:, :, None, None]
        for residual in self.residuals:
            h = residual(h)
        for up, norm, beside in zip(self.ups, self.up_norms, seen[-2::-1], strict=True):
            h = layers.rectified(norm(up(functional.interpolate(h, scale_factor=2.0, mode="nearest"))) + beside)
        image = functional.pixel_shuffle(self.image(h), self._fold).tanh()
        if self.masks is None:
            return image
        return torch.cat([image, functional.pixel_shuffle(self.masks(h), self._fold)], dim=1)


class _Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.one, self.other = (nn.Conv2d(channels, channels, 3, padding=1) for _ in range(2))
        self.norms = nn.ModuleList(layers.normed(channels) for _ in range(2))

    def forward(self, h: Tensor) -> Tensor:
        """A block that adds to what it is given."""
        out: Tensor = h + self.norms[1](self.other(layers.rectified(self.norms[0](self.one(h)))))
        return out


class Patches(nn.Module):
    """The critic of one scale: a score for each patch.

    Args:
        classes: Number of classes. channels: Of the input. width: Of the first layer.
        halvings: Times that the side is halved.
    """

    def __init__(self, classes: int, channels: int, width: int, halvings: int) -> None:
        super().__init__()
        each = (channels, *(width * 2**level for level in range(halvings)))
        self.layers = nn.ModuleList(nn.Conv2d(fine, coarse, 4, stride=2, padding=1) for fine, coarse in pairwise(each))
        self.norms = nn.ModuleList(
            nn.Identity() if level == 0 else layers.normed(channels) for level, channels in enumerate(each[1:])
        )
        self.score = nn.Conv2d(each[-1], 1, 3, padding=1)
        self.classes = nn.Embedding(classes, each[-1])
        nn.init.normal_(self.classes.weight, std=each[-1] ** -0.5)

    def forward(self, seen: Tensor, labels: Tensor) -> Tensor:
        """(N, h, w) logits of patches."""
        h = seen
        for layer, norm in zip(self.layers, self.norms, strict=True):
            h = layers.rectified(norm(layer(h)))
        scores: Tensor = self.score(h)[:, 0] + (h * self.classes(labels)[:, :, None, None]).mean(dim=1)
        return scores


class MapTrunk(nn.Module):
    """The critic of maps.

    Args:
        classes: Number of classes. resolution: H = W. width: Of the finest grid.
    """

    def __init__(self, classes: int, resolution: int, width: int) -> None:
        super().__init__()
        each, self._fold = layers.widths(resolution, width), layers.fold_of(resolution)
        self.first = nn.Conv2d(self._fold**2, each[0], 3, padding=1)
        self.downs = nn.ModuleList(nn.Conv2d(fine, coarse, 4, stride=2, padding=1) for fine, coarse in pairwise(each))
        self.last = nn.Linear(each[-1] * layers.sides(resolution)[-1] ** 2, 4 * width)
        self.score = nn.Linear(4 * width, 1)
        self.classes = nn.Embedding(classes, 4 * width)
        nn.init.normal_(self.classes.weight, std=(4 * width) ** -0.5)

    def forward(self, levels: Tensor, labels: Tensor) -> Tensor:
        """(N, 1, H, W) and (N,) classes to (N,) logits."""
        h = layers.rectified(self.first(functional.pixel_unshuffle(levels, self._fold)))
        for down in self.downs:
            h = layers.rectified(down(h))
        h = layers.rectified(self.last(h.flatten(1)))
        score: Tensor = self.score(h)[:, 0] + (h * self.classes(labels)).sum(dim=1)
        return score


class Critics(nn.Module):
    """All that judges: pictures with their maps at each scale, and maps alone where they are generated.

    Args:
        classes: Number of classes. resolution: H = W. width: Of painter and mapper.
        maps: Whether maps are generated.

    Attributes:
        grids: Patches a side at each scale.
    """

    def __init__(self, classes: int, resolution: int, width: int, *, maps: bool) -> None:
        super().__init__()
        halvings = 3 if resolution >= 64 else 2
        self.scales = nn.ModuleList(Patches(classes, 3, width, halvings) for _ in range(SCALES))
        self.maps = MapTrunk(classes, resolution, width) if maps else None
        self.grids = tuple((resolution >> scale) >> halvings for scale in range(SCALES))

    def forward(self, guided: Tensor, images: Tensor, labels: Tensor) -> Tensor:
        """Logits (N, P), patch after patch, the finest scale first; the map's own at the end, where there is one.

        Args:
            guided: (N, 2, H, W) levels and edges. images: (N, 1, H, W). labels: (N,).
        """
        seen, out = torch.cat([guided, images], dim=1), []
        for scale in self.scales:
            out.append(scale(seen, labels).flatten(1))
            seen = functional.avg_pool2d(seen, 2)
        if self.maps is not None:
            out.append(self.maps(guided[:, :1], labels)[:, None])
        return torch.cat(out, dim=1)

    def parted(self, scores: Tensor) -> tuple[Tensor, ...]:
        """What :meth:`forward` gave, a scale's logits (N, h, h) each, and the map's (N,) if there is one."""
        parts = torch.split(scores, [*(grid**2 for grid in self.grids), *([1] if self.maps is not None else [])], dim=1)
        scales = tuple(part.reshape(-1, grid, grid) for part, grid in zip(parts, self.grids, strict=False))
        return scales + tuple(part[:, 0] for part in parts[SCALES:])


class Mapper(nn.Module):
    """Noise and class to the grey picture that a map is taken of.

    Args:
        classes: Number of classes. latent: Dimensions of the noise.
        resolution: H = W. width: Channels of the finest grid.
    """

    def __init__(self, classes: int, latent: int, resolution: int, width: int) -> None:
        super().__init__()
        self.classes = nn.Embedding(classes, latent)
        self.decoder = layers.Decoder(2 * latent, 1, resolution, width)

    def forward(self, latents: Tensor, labels: Tensor) -> Tensor:
        """(N, latent) and (N,) classes to (N, 1, H, W) in (-1, 1)."""
        picture: Tensor = self.decoder(torch.cat([latents, self.classes(labels)], dim=1))
        return picture

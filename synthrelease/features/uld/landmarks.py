"""One-shot landmarks: a point shown in one image is found in others by the vector of its pixel.

    v'  = centre-sensitive mean of the pixel vectors around a pixel      (see `averaging`)
    M(x) = mean over supports of  v'_support(point) . v'_query(x)
    answer = the highest point of M, softened over its 3 x 3 neighbourhood

Everything works on embeddings, so that whoever holds them need not embed again; `locate` does the whole.

Source: Chen et al., arXiv 2108.09440, one-shot localisation; window and kernel are ours, since no code of it is public.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from synthrelease.features.uld.averaging import sliding

FloatArray = npt.NDArray[np.float32]
Points = npt.NDArray[np.float64]
Embed = Callable[[FloatArray], FloatArray]

WINDOW = 9
"""Pixels of the window at 64 px a side: about a cell of the grid that the encoder learned on."""

SHARPNESS = 0.02
"""Similarity that counts as one unit where a peak is softened; its neighbours differ by about as much."""

BATCH = 32


@dataclass(frozen=True)
class Support:
    """Images in which somebody has shown where the landmarks are; one is enough.

    Attributes:
        images: (S, 1, H, W) float32 in [-1, 1].
        points: (S, L, 2) row and column in pixels, pixel centres at whole numbers; NaN where a landmark is not shown.

    Raises:
        ValueError: Shapes do not fit, a point lies outside its image, or a landmark is shown nowhere.
    """

    images: FloatArray
    points: Points

    def __post_init__(self) -> None:
        if self.images.ndim != 4 or self.points.ndim != 3 or self.points.shape[::2] != (len(self.images), 2):
            raise ValueError(
                f"images are (S, 1, H, W) and points (S, L, 2), not {self.images.shape} and {self.points.shape}"
            )
        shown = ~np.isnan(self.points).any(axis=2)
        if not shown.any(axis=0).all():
            raise ValueError(f"landmark {int(np.argmin(shown.any(axis=0)))} is shown in no support image")
        limit = np.array(self.images.shape[-2:]) - 0.5
        outside = shown & ((self.points < -0.5) | (self.points > limit)).any(axis=2)
        if outside.any():
            image, landmark = np.argwhere(outside)[0]
            raise ValueError(
                f"landmark {landmark} of support image {image} lies outside it: {self.points[image, landmark]}"
            )


def locate(embed: Embed, support: Support, images: FloatArray, *, window: int = WINDOW) -> Points:
    """Find the support's landmarks in other images.

    Args:
        embed: (N, 1, H, W) to (N, D, H, W) unit vectors per pixel, such as `Encoder.embed`.
        support: Images with their landmarks. images: (N, 1, H, W) in [-1, 1].
        window: Pixels averaged around each pixel.

    Returns:
        (N, L, 2) row and column in pixels; always an answer, right or wrong.
    """
    shown = at_points(sliding(torch.from_numpy(embed(support.images)), window), support.points)
    found = [
        peaks(similarity(shown, sliding(torch.from_numpy(embed(images[start : start + BATCH])), window)))
        for start in range(0, len(images), BATCH)
    ]
    return np.asarray(torch.cat(found).double().numpy()) if found else np.zeros((0, support.points.shape[1], 2))


def at_points(maps: Tensor, points: Points) -> Tensor:
    """Vectors at points: (S, D, H, W) and (S, L, 2) to (S, L, D), bilinear, at unit length; zero where not shown."""
    height, width = maps.shape[-2:]
    row, column = torch.from_numpy(np.nan_to_num(points)).to(maps).unbind(dim=-1)
    grid = torch.stack([(2.0 * column + 1.0) / width - 1.0, (2.0 * row + 1.0) / height - 1.0], dim=-1)
    read = functional.grid_sample(maps, grid[:, :, None], padding_mode="border", align_corners=False)
    vectors = functional.normalize(read[..., 0].transpose(1, 2), dim=2)
    return vectors.masked_fill(torch.from_numpy(np.isnan(points).any(axis=2))[..., None], 0.0)


def similarity(shown: Tensor, maps: Tensor) -> Tensor:
    """Mean over supports of the cosine between a landmark and every pixel.

    Args:
        shown: (S, L, D) vectors of the landmarks, zero where a support does not show one.
        maps: (N, D, H, W) centre-sensitive unit vectors of the queries.

    Returns:
        (N, L, H, W) in [-1, 1].
    """
    # The mean of the maps of all supports is the map of their mean vector.
    number = (shown.norm(dim=2) > 0.5).sum(dim=0).clamp(min=1)
    return torch.einsum("ld,ndhw->nlhw", shown.sum(dim=0) / number[:, None], maps)


def peaks(maps: Tensor) -> Tensor:
    """Where maps are highest, as the softened mean place of the 3 x 3 around: (N, L, H, W) to (N, L, 2) in pixels."""
    width = maps.shape[-1]
    best = maps.flatten(2).argmax(dim=2)
    row, column = best // width, best % width
    padded = functional.pad(maps, (1, 1, 1, 1), value=-torch.inf).flatten(2)
    corner = row * (width + 2) + column
    offset = (torch.arange(3)[:, None] * (width + 2) + torch.arange(3)).flatten()
    near = padded.gather(2, corner[..., None] + offset)
    weight = (near / SHARPNESS).softmax(dim=2).view(*best.shape, 3, 3)
    step = torch.arange(-1.0, 2.0)
    down, across = (weight.sum(dim=3) * step).sum(dim=2), (weight.sum(dim=2) * step).sum(dim=2)
    return torch.stack([row + down, column + across], dim=2)

"""Averages of pixel vectors over cells and sliding windows, plain or centre-sensitive.

    v'(x) = L2norm( sum_d W(d) v(x + d) ),   W(d) proportional to exp(-|d|² / (2 s²)), sum 1

Within a large even structure a plain average is the same at every pixel, so its similarity to itself has a flat top;
the bell weighs the middle most and keeps one peak. The kernel is ours: the public text says "bell-shaped" only.
Vectors are averaged first and brought to unit length afterwards, so that cells whose pixels agree count as they are.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

SPREAD = 0.25
"""Standard deviation of the bell as a share of the window."""


def bell(width: int, sigma: float) -> Tensor:
    """(width, width) float32 weights with sum 1, highest in the middle; sigma in pixels, above 0."""
    axis = _weights(width, (width - 1) / 2, sigma)
    return torch.outer(axis, axis)


def pool(maps: Tensor, cells: int, *, centre_sensitive: bool = True) -> Tensor:
    """Weighted means over a grid of cells, not normalised: (N, C, H, W) to (N, C, cells, cells).

    A cell covers what adaptive average pooling gives it, so sides need not be multiples of ``cells``; without
    ``centre_sensitive`` it is adaptive average pooling.

    Raises:
        ValueError: More cells than pixels.
    """
    height, width = maps.shape[-2:]
    rows = _cell_weights(height, cells, centre_sensitive).to(maps)
    columns = rows if width == height else _cell_weights(width, cells, centre_sensitive).to(maps)
    return torch.matmul(torch.matmul(rows, maps), columns.T)


def to_grid(embedding: Tensor, cells: int, *, centre_sensitive: bool = True) -> Tensor:
    """Unit vectors of a grid of cells: (N, D, H, W) to (N, cells, cells, D)."""
    pooled = pool(embedding, cells, centre_sensitive=centre_sensitive)
    return functional.normalize(pooled.permute(0, 2, 3, 1), dim=-1)


def sliding(embedding: Tensor, width: int, *, centre_sensitive: bool = True) -> Tensor:
    """Unit vectors of the windows around every pixel.

    Args:
        embedding: (N, D, H, W). width: Of the window in pixels; an even one is made one wider, to have a middle.

    Returns:
        (N, D, H, W); at the border the part of the window inside the image counts.
    """
    width |= 1
    axis = _weights(width, width // 2, SPREAD * width if centre_sensitive else math.inf).to(embedding)
    depth = embedding.shape[1]
    down = axis.view(1, 1, -1, 1).expand(depth, 1, -1, 1)
    across = axis.view(1, 1, 1, -1).expand(depth, 1, 1, -1)
    x = functional.conv2d(embedding, down, padding=(width // 2, 0), groups=depth)
    x = functional.conv2d(x, across, padding=(0, width // 2), groups=depth)
    return functional.normalize(x, dim=1)


def _weights(length: int, centre: float, sigma: float) -> Tensor:
    """Bell along one axis, sum 1; even for an infinite sigma."""
    offset = torch.arange(length, dtype=torch.float32) - centre
    weight = torch.exp(-0.5 * (offset / sigma) ** 2)
    return weight / weight.sum()


def _cell_weights(side: int, cells: int, centre_sensitive: bool) -> Tensor:
    """(cells, side): row i weighs the pixels of cell i along one axis."""
    if not 1 <= cells <= side:
        raise ValueError(f"{side} pixels cannot be cut into {cells} cells")
    weights = torch.zeros(cells, side)
    for i in range(cells):
        first, last = i * side // cells, -(-(i + 1) * side // cells)
        length = last - first
        sigma = SPREAD * length if centre_sensitive else math.inf
        weights[i, first:last] = _weights(length, (length - 1) / 2, sigma)
    return weights

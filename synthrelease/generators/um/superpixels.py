"""Superpixels of grey pictures: simple linear iterative clustering (SLIC), a batch at a time.

    D^2 = (dI / m)^2 + (dxy / S)^2        I grey in [0, 1], xy in pixels, S the spacing of the centres, m compactness

The compactness belongs to the scale of the grey levels. The usual 10 is one for colours in Lab, where lightness goes to 100:
on grey levels in [0, 1] it weighs the place so much that what comes out is a plain grid. Its equivalent is 0.1.

Each pixel is compared with the centres of its own and the eight surrounding cells of the starting grid, which is where the
windows of 2 S that SLIC searches lie as long as no centre strays by a cell. Grey levels are those of the public window: nothing
is stretched picture by picture, so one bright pixel moves no other superpixel.

Source: Achanta et al., "SLIC superpixels compared to state-of-the-art superpixel methods", TPAMI 2012.
"""

from __future__ import annotations

from math import sqrt

import torch
from torch import Tensor
from torch.nn import functional

ROUNDS = 6
"""Assignments of pixels to centres. Centres hardly move after the fifth."""


def superpixels(grey: Tensor, count: int, compactness: float) -> Tensor:
    """The superpixel that each pixel belongs to.

    Args:
        grey: (N, H, H) in [0, 1].
        count: Superpixels wanted; a square number near it is made, and fewer where some come to hold no pixel.
        compactness: m, in grey levels: what a distance of one spacing is worth.

    Returns:
        (N, H, H) int64, numbers of superpixels, each in one piece.
    """
    size, side = grey.shape[0], grey.shape[-1]
    cells = cells_of(side, count)
    # Places in spacings and levels in compactnesses, so that the distance is a plain sum of squares.
    axis = (torch.arange(side, dtype=torch.float32) + 0.5) * (cells / side)
    y, x = axis[:, None].expand(size, side, side), axis.expand(size, side, side)
    features = torch.stack([grey.float() / compactness, y, x], dim=1)
    home = torch.arange(side) * cells // side
    owner = (home[:, None] * cells + home).expand(size, side, side)
    centres = _means(features, owner, cells, None)
    for _ in range(ROUNDS):
        owner = _nearest(features, centres, home)
        centres = _means(features, owner, cells, centres)
    return in_one_piece(owner, cells**2)


def cells_of(side: int, count: int) -> int:
    """Cells a side of the starting grid: no more than there are pixels."""
    return min(side, max(1, round(sqrt(count))))


def _nearest(features: Tensor, centres: Tensor, home: Tensor) -> Tensor:
    """The nearest (N, H, H) of the nine centres (N, 3, cells, cells) about each pixel's cell."""
    cells = centres.shape[-1]
    # Beyond the border stand centres that are never the nearest.
    wide = functional.pad(centres, (1, 1, 1, 1), value=1e6)
    best, owner = torch.full_like(features[:, 0], float("inf")), torch.zeros(features[:, 0].shape, dtype=torch.int64)
    for down in (-1, 0, 1):
        rows = wide.index_select(2, home + 1 + down)
        for right in (-1, 0, 1):
            centre = rows.index_select(3, home + 1 + right)
            distance = centre.sub_(features).square_().sum(dim=1)
            closer = distance < best
            best = torch.where(closer, distance, best)
            owner = torch.where(closer, (home + down)[:, None] * cells + (home + right), owner)
    return owner


def _means(features: Tensor, owner: Tensor, cells: int, before: Tensor | None) -> Tensor:
    """Mean (N, 3, cells, cells) of each feature over each superpixel; an empty one stays where it was."""
    size, flat = len(features), owner.flatten(1)
    held = torch.zeros(size, cells**2).scatter_add_(1, flat, torch.ones(()).expand(flat.shape))
    index = flat[:, None].expand(-1, 3, -1)
    mean = torch.zeros(size, 3, cells**2).scatter_add_(2, index, features.flatten(2)) / held[:, None].clamp_min(1.0)
    if before is not None:
        mean = torch.where(held[:, None] > 0, mean, before.flatten(2))
    return mean.reshape(size, 3, cells, cells)


def in_one_piece(owner: Tensor, count: int) -> Tensor:
    """Superpixels of which every part but the largest was given to a neighbour.

    Args:
        owner: (N, H, H) int64.
        count: Superpixels, more than every value of ``owner``.

    Returns:
        (N, H, H) int64.
    """
    piece = _pieces(owner)
    size, pixels = len(owner), owner[0].numel()
    flat = piece.reshape(size, -1)
    held = torch.zeros(size, pixels, dtype=torch.int64).scatter_add_(1, flat, torch.ones_like(flat))
    area = held.gather(1, flat)
    largest = torch.zeros(size, count, dtype=torch.int64).scatter_reduce_(1, owner.reshape(size, -1), area, "amax")
    # Of two equal parts the one that comes first.
    main = area == largest.gather(1, owner.reshape(size, -1))
    first = torch.full((size, count), pixels).scatter_reduce_(
        1, owner.reshape(size, -1), torch.where(main, flat, pixels), "amin"
    )
    kept = (flat == first.gather(1, owner.reshape(size, -1))).reshape(owner.shape)
    out = torch.where(kept, owner, -1)
    while bool((out < 0).any()):
        for turned in _neighbours(out, -1):
            out = torch.where(out < 0, turned, out)
    return out


def _pieces(owner: Tensor) -> Tensor:
    """(N, H, H) number of the piece of connected pixels of one owner: the smallest pixel number in it."""
    side = owner.shape[-1]
    found = torch.arange(side * side).reshape(1, side, side).expand(owner.shape).clone()
    same = [beside == owner for beside in _neighbours(owner, -1)]
    while True:
        before = found
        for beside, equal in zip(_neighbours(found, side * side), same, strict=True):
            found = torch.where(equal, torch.minimum(found, beside), found)
        # A piece's number is a pixel of it, which may have found a smaller one meanwhile.
        found = found.reshape(len(owner), -1).gather(1, found.reshape(len(owner), -1)).reshape(owner.shape)
        if torch.equal(found, before):
            return found


def _neighbours(values: Tensor, border: int) -> list[Tensor]:
    """What lies above, below, left and right of each pixel; ``border`` beyond the picture."""
    wide = functional.pad(values, (1, 1, 1, 1), value=border)
    return [wide[:, :-2, 1:-1], wide[:, 2:, 1:-1], wide[:, 1:-1, :-2], wide[:, 1:-1, 2:]]

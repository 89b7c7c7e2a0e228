"""Pieces of images: descriptors of small windows around points that a paste carries with it.

A window is described where a small band-pass filter has a local extremum. Filter, neighbourhood and window reach
five pixels from the point, so that a pasted piece of 16 pixels brings several such points along, unchanged, whatever
surrounds it and wherever it lands. Points are compared anywhere in the other image; nothing is lost by moving a piece.

    descriptor = window, without mean, mirrored into a canonical form, whitened, at unit length.

Gain and offset cannot be seen in it. Whitening matters most: neighbouring pixels of any two patients agree, whitened
windows of strangers are nearly orthogonal, and only the exact detail of a copy brings their cosine to one. The
canonical form (the right half of a window is the brighter one) finds mirrored pieces at no cost. Points are sorted by
signs of their coarsest moments into cells, and only points of one cell are compared, so that the search is a series
of small matrix products.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from synthrelease.features.descriptors import at_audit_resolution

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]

RESOLUTION = 64
"""Pixels on a side at which pieces are compared; larger images are area-averaged, smaller ones stay as they are."""

WINDOW = 11
"""Side of a described window. Nine pixels told strangers apart less well; thirteen would leave a 16 px paste 16 places."""

REACH = WINDOW // 2
SPACING = 2
"""A point is an extremum within this many pixels; filter (2) and spacing stay inside the window."""

CELLS = 16
"""Signs of the filter's response and of three moments of the canonical window."""

PER_CELL = 16
"""Points kept in each cell of an image, strongest first: room for 256, where 64 px radiographs have about 190."""

DIMENSIONS = 64
RIDGE = 0.02
"""Added to the variances before whitening, as a share of their mean: how much noise is not to be amplified."""

LEAST_RESPONSE, LEAST_CONTRAST = 0.0015, 0.006
"""Weaker texture (grey range 2) is flat: a rounding to 8 bits alone has a deviation of 0.002."""

FITTED_WINDOWS = 20_000
PROBES_AT_ONCE, IMAGES_AT_ONCE = 32, 64
"""Blocks whose products (2 MB) stay in the processor's cache; maxima over them then cost less than the products."""


def at_patch_resolution(images: FloatArray) -> FloatArray:
    """Area-average images to the resolution at which pieces are compared.

    Args:
        images: (N, 1, H, W) float32 in [-1, 1].

    Returns:
        (N, S, S) float32 with S = min(H, W, 64).
    """
    return at_audit_resolution(images, RESOLUTION)


def least_piece(height: int, width: int) -> float:
    """Smallest square piece that holds windows at several places, as a share of the side: 13 pixels at most 64.

    >>> least_piece(64, 64), least_piece(512, 512), least_piece(32, 32)
    (0.203125, 0.203125, 0.40625)
    """
    return (WINDOW + 2) / min(height, width, RESOLUTION)


@dataclass(frozen=True)
class Points:
    """Points of N images, in slots: CELLS x PER_CELL of them, empty ones zero.

    Attributes:
        windows: (N, 16, 16, 121) windows in canonical form, without mean, at unit length.
        place: (N, 16, 16, 2) centre of each, as row and column.
        mirrored: (N, 16, 16) whether the canonical form is the mirror image.
        used: (N, 16, 16) whether the slot holds a point.
    """

    windows: Tensor
    place: Tensor
    mirrored: Tensor
    used: Tensor


def points(images: FloatArray) -> Points:
    """Find the points of (N, S, S) images; S at least 11."""
    pixels = torch.from_numpy(np.ascontiguousarray(images, dtype=np.float32))
    count, side = len(pixels), pixels.shape[-1]
    response = _band_pass(pixels)
    strength = response.abs()
    peak, pit = _highest_around(response) == response, _highest_around(-response) == -response
    inside = torch.zeros(side, side, dtype=torch.bool)
    inside[REACH : side - REACH, REACH : side - REACH] = True
    found = ((peak & (response > 0)) | (pit & (response < 0))) & (strength > LEAST_RESPONSE) & inside
    image, row, column = found.nonzero(as_tuple=True)

    offset = (torch.arange(WINDOW)[:, None] * side + torch.arange(WINDOW)).reshape(-1)
    corner = image * side * side + (row - REACH) * side + (column - REACH)
    windows = pixels.reshape(-1)[corner[:, None] + offset]
    windows = windows - windows.mean(dim=1, keepdim=True)
    length = windows.norm(dim=1, keepdim=True)
    windows = windows / length.clamp(min=1e-6)
    moments = windows @ _moments()
    mirrored = moments[:, 0] < 0
    windows = torch.where(mirrored[:, None], windows.view(-1, WINDOW, WINDOW).flip(2).reshape(-1, WINDOW**2), windows)
    moments = windows @ _moments()
    bright = response[image, row, column] > 0
    bits = torch.stack([bright, *(moments[:, 1:] > 0).T], dim=1)
    cell = (bits * torch.tensor([8, 4, 2, 1])).sum(dim=1)

    # Strongest first within each cell of each image; what has no slot left is dropped.
    clear = length[:, 0] > LEAST_CONTRAST * WINDOW
    weight = strength[image, row, column]
    order = torch.argsort(weight, descending=True, stable=True)
    order = order[clear[order]]
    bucket = (image * CELLS + cell)[order]
    by_bucket = torch.argsort(bucket, stable=True)
    order, bucket = order[by_bucket], bucket[by_bucket]
    first = torch.searchsorted(bucket, torch.arange(count * CELLS))
    rank = torch.arange(len(order)) - first[bucket]
    order, slot = order[rank < PER_CELL], (bucket * PER_CELL + rank)[rank < PER_CELL]

    shape = (count, CELLS, PER_CELL)
    laid = torch.zeros(count * CELLS * PER_CELL, WINDOW**2)
    laid[slot] = windows[order]
    place = torch.zeros(len(laid), 2, dtype=torch.int64)
    place[slot] = torch.stack([row, column], dim=1)[order]
    flip = torch.zeros(len(laid), dtype=torch.bool)
    flip[slot] = mirrored[order]
    used = torch.zeros(len(laid), dtype=torch.bool)
    used[slot] = True
    return Points(laid.view(*shape, -1), place.view(*shape, 2), flip.view(shape), used.view(shape))


def _band_pass(pixels: Tensor) -> Tensor:
    """Binomial filter of width 3 less one of width 5: (N, S, S) to the same; blobs of two to three pixels stand out."""
    padded = functional.pad(pixels, (2, 2, 2, 2), mode="replicate")
    narrow = _smooth(padded[:, 1:-1, 1:-1])
    return narrow - _smooth(_smooth(padded))


def _smooth(x: Tensor) -> Tensor:
    """Binomial filter of width 3; twice is width 5. Loses a pixel at each border."""
    x = 0.25 * (x[:, :-2] + x[:, 2:]) + 0.5 * x[:, 1:-1]
    return 0.25 * (x[:, :, :-2] + x[:, :, 2:]) + 0.5 * x[:, :, 1:-1]


def _highest_around(x: Tensor) -> Tensor:
    """Maximum of each neighbourhood of SPACING pixels, the border repeated: (N, S, S) to the same."""
    side = x.shape[-1]
    x = functional.pad(x, (SPACING,) * 4, mode="replicate")
    rows = x[:, :side]
    for start in range(1, 2 * SPACING + 1):
        rows = torch.maximum(rows, x[:, start : start + side])
    best = rows[:, :, :side]
    for start in range(1, 2 * SPACING + 1):
        best = torch.maximum(best, rows[:, :, start : start + side])
    return best


def _moments() -> Tensor:
    """(121, 4): right less left, lower less upper, product of both, tall less broad; tapered towards the rim."""
    axis = torch.arange(WINDOW, dtype=torch.float32) - REACH
    y, x = axis[:, None], axis[None, :]
    taper = torch.exp(-(y**2 + x**2) / (2 * (REACH / 1.5) ** 2))
    forms = [x * taper, y * taper, x * y * taper, (y**2 - x**2) * taper]
    return torch.stack([f.expand(WINDOW, WINDOW).reshape(-1) for f in forms], dim=1)


@dataclass(frozen=True)
class Whitening:
    """What turns windows into descriptors: their mean and the directions in which they vary, scaled to one spread.

    Attributes:
        mean: (16, 121) of the windows of each cell.
        basis: (121, 64).
    """

    mean: Tensor
    basis: Tensor

    @classmethod
    def fit(cls, images: FloatArray) -> Whitening:
        """Fit to (N, S, S) images of all patients together, so that no side of a split is favoured."""
        step = max(1, len(images) * 150 // FITTED_WINDOWS)
        found = points(images[::step])
        used = found.used[..., None]
        number = used.sum(dim=(0, 2)).clamp(min=1)
        mean = found.windows.sum(dim=(0, 2)) / number
        centred = (found.windows - mean[None, :, None]).masked_fill(~used, 0.0).reshape(-1, WINDOW**2)
        spread = (centred.T @ centred).double() / max(1, int(used.sum()))
        variance, direction = torch.linalg.eigh(spread)
        variance, direction = variance.flip(0), direction.flip(1)
        scale = (variance.clamp(min=0) + RIDGE * variance.mean() + 1e-12).rsqrt()
        return cls(mean, (direction * scale)[:, :DIMENSIONS].float())

    def __call__(self, found: Points) -> Tensor:
        """(N, 16, 16, 64) descriptors at unit length; zero in empty slots."""
        raw = (found.windows - self.mean[None, :, None]) @ self.basis
        return functional.normalize(raw, dim=-1).masked_fill(~found.used[..., None], 0.0)


@dataclass(frozen=True)
class Pieces:
    """Images prepared for the search.

    Attributes:
        descriptors: (16, N, 16, 64): cell, image, slot.
        place: (16, N, 16, 2). mirrored: (16, N, 16). As in :class:`Points`.
    """

    descriptors: Tensor
    place: Tensor
    mirrored: Tensor

    @classmethod
    def of(cls, images: FloatArray, whitening: Whitening, at_once: int = 64) -> Pieces:
        """Prepare (N, S, S) images, blockwise."""
        descriptors = torch.empty(CELLS, len(images), PER_CELL, whitening.basis.shape[1])
        place = torch.empty(CELLS, len(images), PER_CELL, 2, dtype=torch.int16)
        mirrored = torch.empty(CELLS, len(images), PER_CELL, dtype=torch.bool)
        for start in range(0, len(images), at_once):
            block = slice(start, start + at_once)
            found = points(images[block])
            descriptors[:, block] = whitening(found).transpose(0, 1)
            place[:, block] = found.place.transpose(0, 1).to(torch.int16)
            mirrored[:, block] = found.mirrored.transpose(0, 1)
        return cls(descriptors, place, mirrored)

    def __len__(self) -> int:
        return self.descriptors.shape[1]

    def take(self, images: Tensor) -> Pieces:
        """Some of the images."""
        return Pieces(self.descriptors[:, images], self.place[:, images], self.mirrored[:, images])


def best_cosines(probes: Pieces, gallery: Pieces) -> Iterator[tuple[slice, Tensor]]:
    """Largest cosine between a point of each probe and one of each gallery image.

    Yields:
        The slice of probes and (m, N) float32 in [0, 1].
    """
    flat = gallery.descriptors.reshape(CELLS, -1, gallery.descriptors.shape[-1]).transpose(1, 2)
    for start in range(0, len(probes), PROBES_AT_ONCE):
        block = slice(start, min(start + PROBES_AT_ONCE, len(probes)))
        best = torch.zeros(block.stop - start, len(gallery))
        for cell in range(CELLS):
            mine = probes.descriptors[cell, block].reshape(-1, flat.shape[1])
            for left in range(0, len(gallery), IMAGES_AT_ONCE):
                right = min(left + IMAGES_AT_ONCE, len(gallery))
                products = mine @ flat[cell, :, left * PER_CELL : right * PER_CELL]
                of_probe = products.view(len(best), PER_CELL, -1).amax(dim=1)
                of_image = of_probe.view(len(best), right - left, PER_CELL).amax(dim=2)
                torch.maximum(best[:, left:right], of_image, out=best[:, left:right])
        yield block, best.clamp(max=1.0)


CONSENSUS_PAIRS = 24
"""Best pairs of points per pair of images that may agree with each other."""


EVIDENCE_FLOOR = 0.5
"""Evidence that does not count: below a cosine of 0.63 neighbouring pairs of any two patients agree."""

EVIDENCE_SCALE = 10.0
"""Evidence that counts as one unit of Fisher's z: an exact pair of points has 6.4, strangers reach 6 in one of 100."""


@dataclass(frozen=True)
class Agreement:
    """The largest set of point pairs that tell of one displacement, for each pair of a probe and an image.

    Attributes:
        similarity: (n,) tanh of the summed evidence over the scale, so that Fisher's z is proportional to evidence.
        mirrored: (n,) whether the piece was mirrored.
        shift: (n, 2) where the piece went: rows down, columns to the right (mirrored: about the middle column).
        box: (n, 4) top, left, bottom, right of the windows that agree, in pixels of the probe.
    """

    similarity: Tensor
    mirrored: Tensor
    shift: Tensor
    box: Tensor


def single_evidence(cosine: Tensor) -> Tensor:
    """Similarity of one pair of points on the scale of :class:`Agreement`: the least that consensus can say."""
    return torch.tanh(_evidence(cosine) / EVIDENCE_SCALE)


def _evidence(cosine: Tensor) -> Tensor:
    """-log(1 - cosine²): proportional to the logarithm of how seldom a random direction is as near."""
    return (-torch.log1p(-(cosine.clamp(0.0, 0.9995) ** 2)) - EVIDENCE_FLOOR).clamp(min=0.0)


def agreement(probes: Pieces, row: int, gallery: Pieces, images: Tensor, side: int) -> Agreement:
    """How far the point pairs of one probe and some gallery images agree on one displacement.

    Args:
        probes, gallery: Prepared images. row: The probe. images: (n,) numbers of gallery images.
        side: Pixels on a side, S.
    """
    mine = probes.descriptors[:, row]
    theirs = gallery.descriptors[:, images].reshape(CELLS, -1, mine.shape[-1])
    # Every pair within a cell: (16, n * 16, 16), then image by image.
    products = torch.bmm(theirs, mine.transpose(1, 2)).view(CELLS, len(images), -1)
    cosine = products.transpose(0, 1).reshape(len(images), -1)
    best, at = cosine.topk(CONSENSUS_PAIRS, dim=1)
    cell, slot, own = at // PER_CELL**2, at // PER_CELL % PER_CELL, at % PER_CELL
    here = probes.place[:, row][cell, own].int()
    there = gallery.place[cell, images[:, None], slot].int()
    mirrored = probes.mirrored[:, row][cell, own] ^ gallery.mirrored[cell, images[:, None], slot]
    column = torch.where(mirrored, side - 1 - there[..., 1], there[..., 1])
    shift = here - torch.stack([there[..., 0], column], dim=-1)
    same = (shift[:, :, None] == shift[:, None]).all(dim=-1)
    agree = same & (mirrored[:, :, None] == mirrored[:, None])
    evidence = _evidence(best)
    total, chief = (agree * evidence[:, None]).sum(dim=2).max(dim=1)
    pick = torch.arange(len(images))
    members = agree[pick, chief] & (evidence > 0)
    low = here.masked_fill(~members[..., None], side).amin(dim=1) - REACH
    high = here.masked_fill(~members[..., None], 0).amax(dim=1) + REACH + 1
    similarity = torch.tanh(total / EVIDENCE_SCALE)
    return Agreement(similarity, mirrored[pick, chief], shift[pick, chief], torch.cat([low, high], dim=1))

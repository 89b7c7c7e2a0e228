"""Pieces of images: descriptors of small windows around points that a paste carries with it.

A window is described where a small band-pass filter has a local extremum that is no mere straight edge. Filter,
neighbourhood and window reach five pixels from the point, so that a pasted piece of 16 pixels brings several such
points along, unchanged, whatever surrounds it and wherever it lands. Points are compared anywhere in the other image;
nothing is lost by moving a piece.

    descriptor = window, without mean, mirrored into a canonical form, whitened, at unit length.

Gain and offset cannot be seen in it. Whitening matters most: neighbouring pixels of any two patients agree, whitened
windows of strangers are nearly orthogonal, and only the exact detail of a copy brings their cosine to one. An edge
varies otherwise than a blob, so each kind of window is whitened by itself. The canonical form (the right half of a
window is the brighter one) finds mirrored pieces at no cost. Signs of moments sort the points into cells, and only
points of one cell are compared; see :mod:`synthrelease.features.piece_search`.

Averaging destroys what is smaller than a pixel: a square of 16 pixels of a 128 px image has only 8 at 64 px, and none
of its points survive, even those of larger pieces do not where they were moved by an odd number of pixels. So large
images are searched at two resolutions: 64 px and, finer, up to 128 px.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from synthrelease.features.descriptors import at_audit_resolution

FloatArray = npt.NDArray[np.float32]

WINDOW = 11
"""Side of a described window. Nine pixels told strangers apart less well; thirteen would leave a 16 px paste 16 places."""

REACH = WINDOW // 2

DIMENSIONS = 64
RIDGE = 0.02
"""Added to the variances before whitening, as a share of their mean: how much noise is not to be amplified."""

LEAST_RESPONSE, LEAST_CONTRAST = 0.0015, 0.006
"""Weaker texture (grey range 2) is flat: a rounding to 8 bits alone has a deviation of 0.002."""


LEAST_TURN = 0.04
"""Of the structure tensor's eigenvalues, smaller over larger (Harris and Stephens 1988). Below it a window shows one
straight edge, and those of any two people can be equal: the rim of the film, a collimator's shadow. One point in thirty
is such a one. Pairs of strangers' points that look like copies have 0.01, points of planted squares 0.2."""


@dataclass(frozen=True)
class Level:
    """A resolution at which pieces are searched.

    Attributes:
        resolution: Most pixels on a side; larger images are area-averaged, smaller ones stay as they are.
        spacing: A point is an extremum within this many pixels; with the filter's two they stay inside the window.
        signs: Of the moments that name a cell; the number of cells doubles with each.
        kinds: Signs, of the first of these, that name a kind of window with a whitening of its own.
        fitted: Windows that whitening is fitted to, about.
        agreed: Evidence of a pair that does not add up with that of others. Points along one straight edge are all a
            little alike, and no more for being many; one of a copy keeps most of its evidence.
    """

    resolution: int
    spacing: int
    signs: int
    kinds: int
    fitted: int
    agreed: float

    @property
    def cells(self) -> int:
        """How many."""
        return int(2**self.signs)


COARSE = Level(resolution=64, spacing=1, signs=6, kinds=4, fitted=60_000, agreed=1.0)
"""About 280 points an image of 64 px, in 64 cells."""

FINE = Level(resolution=128, spacing=1, signs=10, kinds=8, fitted=150_000, agreed=1.0)
"""About 1,200 points an image of 128 px, in 1,024 cells: the pairs compared are not many more than at 64 px."""


def levels(height: int, width: int) -> tuple[Level, ...]:
    """At which resolutions images of this size are searched.

    >>> len(levels(64, 80)), len(levels(128, 128))
    (1, 2)
    """
    return (COARSE,) if min(height, width) <= COARSE.resolution else (COARSE, FINE)


def at_level(images: FloatArray, level: Level) -> FloatArray:
    """Area-average images to a level: (N, 1, H, W) in [-1, 1] to (N, S, S) with S = min(H, W, resolution)."""
    return at_audit_resolution(images, level.resolution)


def least_piece(height: int, width: int) -> float:
    """Smallest square piece that holds windows at several places, as a share of the side: 13 pixels at most 128.

    >>> least_piece(64, 64), least_piece(512, 512), least_piece(32, 32)
    (0.203125, 0.1015625, 0.40625)
    """
    return (WINDOW + 2) / min(height, width, FINE.resolution)


@dataclass(frozen=True)
class Points:
    """K points of some images, image by image.

    Attributes:
        windows: (K, 121) windows in canonical form, without mean, at unit length.
        image: (K,) number of the image. place: (K, 2) row and column of the centre.
        mirrored: (K,) whether the canonical form is the mirror image. cell: (K,) below the level's number of cells.
    """

    windows: Tensor
    image: Tensor
    place: Tensor
    mirrored: Tensor
    cell: Tensor

    def __len__(self) -> int:
        return len(self.image)


Description = Callable[[Points], Tensor]
"""(K, D) unit vectors of points; zero for a point that is like nobody."""


def points(images: FloatArray, level: Level) -> Points:
    """Find the points of (N, S, S) images; S at least 11. About 2 kB a point: a few hundred images at a time."""
    pixels = torch.from_numpy(np.ascontiguousarray(images, dtype=np.float32))
    side = pixels.shape[-1]
    response = _band_pass(pixels)
    peak = _highest_around(response, level.spacing) == response
    pit = _highest_around(-response, level.spacing) == -response
    inside = torch.zeros(side, side, dtype=torch.bool)
    inside[REACH : side - REACH, REACH : side - REACH] = True
    found = ((peak & (response > 0)) | (pit & (response < 0))) & (response.abs() > LEAST_RESPONSE) & inside
    image, row, column = found.nonzero(as_tuple=True)

    offset = (torch.arange(WINDOW)[:, None] * side + torch.arange(WINDOW)).reshape(-1)
    corner = image * side * side + (row - REACH) * side + (column - REACH)
    windows = pixels.reshape(-1)[corner[:, None] + offset]
    windows = windows - windows.mean(dim=1, keepdim=True)
    length = windows.norm(dim=1)
    clear = (length > LEAST_CONTRAST * WINDOW) & (_turn(windows) > LEAST_TURN)
    image, row, column = image[clear], row[clear], column[clear]
    windows = windows[clear] / length[clear, None]

    moments = _moments()[:, : level.signs]
    mirrored = windows @ moments[:, 0] < 0
    windows = torch.where(mirrored[:, None], windows.view(-1, WINDOW, WINDOW).flip(2).reshape(-1, WINDOW**2), windows)
    bright = response[image, row, column] > 0
    signs = torch.cat([bright[:, None], windows @ moments[:, 1:] > 0], dim=1)
    cell = (signs.long() << torch.arange(level.signs)).sum(dim=1)
    return Points(windows, image, torch.stack([row, column], dim=1), mirrored, cell)


def _band_pass(pixels: Tensor) -> Tensor:
    """Binomial filter of width 3 less one of width 5: (N, S, S) to the same; blobs of two to three pixels stand out."""
    padded = functional.pad(pixels, (2, 2, 2, 2), mode="replicate")
    narrow = _smooth(padded[:, 1:-1, 1:-1])
    return narrow - _smooth(_smooth(padded))


def _smooth(x: Tensor) -> Tensor:
    """Binomial filter of width 3; twice is width 5. Loses a pixel at each border."""
    x = 0.25 * (x[:, :-2] + x[:, 2:]) + 0.5 * x[:, 1:-1]
    return 0.25 * (x[:, :, :-2] + x[:, :, 2:]) + 0.5 * x[:, :, 1:-1]


def _turn(windows: Tensor) -> Tensor:
    """(K, 121) to (K,): how much grey changes across its main direction of change, from 0 (an edge) to 1 (a corner)."""
    square = windows.view(-1, WINDOW, WINDOW)
    across, down = (square[:, 1:-1, 2:] - square[:, 1:-1, :-2]), (square[:, 2:, 1:-1] - square[:, :-2, 1:-1])
    horizontal, vertical, mixed = ((a * b).sum(dim=(1, 2)) for a, b in ((across, across), (down, down), (across, down)))
    total = horizontal + vertical
    split = ((horizontal - vertical) ** 2 + 4 * mixed**2).sqrt()
    return (total - split) / (total + split).clamp(min=1e-12)


def _highest_around(x: Tensor, spacing: int) -> Tensor:
    """Maximum of each neighbourhood of ``spacing`` pixels, the border repeated: (N, S, S) to the same."""
    side = x.shape[-1]
    x = functional.pad(x, (spacing,) * 4, mode="replicate")
    rows = x[:, :side]
    for start in range(1, 2 * spacing + 1):
        rows = torch.maximum(rows, x[:, start : start + side])
    best = rows[:, :, :side]
    for start in range(1, 2 * spacing + 1):
        best = torch.maximum(best, rows[:, :, start : start + side])
    return best


def _moments() -> Tensor:
    """(121, 10) of the first four orders, tapered towards the rim; the first is right less left.

    The second to fourth (lower less upper, the product of both, tall less broad) tell most and change least.
    """
    axis = torch.arange(WINDOW, dtype=torch.float32) - REACH
    y, x = axis[:, None].expand(WINDOW, WINDOW), axis[None, :].expand(WINDOW, WINDOW)
    square = y**2 + x**2
    taper = torch.exp(-square / (2 * (REACH / 1.5) ** 2))
    # So that the third order's ramps are at right angles to the first's.
    ring = square - (square * taper * x**2).sum() / (taper * x**2).sum()
    forms = [x, y, x * y, y**2 - x**2]
    forms += [x * (x**2 - 3 * y**2), y * (3 * x**2 - y**2), x * ring, y * ring]
    forms += [x**4 - 6 * x**2 * y**2 + y**4, x * y * (x**2 - y**2)]
    return torch.stack([(form * taper).reshape(-1) for form in forms], dim=1)


SHRUNK_BY = 300.0
"""Windows that the pooled spread counts as, beside a kind's own."""


@dataclass(frozen=True)
class Whitening:
    """What turns windows into descriptors: for each kind, its mean and its directions, scaled to one spread.

    Attributes:
        mean: (kinds, 121). basis: (kinds, 121, 64).
    """

    mean: Tensor
    basis: Tensor

    @classmethod
    def fit(cls, images: FloatArray, level: Level) -> Whitening:
        """Fit to (N, S, S) images of all patients together, in random order, so that no side of a split is favoured."""
        found: list[Points] = []
        total = 0
        # In blocks, until there are enough windows.
        for start in range(0, len(images), 16):
            found.append(points(images[start : start + 16], level))
            total += len(found[-1])
            if total >= level.fitted:
                break
        windows = torch.cat([each.windows for each in found])
        kinds = 2**level.kinds
        kind = torch.cat([each.cell for each in found]) % kinds
        number = torch.bincount(kind, minlength=kinds)
        # As if each kind had a few windows more of mean zero.
        mean = torch.zeros(kinds, WINDOW**2).index_add_(0, kind, windows) / (number[:, None] + 10.0)
        centred = windows - mean[kind]
        pooled = (centred.T @ centred).double() / max(1, len(centred))
        ordered = torch.split(centred[kind.argsort(stable=True)], number.tolist())
        basis = [_whitener(((x.T @ x).double() + SHRUNK_BY * pooled) / (len(x) + SHRUNK_BY)) for x in ordered]
        return cls(mean, torch.stack(basis))

    def __call__(self, found: Points) -> Tensor:
        """(K, 64) descriptors at unit length."""
        kind = found.cell % len(self.mean)
        order = kind.argsort(stable=True)
        number = torch.bincount(kind, minlength=len(self.mean))
        raw = torch.zeros(len(found), self.basis.shape[2])
        for k, rows in enumerate(torch.split(order, number.tolist())):
            if len(rows):
                raw[rows] = (found.windows[rows] - self.mean[k]) @ self.basis[k]
        return functional.normalize(raw, dim=-1)


def _whitener(spread: Tensor) -> Tensor:
    """(121, 64) leading directions of a spread, each scaled to variance one."""
    variance, direction = torch.linalg.eigh(spread)
    variance, direction = variance.flip(0), direction.flip(1)
    scale = (variance.clamp(min=0) + RIDGE * variance.mean() + 1e-12).rsqrt()
    basis: Tensor = (direction * scale)[:, :DIMENSIONS].float()
    return basis

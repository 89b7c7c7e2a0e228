"""Which pieces of which images agree: pairs of like points, and how many of them tell of one displacement.

Points of one cell are compared, all with all, in blocks of matrix products; only pairs whose evidence counts are kept,
and those are few. Evidence is -log(1 - cosine²), proportional to the logarithm of how seldom a random direction is as
near. Pairs of two images that moved by the same number of pixels, mirrored alike, add up.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from synthrelease.features.patches import REACH, Description, FloatArray, Level, Points, points

MOST_FLOOR = 1.0
"""Evidence that never counts as nothing by more: a cosine of 0.8."""

USUAL = 2e-4
"""Share of the pairs of strangers' points whose evidence counts: each image has some such pairs with any other fifty,
so that what strangers reach can be told, and their number stays small."""

EVIDENCE_CEILING = 9.2
"""Evidence of identical windows: what rounding to single precision leaves of it, and of half precision on one side."""

EVIDENCE_SCALE = 10.0
"""Evidence that counts as one unit of Fisher's z: an exact pair of points has 8.2, strangers reach 3 in one of 100."""

PROBES_AT_ONCE, POINTS_AT_ONCE = 512, 1024
"""Points in blocks whose products (2 MB) stay in the processor's cache."""


@dataclass(frozen=True)
class Pieces:
    """Images prepared for the search: their points, cell by cell.

    Attributes:
        descriptors: (K, D) in half precision, cells in order, within a cell images in order.
        image: (K,) int32. place: (K, 2) int16. mirrored: (K,). As in :class:`Points`.
        starts: (cells + 1,) first point of each cell.
        count: N, how many images. side: S, of these, in pixels. level: At which they were prepared.
    """

    descriptors: Tensor
    image: Tensor
    place: Tensor
    mirrored: Tensor
    starts: tuple[int, ...]
    count: int
    side: int
    level: Level

    @classmethod
    def of(cls, images: FloatArray, level: Level, describe: Description, at_once: int = 64) -> Pieces:
        """Prepare (N, S, S) images, blockwise: 150 bytes a point stay."""
        return cls.each(images, level, (describe,), at_once)[0]

    @classmethod
    def each(
        cls, images: FloatArray, level: Level, descriptions: Sequence[Description], at_once: int = 64
    ) -> tuple[Pieces, ...]:
        """The same under several descriptions of points that are found once."""
        blocks: list[tuple[Tensor, ...]] = []
        for start in range(0, len(images), at_once):
            found: Points = points(images[start : start + at_once], level)
            where = ((found.image + start).int(), found.place.short(), found.mirrored, found.cell)
            blocks.append((*where, *(describe(found).half() for describe in descriptions)))
        image, place, mirrored, cell, *described = (torch.cat(each) for each in zip(*blocks, strict=True))
        order = cell.argsort(stable=True)
        starts = tuple(torch.searchsorted(cell[order], torch.arange(level.cells + 1)).tolist())
        image, place, mirrored = image[order], place[order], mirrored[order]
        return tuple(
            cls(descriptors[order], image, place, mirrored, starts, len(images), images.shape[-1], level)
            for descriptors in described
        )


@dataclass(frozen=True)
class Pairs:
    """P pairs of like points, one of a probe and one of a gallery image.

    Attributes:
        probe, image: (P,) numbers of the images. cosine: (P,). evidence: (P,) above the floor.
        here: (P, 2) row and column in the probe. shift: (P, 2) where the point went: rows down, columns to the right.
        mirrored: (P,) whether one is the other's mirror image; columns are then counted about the middle one.
    """

    probe: Tensor
    image: Tensor
    cosine: Tensor
    evidence: Tensor
    here: Tensor
    shift: Tensor
    mirrored: Tensor

    def take(self, which: Tensor) -> Pairs:
        """Some of the pairs."""
        return Pairs(
            *(
                x[which]
                for x in (self.probe, self.image, self.cosine, self.evidence, self.here, self.shift, self.mirrored)
            )
        )


def evidence(cosine: Tensor) -> Tensor:
    """-log(1 - cosine²), from 0 to the ceiling."""
    return -(1.0 - cosine.clamp(0.0, 1.0) ** 2).clamp(min=math.exp(-EVIDENCE_CEILING)).log()


LOOKED_AT = 4_000_000
"""Pairs that tell what strangers' points usually reach."""


def usual_evidence(gallery: Pieces, owner: Tensor, most: float = MOST_FLOOR) -> float:
    """Evidence that few pairs of points of different patients exceed, at most ``most``: the floor of the search.

    Learned from patients of both sides alike.

    Args:
        owner: (N,) patient of each gallery image.
    """
    cells = [slice(a, b) for a, b in pairwise(gallery.starts) if b > a]
    each = max(2, int((LOOKED_AT / max(1, len(cells))) ** 0.5))
    seen = []
    for cell in cells:
        few = slice(cell.start, cell.stop, -(-(cell.stop - cell.start) // each))
        some, patient = gallery.descriptors[few].float(), owner[gallery.image[few].long()]
        seen.append((some @ some.T)[patient[:, None] != patient])
    products = torch.cat([torch.zeros(1), *seen])
    kept = max(1, round(USUAL * len(products)))
    return float(evidence(products.topk(kept).values[-1]).clamp(max=most))


def like_points(probes: Pieces, gallery: Pieces, floor: float) -> Pairs:
    """All pairs of points of one cell with evidence above ``floor``; both prepared at one level."""
    least = math.sqrt(1.0 - math.exp(-floor))
    found = [_in_cell(probes, gallery, cell, least) for cell in range(len(probes.starts) - 1)]
    blocks = [block for cell in found for block in cell]
    mine, theirs, cosine = (
        (torch.cat(each) for each in zip(*blocks, strict=True))
        if blocks
        else (torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.int64), torch.zeros(0))
    )
    here, there = probes.place[mine].int(), gallery.place[theirs].int()
    mirrored = probes.mirrored[mine] ^ gallery.mirrored[theirs]
    column = torch.where(mirrored, gallery.side - 1 - there[:, 1], there[:, 1])
    shift = here - torch.stack([there[:, 0], column], dim=1)
    own, other = probes.image[mine].long(), gallery.image[theirs].long()
    return Pairs(own, other, cosine, (evidence(cosine) - floor).clamp(min=0.0), here, shift, mirrored)


def _in_cell(probes: Pieces, gallery: Pieces, cell: int, least: float) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Positions of points and their cosines, block by block."""
    first, last = probes.starts[cell], probes.starts[cell + 1]
    if first == last:
        return
    mine = probes.descriptors[first:last].float()
    for left in range(gallery.starts[cell], gallery.starts[cell + 1], POINTS_AT_ONCE):
        right = min(left + POINTS_AT_ONCE, gallery.starts[cell + 1])
        theirs = gallery.descriptors[left:right].float().T
        for top in range(0, last - first, PROBES_AT_ONCE):
            products = mine[top : top + PROBES_AT_ONCE] @ theirs
            # Few rows have any: their maxima cost less than looking at every product.
            rows = (products.amax(dim=1) > least).nonzero()[:, 0]
            if len(rows):
                own, other = (products[rows] > least).nonzero(as_tuple=True)
                yield rows[own] + first + top, other + left, products[rows[own], other]


@dataclass(frozen=True)
class Agreement:
    """Pairs of two images that tell of one displacement.

    Attributes:
        group: (P,) which group a pair belongs to. total: (G,) summed evidence. probe, image: (G,) of which images.
    """

    group: Tensor
    total: Tensor
    probe: Tensor
    image: Tensor

    @classmethod
    def of(cls, pairs: Pairs, gallery: Pieces) -> Agreement:
        """Group the pairs of any probes and this gallery."""
        side, images = gallery.side, gallery.count
        span = 2 * side
        moved = (pairs.mirrored.long() * span + pairs.shift[:, 0] + side) * span + pairs.shift[:, 1] + side
        told = (pairs.probe * images + pairs.image) * (2 * span**2) + moved
        key, group = (torch.from_numpy(x) for x in np.unique(told.numpy(), return_inverse=True))
        total = torch.zeros(len(key)).index_add_(0, group, (pairs.evidence - gallery.level.agreed).clamp(min=0.0))
        both = key // (2 * span**2)
        return cls(group, total, both // images, both % images)


def likeness(pairs: Pairs, agreement: Agreement, probes: int, column: Tensor, columns: int) -> FloatArray:
    """Best single pair and best agreement of each probe with each patient.

    Args:
        probes: m, how many. column: (N,) patient of each gallery image. columns: P, patients.

    Returns:
        (2, m, P) tanh of the evidence over the scale, so that Fisher's z is proportional to evidence.
    """
    best = torch.zeros(2, probes * columns)
    best[0].scatter_reduce_(0, pairs.probe * columns + column[pairs.image], pairs.evidence, "amax")
    best[1].scatter_reduce_(0, agreement.probe * columns + column[agreement.image], agreement.total, "amax")
    return np.asarray((best / EVIDENCE_SCALE).tanh().view(2, probes, columns).numpy())


@dataclass(frozen=True)
class Sight:
    """The best agreement of one probe.

    Attributes:
        image: Of the gallery. evidence: Summed. cosine: Of its best pair. mirrored: Whether the piece was.
        shift: Rows down and columns to the right that it went.
        box: Top, left, bottom, right of the windows that agree, in pixels of the probe.
    """

    image: int
    evidence: float
    cosine: float
    mirrored: bool
    shift: tuple[int, int]
    box: tuple[int, int, int, int]

    @classmethod
    def best(cls, pairs: Pairs, agreement: Agreement) -> Sight | None:
        """Of the pairs of one probe; None when there are none."""
        if not len(pairs.cosine):
            return None
        chief = int(agreement.total.argmax())
        members = pairs.take((agreement.group == chief).nonzero()[:, 0])
        low, high = members.here.amin(dim=0) - REACH, members.here.amax(dim=0) + REACH + 1
        down, across = (int(v) for v in members.shift[0])
        return cls(
            int(agreement.image[chief]),
            float(agreement.total[chief]),
            min(1.0, float(members.cosine.max())),
            bool(members.mirrored[0]),
            (down, across),
            (int(low[0]), int(low[1]), int(high[0]), int(high[1])),
        )

"""Descriptors that make a copied mask findable after it was moved, mirrored, turned or made one pixel wider.

A mask is laid into a window by its own bounding box, so that where it lay no longer counts (or left where it lay, when
place is part of the question). The window's cosine coefficients, weighted by their frequency, at unit length, are the
descriptor; then

    dot product of two descriptors = correlation of the two outlines, high-passed.

Masks of one organ overlap almost wholly whoever they belong to, and so do their distance maps: the slow coefficients
agree for everybody. The weight flattens the 1/f spectrum of an edge, so that what is compared is where the outline
leaves the usual one. Measured at 64 px with strangers of chest, tumour and lesion masks: exact copies stand as far
from strangers as with signed distance maps, ragged ones farther, and no distance transform has to be computed.

Turning and mirroring cost nothing: the four mirror images of a window differ in the signs of its odd coefficients, a
transposed one in their order. A gallery holds each mask also one pixel wider, by cross and by square. A probe that
touches the frame may have been cut there when it was moved; it is also laid by its other edges, in a smaller window that
leaves the cut outside.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from scipy.optimize import isotonic_regression, minimize
from scipy.special import expit

from synthrelease.features.descriptors import unit_length

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]

SHAPE_RESOLUTION = 64
"""Pixels on a side at which outlines are compared; larger masks are area-averaged, smaller ones stay as they are."""

FREQUENCIES = 24
"""Cosine frequencies per axis that a descriptor keeps, even. Of 16 and 24, 24 tells small tumours apart better."""

MARGIN = 2
"""Background kept around a mask in its window, in pixels."""

CHANCE = 0.01
"""A shape that more than one stranger in a hundred has as well says nothing of a person."""

USUAL_CHANCE = (4.4, -1.3)
"""Level and slope that :class:`SharedShapes` has for 600 tumour outlines of brain slices at 64 px. Where few small masks
were seen, none shared may be luck; chance is never taken to be less than there."""

SAME_PICTURE = 0.95
"""Correlation from which on two images are one picture."""

LEAST_SHAPES = 30
"""Masks of real patients below which nobody can say which shapes strangers share."""

_LOW, _CENTRE, _HIGH = -1, 0, 1
_Anchor = tuple[int, int]
_ANCHORS = tuple((r, c) for r in (_LOW, _CENTRE, _HIGH) for c in (_LOW, _CENTRE, _HIGH) if (r, c) != (_CENTRE, _CENTRE))
"""Ways to lay a mask by an edge: rows, columns."""


def at_shape_resolution(masks: FloatArray) -> BoolArray:
    """Binary masks at the resolution of the comparison.

    Args:
        masks: (N, K, H, W) coverage in [0, 1].

    Returns:
        (N, K, S, S) with S = min(H, W, 64): where coverage is at least one half.
    """
    side = min(masks.shape[-2], masks.shape[-1], SHAPE_RESOLUTION)
    if masks.shape[-2:] != (side, side):
        stack = torch.from_numpy(np.ascontiguousarray(masks, dtype=np.float32))
        masks = torch.nn.functional.adaptive_avg_pool2d(stack, side).numpy()
    return np.asarray(masks >= 0.5)


def widened(outlines: BoolArray) -> list[BoolArray]:
    """Masks (N, K, S, S) one pixel wider: by the four neighbours, and by all eight."""
    up, down = np.zeros_like(outlines), np.zeros_like(outlines)
    up[..., :-1, :], down[..., 1:, :] = outlines[..., 1:, :], outlines[..., :-1, :]
    column = outlines | up | down
    cross, square = column.copy(), column.copy()
    for wide, narrow in ((cross, outlines), (square, column)):
        wide[..., 1:] |= narrow[..., :-1]
        wide[..., :-1] |= narrow[..., 1:]
    return [cross, square]


@dataclass(frozen=True)
class SharedShapes:
    """How often real strangers have one and the same shape, by its area.

    Small masks are equal by accident: at 64 px, one in four of up to 20 px equals some stranger's.

    Attributes:
        least_area: Pixels, over all segments, from which on fewer than one stranger in a hundred has a shape that another
            has as well (isotonic regression on the area); infinite: no size is telling, or there are fewer than 30 masks.
        in_place: Whether shapes counted as equal only at the same place.
        level, slope: Of the logistic regression of "another has it" on the root of the area, which is about how long the
            outline is: the number of shapes grows exponentially with it. A level of minus infinity: none was shared.
    """

    least_area: float
    in_place: bool = False
    level: float = -np.inf
    slope: float = 0.0

    @classmethod
    def of(
        cls, outlines: BoolArray, patient: IntArray, pictures: FloatArray, *, in_place: bool = False
    ) -> SharedShapes:
        """Count shapes that two patients share though their pictures differ (a picture filed twice is no chance).

        Args:
            outlines: (N, K, S, S) masks of real patients of both sides. patient: (N,) whose they are.
            pictures: (N, D) the images they belong to. in_place: Count shapes as equal only at the same place.
        """
        area = outlines.sum(axis=(1, 2, 3))
        seen = np.flatnonzero(area)
        if len(seen) < LEAST_SHAPES:
            return cls(float("inf"))
        groups: dict[bytes, list[int]] = {}
        for i in seen:
            groups.setdefault(_key(outlines[i], in_place), []).append(int(i))
        shared = np.zeros(len(outlines))
        for group in (np.array(g) for g in groups.values() if len(g) > 1):
            centred = unit_length(pictures[group] - pictures[group].mean(axis=1, keepdims=True))
            alike = np.abs(centred @ centred.T) > SAME_PICTURE
            strangers = np.not_equal.outer(patient[group], patient[group])
            shared[group] = np.any(strangers & ~alike, axis=1)
        seen = seen[np.argsort(area[seen], kind="stable")]
        telling = np.asarray(isotonic_regression(shared[seen], increasing=False).x) < CHANCE
        least = float(area[seen][telling].min()) if telling.any() else float("inf")
        return cls(least, in_place, *_logistic(np.sqrt(area[seen].astype(np.float64)), shared[seen]))

    def chance(self, area: npt.NDArray[np.integer]) -> npt.NDArray[np.float64]:
        """(N,) estimated probability that a shape of that area is some stranger's as well."""
        root = np.sqrt(area.astype(np.float64))
        level, slope = USUAL_CHANCE
        usual = np.zeros_like(root) if self.in_place else expit(level + slope * root)
        return np.asarray(np.maximum(usual, expit(self.level + self.slope * root)), dtype=np.float64)


def _logistic(x: npt.NDArray[np.float64], hit: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Level and falling slope of P(hit | x) = expit(level + slope x); one more hit is assumed where the last one was."""
    if not hit.any():
        return -np.inf, 0.0
    x, hit = np.append(x, x[hit > 0].max()), np.append(hit, 1.0)

    def loss(values: npt.NDArray[np.float64]) -> float:
        score = values[0] + values[1] * (x - x.mean())
        return float(np.logaddexp(0.0, score).sum() - hit @ score)

    level, slope = minimize(loss, np.array([0.0, -0.1]), method="L-BFGS-B", bounds=[(-30, 30), (-20, 0)]).x
    return float(level - slope * x.mean()), float(slope)


def _key(outline: BoolArray, in_place: bool) -> bytes:
    """The same bytes for the same masks (K, S, S), turned and mirrored as they may be."""
    if not in_place:
        rows, columns = (np.flatnonzero(outline.any(axis=axes)) for axes in ((0, 2), (0, 1)))
        outline = outline[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    turned = (np.rot90(outline, turns, axes=(1, 2)) for turns in range(4))
    return min(bytes(str(v.shape), "ascii") + np.packbits(v).tobytes() for t in turned for v in (t, t[:, :, ::-1]))


def _edges(outlines: BoolArray, axis: int) -> tuple[IntArray, IntArray]:
    """First row (axis 0) or column (axis 1) of each (K, S, S) and the one after its last; empty masks fill the frame."""
    present = np.asarray(outlines.any(axis=(1, 3) if axis == 0 else (1, 2)))
    side = present.shape[1]
    first, last = present.argmax(axis=1), side - present[:, ::-1].argmax(axis=1)
    return first.astype(np.int64), last.astype(np.int64)


def _windows(outlines: BoolArray, anchor: _Anchor, sides: tuple[int, int]) -> FloatArray:
    """Masks (N, K, S, S) read in windows of ``sides`` that lie by the masks' box; half a pixel is interpolated."""
    index = []
    for axis in (0, 1):
        first, last = _edges(outlines, axis)
        if anchor[axis] == _CENTRE:
            twice = first + last - sides[axis]
        else:
            twice = 2 * (first - MARGIN if anchor[axis] == _LOW else last + MARGIN - sides[axis])
        index.append((twice // 2, twice % 2))
    reach = max(sides) + MARGIN + 1
    low, high = reach, reach + outlines.shape[-1]
    scratch = np.zeros((outlines.shape[1], high + reach, high + reach), dtype=np.float32)
    read = np.zeros((*outlines.shape[:2], *sides), dtype=np.float32)
    (tops, rows_half), (lefts, columns_half) = index
    for i, outline in enumerate(outlines):
        scratch[:, low:high, low:high] = outline
        top, left = int(tops[i]) + reach, int(lefts[i]) + reach
        # An odd box in an even window lies on half a pixel: the mean of two readings, so that mirroring commutes.
        steps = [(down, right) for down in range(1 + rows_half[i]) for right in range(1 + columns_half[i])]
        for down, right in steps:
            read[i] += scratch[:, top + down : top + down + sides[0], left + right : left + right + sides[1]]
        read[i] /= len(steps)
    return read


def _axis(side: int, kept: int) -> FloatArray:
    """Orthonormal DCT-II functions of one axis, (side, kept)."""
    grid = (np.arange(side) + 0.5) * np.pi / side
    axis = np.cos(np.outer(grid, np.arange(kept))) * np.sqrt(2.0 / side)
    axis[:, 0] /= np.sqrt(2.0)
    return np.asarray(axis, dtype=np.float32)


def _coefficients(windows: FloatArray) -> FloatArray:
    """(N, K, R, C) windows to (N, K, F, F) weighted coefficients, each segment at unit length; an empty one is zero."""
    kept = min(FREQUENCIES, min(windows.shape[-2:]) // 2 * 2)
    u, v = np.meshgrid(np.arange(kept), np.arange(kept), indexing="ij")
    rows, columns = _axis(windows.shape[-2], kept), _axis(windows.shape[-1], kept)
    found = np.matmul(rows.T, np.matmul(windows, columns)) * np.hypot(u, v).astype(np.float32)
    length = np.linalg.norm(found, axis=(-2, -1), keepdims=True)
    return np.asarray(found / np.maximum(length, 1e-6), dtype=np.float32)


def _joint(coefficients: FloatArray) -> FloatArray:
    """All segments together at unit length: (N, K, F, F), divided by the root of how many are there."""
    there = np.any(coefficients != 0, axis=(-2, -1)).sum(axis=1)
    return np.asarray(coefficients / np.sqrt(np.maximum(there, 1))[:, None, None, None], dtype=np.float32)


def _by_parity(coefficients: FloatArray) -> FloatArray:
    """(N, K, F, F) to (4, N, D): even-even, even-odd, odd-even, odd-odd coefficients of all segments."""
    parts = [coefficients[:, :, row::2, column::2] for row in (0, 1) for column in (0, 1)]
    return np.stack([np.ascontiguousarray(part).reshape(len(part), -1) for part in parts])


@dataclass(frozen=True, eq=False)
class ShapeGallery:
    """Masks of real patients, prepared for the comparison.

    Attributes:
        variants: Outlines (N, K, S, S): as they are, and one pixel wider in two ways.
        in_place: Masks stay where they lie in the frame, but for turning and mirroring the frame as a whole.
        side: Of the window, pixels.
        parities: For each variant, (4, N, D) coefficients by parity.
        anchored: (N, D) coefficients of each variant laid by other edges, made when a probe asks for them.
    """

    variants: tuple[BoolArray, ...]
    in_place: bool
    side: int
    parities: tuple[FloatArray, ...]
    anchored: dict[_Anchor, list[FloatArray]] = field(default_factory=dict)

    @classmethod
    def of(cls, outlines: BoolArray, *, in_place: bool = False) -> ShapeGallery:
        """Prepare masks (N, K, S, S); empty ones are like nothing.

        The window holds the box of 95 masks in a hundred.
        """
        frame = outlines.shape[-1]
        side = frame
        if not in_place:
            there = outlines[outlines.any(axis=(1, 2, 3))]
            boxes = [last - first for first, last in (_edges(there, axis) for axis in (0, 1))] if len(there) else []
            longest = float(np.quantile(np.maximum(*boxes), 0.95)) if len(there) else frame
            side = min(frame, 2 * int(np.ceil(longest / 2.0)) + 2 * MARGIN)
        variants = (outlines, *widened(outlines))
        read = [cls._read(variant, in_place, side) for variant in variants]
        return cls(variants, in_place, side, tuple(_by_parity(_joint(_coefficients(each))) for each in read))

    @staticmethod
    def _read(outlines: BoolArray, in_place: bool, side: int) -> FloatArray:
        if in_place:
            return outlines.astype(np.float32)
        return _windows(outlines, (_CENTRE, _CENTRE), (side, side))

    def similarity(self, probes: BoolArray) -> FloatArray:
        """Correlation of outlines, over all eight orientations and the widths of the gallery.

        Args:
            probes: (M, K, S, S), a few hundred at once.

        Returns:
            (M, N) float32 in [0, 1].
        """
        best = self._turned(probes)
        if not self.in_place and probes.shape[1] == 1:
            self._cut(probes, best)
        return np.clip(best, 0.0, 1.0)

    def _turned(self, probes: BoolArray) -> FloatArray:
        upright = _joint(_coefficients(self._read(probes, self.in_place, self.side)))
        best = np.zeros((len(probes), self.parities[0].shape[1]), dtype=np.float32)
        for probe in (upright, upright.swapaxes(-2, -1)):
            ours = _by_parity(probe)
            for theirs in self.parities:
                ee, eo, oe, oo = (mine @ other.T for mine, other in zip(ours, theirs, strict=True))
                # Mirroring changes the sign of odd coefficients: the four sums, of which the largest counts.
                np.maximum(best, ee + eo + np.abs(oe + oo), out=best)
                np.maximum(best, ee - eo + np.abs(oe - oo), out=best)
        return best

    def _cut(self, probes: BoolArray, best: FloatArray) -> None:
        """Raise ``best`` for probes that touch the frame, by their uncut edges."""
        frame = probes.shape[-1]
        there = probes.any(axis=(1, 2, 3))
        for turns in range(8):
            turned = np.rot90(probes, turns % 4, axes=(2, 3))
            turned = turned[..., ::-1] if turns >= 4 else turned
            sides = []
            for axis in (0, 1):
                first, last = _edges(turned, axis)
                sides.append(np.where(first == 0, _HIGH, _CENTRE) + np.where(last == frame, _LOW, _CENTRE))
            for anchor in _ANCHORS:
                rows = np.flatnonzero((sides[0] == anchor[0]) & (sides[1] == anchor[1]) & there)
                if len(rows):
                    ours = self._laid(turned[rows], anchor)
                    for theirs in self._gallery_laid(anchor):
                        best[rows] = np.maximum(best[rows], ours @ theirs.T)

    def _gallery_laid(self, anchor: _Anchor) -> list[FloatArray]:
        if anchor not in self.anchored:
            self.anchored[anchor] = [self._laid(variant, anchor) for variant in self.variants]
        return self.anchored[anchor]

    def _laid(self, outlines: BoolArray, anchor: _Anchor) -> FloatArray:
        smaller = max(4, self.side * 2 // 3 // 2 * 2)
        sizes = (self.side if anchor[0] == _CENTRE else smaller, self.side if anchor[1] == _CENTRE else smaller)
        return _joint(_coefficients(_windows(outlines, anchor, sizes))).reshape(len(outlines), -1)

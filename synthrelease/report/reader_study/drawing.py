"""Which images a reader sees, and in which order.

real: one image a patient, so that nobody recognises a person
both kinds have the same classes, as near to equal shares as the images allow
the order is random; an image that is shown twice comes again at a distance
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from synthrelease.errors import UnsuitableData, UsageError

APART = 1 / 4
"""An image comes again after at least this share of the series."""

LEAST = 10
"""Images of a study; fewer say nothing."""

_TRIES = 400


@dataclass(frozen=True)
class Pool:
    """Images of one kind to draw from.

    Attributes:
        labels: (n,) class index of each.
        groups: (n,) who it is of: of images with one number at most one is drawn.
    """

    labels: npt.NDArray[np.int64]
    groups: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Shown:
    """One place of the series.

    Attributes:
        synthetic: Kind.
        index: Of the image in its pool.
        repeat_of: Place, from 0, at which it was shown first; None at the first time.
    """

    synthetic: bool
    index: int
    repeat_of: int | None = None


def draw_series(real: Pool, synthetic: Pool, images: int, repeats: int, rng: np.random.Generator) -> tuple[Shown, ...]:
    """A series of as many real as synthetic images in random order, some of them twice.

    Args:
        real: Real images.
        synthetic: Synthetic images.
        images: Different images, an even number; half of each kind.
        repeats: Images that come a second time, half of each kind.
        rng: Of draw and order.

    Returns:
        images + repeats places.

    Raises:
        UsageError: Numbers that do not go together.
        UnsuitableData: Too few images of people, or too few of a class on one side.
    """
    if images < LEAST or images % 2 or not 0 <= repeats <= images // 2 or repeats % 2:
        raise UsageError(
            f"a study of {images} images, {repeats} of them twice",
            fix=f"Take an even number of images, {LEAST} or more, and an even number of repeats, half of it at most.",
        )
    half = images // 2
    ways = [_one_each(real, rng), _one_each(synthetic, rng)]
    shares = _shares([np.bincount(pool.labels[way]) for pool, way in zip((real, synthetic), ways, strict=True)], half)
    chosen: list[Shown] = []
    for kind, (pool, way) in enumerate(zip((real, synthetic), ways, strict=True)):
        for label, count in enumerate(shares):
            of_class = way[pool.labels[way] == label]
            chosen += [Shown(bool(kind), int(index)) for index in rng.permutation(of_class)[:count]]
    again = [*rng.choice(half, repeats // 2, replace=False), *(half + rng.choice(half, repeats // 2, replace=False))]
    return _ordered(chosen, [int(place) for place in again], rng)


def _one_each(pool: Pool, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """One image of each group, at random."""
    order = rng.permutation(len(pool.groups))
    _, first = np.unique(pool.groups[order], return_index=True)
    return np.sort(order[first]).astype(np.int64)


def _shares(available: Sequence[npt.NDArray[np.int64]], half: int) -> list[int]:
    """How many images of each class both kinds show: equal shares, and more of others where a class runs out."""
    length = max(map(len, available))
    both = np.min([np.pad(counts, (0, length - len(counts))) for counts in available], axis=0)
    if int(both.sum()) < half:
        most = 2 * int(both.sum())
        raise UnsuitableData(
            f"{half} images of each kind are asked for, and classes that both kinds have allow fewer",
            fix=f"Ask for at most {most} images, or sample more." if most >= LEAST else "Take a larger cohort.",
        )
    wanted = np.zeros(length, np.int64)
    for _ in range(half):
        left = np.flatnonzero(wanted < both)
        wanted[left[np.argmin(wanted[left])]] += 1
    return [int(count) for count in wanted]


def _ordered(chosen: list[Shown], again: list[int], rng: np.random.Generator) -> tuple[Shown, ...]:
    """A random order in which no image comes again too soon; the nearest to it that was found, if none was."""
    total = len(chosen) + len(again)
    shown = np.array([*range(len(chosen)), *again])
    best, best_gap = np.arange(total), -1
    for _ in range(_TRIES):
        order = rng.permutation(total)
        places = np.argsort(order)
        gaps = [abs(int(places[image] - places[len(chosen) + k])) for k, image in enumerate(again)]
        gap = min(gaps, default=total)
        if gap > best_gap:
            best, best_gap = order, gap
        if gap >= APART * total:
            break
    series: list[Shown] = []
    first: dict[int, int] = {}
    for place, entry in enumerate(best):
        image = int(shown[entry])
        series.append(Shown(chosen[image].synthetic, chosen[image].index, first.get(image)))
        first.setdefault(image, place)
    return tuple(series)

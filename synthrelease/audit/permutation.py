"""Exact test of "which patients were trained on has nothing to do with the archive", by permuting patients' labels.

For each synthetic image the nearest patients of both sides are kept. Under the null hypothesis the train and holdout
labels of patients are exchangeable, whatever the generator looks like, so the labels are permuted among patients and
tail statistics are compared with those of the true labels:

    T1  wins of the training side among the k nearest pairs, standardised, for several k
    T2  mean of the 10 largest margins t - d plus mean of the 10 smallest
    T3  largest margin plus smallest

Each is standardised over all labellings and the largest counts, over statistics and over ways of comparing
(Westfall-Young: every labelling is used for all of them), which keeps the test exact. No similarity is computed
twice: the labels of an image's 16 nearest are 16 bits, and a table of
65,536 entries knows which is the first of either side.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from synthrelease.audit.images import BoolArray
from synthrelease.audit.search import KEPT, Matches
from synthrelease.features.descriptors import fisher_z

Array = npt.NDArray[np.float64]

DEPTHS = (10, 20, 40, 80, 160)
EXTREMES = 10
BLOCK = 128
"""Labellings at a time."""


def _first_bits() -> npt.NDArray[np.uint8]:
    """(65536,) position of the lowest bit that is set; the last one where none is."""
    codes = np.arange(2**KEPT)[:, None] >> np.arange(KEPT)[None, :] & 1
    return np.where(codes.any(axis=1), codes.argmax(axis=1), KEPT - 1).astype(np.uint8)


_FIRST = _first_bits()


def tail_statistics(near: Array, who: npt.NDArray[np.int64], labels: BoolArray) -> Array:
    """T1 (one per depth), T2 and T3 for several labellings.

    Args:
        near: (M, k) z-similarities to the nearest patients, descending, rows in descending order of their first.
        who: (M, k) the patients' columns, k at most 16.
        labels: (L, P) True where the patient counts as trained on.

    Returns:
        (L, S) statistics; larger = the training side is nearer.
    """
    share = labels.mean(axis=1)[:, None]
    depths = np.array([k for k in DEPTHS if 2 * k <= len(near)] or [max(1, len(near) // 2)])
    many = min(EXTREMES, max(1, near.shape[0] // 2))
    results = []
    for start in range(0, len(labels), BLOCK):
        margin, nearest_trained = _leads(near, who, labels[start : start + BLOCK])
        expected = share[start : start + BLOCK]
        wins = np.cumsum(nearest_trained, axis=1)[:, depths - 1]
        spread = np.sqrt(depths * np.maximum(expected * (1 - expected), 1e-9))
        t1 = (wins - depths * expected) / spread
        ordered = np.partition(margin, (many - 1, -many), axis=1)
        t2 = ordered[:, :many].mean(axis=1) + ordered[:, -many:].mean(axis=1)
        t3 = margin.max(axis=1) + margin.min(axis=1)
        results.append(np.column_stack([t1, t2, t3]))
    return np.concatenate(results)


def _leads(near: Array, who: npt.NDArray[np.int64], labels: BoolArray) -> tuple[Array, BoolArray]:
    """(L, M) lead of the nearest trained patient over the nearest other one, and whether the nearest was trained on.

    Where none of the kept patients is of a side, the last one kept stands for it.
    """
    kept = near.shape[1]
    bits = np.ascontiguousarray(labels.T, dtype=np.uint16)
    code = np.zeros((len(near), len(labels)), dtype=np.uint16)
    for place in range(kept):
        code |= bits[who[:, place]] << np.uint16(place)
    filled = np.uint16(2**kept - 1)
    rows = np.arange(len(near))[:, None]
    trained = near[rows, np.minimum(_FIRST[code], kept - 1)]
    held = near[rows, np.minimum(_FIRST[code ^ filled], kept - 1)]
    return np.ascontiguousarray((trained - held).T), np.ascontiguousarray((code & np.uint16(1)).T.astype(np.bool_))


def permutation_p(
    matches: Matches | Mapping[str, Matches], is_train: BoolArray, permutations: int, rng: np.random.Generator
) -> float:
    """p-value of the true labels among random ones, (1 + as extreme) / (1 + permutations).

    Args:
        matches: What the synthetic images saw, by one or by several comparisons.
        is_train: (P,) the true labels. permutations: How many random ones. rng: Draws them.
    """
    labels = _labellings(is_train, permutations, rng)
    table = np.column_stack([tail_statistics(*_ordered(each), labels) for each in _several(matches)])
    spread = table.std(axis=0)
    standard = np.where(spread > 1e-12, (table - table.mean(axis=0)) / np.maximum(spread, 1e-12), 0.0)
    largest = standard.max(axis=1)
    return float((largest >= largest[0] - 1e-12).sum() / len(largest))


def _ordered(matches: Matches) -> tuple[Array, npt.NDArray[np.int64]]:
    """z-similarities and columns, the image with the nearest patient first."""
    order = np.argsort(-matches.near[:, 0], kind="stable")
    return fisher_z(matches.near[order]), matches.who[order]


def with_plants(
    matches: Mapping[str, Matches], plants: list[Mapping[str, Matches]], count: int, rng: np.random.Generator
) -> dict[str, Matches]:
    """The same matches with ``count`` synthetic images replaced by planted copies, drawn over all kinds."""
    first = next(iter(matches))
    pool = sum(len(each[first].near) for each in plants)
    chosen = np.resize(rng.permutation(pool), count)  # again from the start where more are wanted than there are
    places = rng.permutation(len(matches[first].near))[: len(chosen)]
    replaced = {}
    for name, own in matches.items():
        near, who = own.near.copy(), own.who.copy()
        near[places] = np.concatenate([each[name].near for each in plants])[chosen]
        who[places] = np.concatenate([each[name].who for each in plants])[chosen]
        replaced[name] = Matches(near, who, own.blocks, own.decoy, own.best_probe)
    return replaced


def excess_share(
    matches: Matches | Mapping[str, Matches],
    is_train: BoolArray,
    permutations: int,
    rng: np.random.Generator,
    *,
    alpha: float,
) -> float:
    """Copies estimated by counting: images whose lead towards train is beyond any lead towards the holdout, per image.

    A knockoff-style estimate: the largest lead towards patients who cannot have been copied marks what chance does. Where several
    images resemble one patient their leads come together, and chance counts many: then the count says nothing, and is 0, unless at
    most ``alpha`` of random labellings count as many.

    Args:
        matches: What the synthetic images saw, by one or by several comparisons; the largest count is taken, of random ones too.
        is_train: (P,) the true labels. permutations: How many random ones. rng: Draws them.
    """
    labels = _labellings(is_train, permutations, rng)
    shares = np.max([_counted(each, labels) for each in _several(matches)], axis=0)
    return float(shares[0]) if np.mean(shares >= shares[0]) <= alpha else 0.0


def _counted(matches: Matches, labels: BoolArray) -> Array:
    """(L,) share of images whose lead towards the trained is beyond any lead towards the others."""
    near = fisher_z(matches.near)
    leads = (_leads(near, matches.who, labels[start : start + BLOCK])[0] for start in range(0, len(labels), BLOCK))
    return np.concatenate([np.mean(lead > np.maximum(0.0, -lead.min(axis=1))[:, None], axis=1) for lead in leads])


def _labellings(is_train: BoolArray, permutations: int, rng: np.random.Generator) -> BoolArray:
    """(1 + permutations, P) the true labels, then random ones."""
    return np.concatenate([is_train[None, :], rng.permuted(np.tile(is_train, (permutations, 1)), axis=1)])


def _several(matches: Matches | Mapping[str, Matches]) -> list[Matches]:
    return [matches] if isinstance(matches, Matches) else list(matches.values())

"""Exact test of "which patients were trained on has nothing to do with the archive", by permuting patients' labels.

For each synthetic image the nearest patients of both sides are kept. Under the null hypothesis the train and holdout
labels of patients are exchangeable, whatever the generator looks like, so the labels are permuted among patients and
tail statistics are compared with those of the true labels:

    T1  wins of the training side among the k nearest pairs, standardised, for several k
    T2  mean of the 10 largest margins t - d plus mean of the 10 smallest
    T3  largest margin plus smallest

Each is standardised over all labellings and the largest counts (Westfall-Young), which keeps the test exact.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from synthrelease.audit.images import BoolArray
from synthrelease.audit.search import Matches
from synthrelease.features.descriptors import fisher_z

Array = npt.NDArray[np.float64]

DEPTHS = (10, 20, 40, 80, 160)
EXTREMES = 10
BLOCK = 50


def tail_statistics(near: Array, who: npt.NDArray[np.int64], labels: BoolArray) -> Array:
    """T1 (one per depth), T2 and T3 for several labellings.

    Args:
        near: (M, k) z-similarities to the nearest patients, descending, rows in descending order of their first.
        who: (M, k) the patients' columns.
        labels: (L, P) True where the patient counts as trained on.

    Returns:
        (L, S) statistics; larger = the training side is nearer.
    """
    share = labels.mean(axis=1)[:, None]
    depths = np.array([k for k in DEPTHS if 2 * k <= len(near)] or [max(1, len(near) // 2)])
    results = []
    for start in range(0, len(labels), BLOCK):
        trained = labels[start : start + BLOCK][:, who]
        expected = share[start : start + BLOCK]
        wins = np.cumsum(trained[:, :, 0], axis=1)[:, depths - 1]
        spread = np.sqrt(depths * np.maximum(expected * (1 - expected), 1e-9))
        t1 = (wins - depths * expected) / spread
        margin = _first(near, trained) - _first(near, ~trained)
        many = min(EXTREMES, max(1, near.shape[0] // 2))
        ordered = np.partition(margin, (many - 1, -many), axis=1)
        t2 = ordered[:, :many].mean(axis=1) + ordered[:, -many:].mean(axis=1)
        t3 = margin.max(axis=1) + margin.min(axis=1)
        results.append(np.column_stack([t1, t2, t3]))
    return np.concatenate(results)


def _first(near: Array, mask: npt.NDArray[np.bool_]) -> Array:
    """Similarity to the nearest patient of one side; the last one kept where none of that side was."""
    first = mask.argmax(axis=2)
    missing = ~np.take_along_axis(mask, first[..., None], axis=2)[..., 0]
    value = near[np.arange(len(near))[None, :], first]
    return np.where(missing, near[:, -1][None, :], value)


def permutation_p(matches: Matches, is_train: BoolArray, permutations: int, rng: np.random.Generator) -> float:
    """p-value of the true labels among random ones, (1 + as extreme) / (1 + permutations)."""
    order = np.argsort(-matches.near[:, 0], kind="stable")
    near, who = fisher_z(matches.near[order]), matches.who[order]
    labels = np.concatenate([is_train[None, :], rng.permuted(np.tile(is_train, (permutations, 1)), axis=1)])
    table = tail_statistics(near, who, labels)
    spread = table.std(axis=0)
    standard = np.where(spread > 1e-12, (table - table.mean(axis=0)) / np.maximum(spread, 1e-12), 0.0)
    largest = standard.max(axis=1)
    return float((largest >= largest[0] - 1e-12).sum() / len(largest))


def with_plants(matches: Matches, plants: list[Matches], count: int, rng: np.random.Generator) -> Matches:
    """The same matches with ``count`` synthetic images replaced by planted copies, drawn over all kinds."""
    near = np.concatenate([p.near for p in plants])
    who = np.concatenate([p.who for p in plants])
    chosen = rng.permutation(len(near))[:count]
    places = rng.permutation(len(matches.near))[: len(chosen)]
    new_near, new_who = matches.near.copy(), matches.who.copy()
    new_near[places], new_who[places] = near[chosen], who[chosen]
    return Matches(new_near, new_who, matches.blocks, matches.decoy, matches.best_probe)


def excess_share(matches: Matches, is_train: BoolArray) -> float:
    """Copies estimated by counting: images whose lead towards train is beyond any lead towards the holdout, per image.

    A knockoff-style estimate: the largest lead towards patients who cannot have been copied marks what chance does.
    """
    near = fisher_z(matches.near)
    trained = is_train[matches.who][None]
    lead = (_first(near, trained) - _first(near, ~trained))[0]
    return float(np.mean(lead > max(0.0, float(-lead.min()))))

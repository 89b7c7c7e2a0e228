"""Membership attacks that need nothing but the released archive: a score per real patient, higher = more a member.

Three are fixed beforehand and all are reported; choosing the best is paid for by Bonferroni:

- ``distance``: the patient's pixels lie near a synthetic image, -min ||x - s||
- ``calibrated_distance``: nearer than to other people, log min ||x - h|| - log min ||x - s|| (GAN-Leaks, calibrated)
- ``calibrated_template``: the same contrast for the template search, z(best synthetic) - z(best holdout)

A patient's score is the largest over their images. The reference h runs over holdout patients, for everybody over one
patient fewer than there are: holdout patients cannot see themselves, training patients are spared one in turn.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from synthrelease.audit.case import AuditCase
from synthrelease.features.descriptors import fisher_z
from synthrelease.features.neighbours import nearest

Array = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

ATTACKS = ("distance", "calibrated_distance", "calibrated_template")
SMALLEST_DISTANCE = 1e-4
"""Distances below count as this one, so that logarithms stay finite."""


def attack_scores(case: AuditCase) -> dict[str, tuple[Array, Array]]:
    """Scores of training patients and of holdout patients, by attack.

    Raises:
        ValueError: The case has no holdout.
    """
    if case.holdout is None:
        raise ValueError("membership needs a holdout")
    _, first = np.unique(case.train.patient, return_inverse=True)
    _, second = np.unique(case.holdout.patient, return_inverse=True)
    members, others = int(first.max()) + 1, int(second.max()) + 1
    column = np.concatenate([first, second + members]).astype(np.int64)
    real = np.concatenate([case.train.small, case.holdout.small]).reshape(len(column), -1)
    held = case.holdout.small.reshape(len(second), -1)
    _, to_synthetic = nearest(real, case.synthetic.small.reshape(len(case.synthetic), -1))
    # The holdout patient whom each image must not see: its own, or the one that its training patient is spared.
    unseen = np.where(column < members, column % others, column - members)
    to_reference = _nearest_other(real, held, second.astype(np.int64), unseen)
    near = np.maximum(to_synthetic.astype(np.float64), SMALLEST_DISTANCE)
    reference = np.maximum(to_reference, SMALLEST_DISTANCE)
    by_image = {"distance": -near, "calibrated_distance": np.log(reference) - np.log(near)}
    scores = {name: _largest(values, column, members + others) for name, values in by_image.items()}
    search = case.search("whole")
    near_made, near_held = (matches["whole"].best_probe for matches in (search.synthetic, search.holdout))
    scores["calibrated_template"] = fisher_z(near_made) - fisher_z(near_held)
    return {name: (scores[name][:members], scores[name][members:]) for name in ATTACKS}


def _nearest_other(
    queries: npt.NDArray[np.float32], held: npt.NDArray[np.float32], owner: IntArray, unseen: IntArray
) -> Array:
    """(N,) distance of each query to the nearest holdout image that is not of the holdout patient ``unseen``."""
    square = np.einsum("nd,nd->n", held, held)
    result = np.empty(len(queries))
    step = max(1, 8_000_000 // max(1, len(held)))
    for start in range(0, len(queries), step):
        part = queries[start : start + step]
        distance = square[None] - 2.0 * part @ held.T + np.einsum("nd,nd->n", part, part)[:, None]
        distance[owner[None, :] == unseen[start : start + step, None]] = np.inf
        result[start : start + step] = np.sqrt(np.maximum(distance.min(axis=1), 0.0))
    return result


def _largest(values: Array, column: IntArray, patients: int) -> Array:
    best = np.full(patients, -np.inf)
    np.maximum.at(best, column, values)
    return best


def threshold_at(non_members: Array, false_positive_rate: float) -> float:
    """Score that at most ``floor(f (n + 1))`` non-members reach or exceed; a hit lies at or above the next one up.

    The conservative order statistic: with ``k = floor(f (n + 1))`` the k-th largest non-member, to be *exceeded*.
    """
    k = int(np.floor(false_positive_rate * (len(non_members) + 1) + 1e-9))
    return float(np.sort(non_members)[::-1][k - 1]) if k >= 1 else float("inf")


def resolvable(non_members: int, false_positive_rate: float) -> bool:
    """Whether so many non-members can show a rate this low: n >= ln(.05) / ln(1 - f).

    >>> [resolvable(n, 0.01) for n in (298, 299)]
    [False, True]
    """
    return non_members >= needed(false_positive_rate)


def needed(false_positive_rate: float) -> int:
    """Fewest non-members that can show a false-positive rate.

    >>> [needed(f) for f in (0.1, 0.01, 0.001)]
    [29, 299, 2995]
    """
    return int(np.ceil(np.log(0.05) / np.log1p(-false_positive_rate)))

"""Membership attacks that need nothing but the released archive: a score per real patient, higher = more a member.

Five are fixed beforehand and all are reported; choosing the best is paid for by Bonferroni:

- ``distance``: the pixels lie near a synthetic image, -min ||x - s||
- ``calibrated_distance``: nearer than to other people, log min ||x - h|| - log min ||x - s|| (GAN-Leaks, calibrated),
  as a range query: x also mirrored and moved by one pixel, the nearest version counts (RaMIA)
- ``calibrated_template``: the same contrast for the template search, z(best synthetic) - z(best holdout)
- ``density_ratio``: d (log r_k(x, h) - log r_k(x, s)) with the k-th neighbours in at most 32 principal axes (DOMIAS)
- ``ball_count``: share of synthetic images within a ball about x in the same axes (Monte Carlo attack)

All work on logarithms and counts, never on exp(-d^2), which is zero for every image larger than a stamp.

A patient's score is the largest over their images. The reference h runs over holdout patients, for everybody over one
patient fewer than there are: holdout patients cannot see themselves, training patients are spared one in turn. Axes
and radius come from synthetic images alone: whoever of the real patients they were fitted on would be known by how well
they fit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from synthrelease.audit.case import AuditCase
from synthrelease.audit.images import ImageSet
from synthrelease.audit.planted import PLANTS, leaked_rows, planted
from synthrelease.features.descriptors import fisher_z

Array = npt.NDArray[np.float64]
FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]

ATTACKS = ("distance", "calibrated_distance", "calibrated_template", "density_ratio", "ball_count")
SMALLEST_DISTANCE = 1e-4
"""Distances below count as this one, so that logarithms stay finite."""

AXES = 32
NEIGHBOURS = 3
"""k of the density ratio: one neighbour is the distance again, many blur a leak of a few images away."""

BALL = 0.01
"""Quantile of the distances between synthetic images that is the ball's radius: about one in a hundred is inside."""

LARGEST_SAMPLE = 2000
"""Synthetic images that axes and radius are taken from."""

BLOCK_FLOATS = 8_000_000


@dataclass(frozen=True, eq=False)
class _Queries:
    """Real images of both sides, and whom each may not see.

    Attributes:
        column: (N,) patient, training patients first. members, others: Patients of each side.
        owner: (H,) holdout patient of each reference image.
        unseen: (N,) holdout patient that each query must not see: its own, or the one that its training patient is spared.
    """

    column: IntArray
    members: int
    others: int
    owner: IntArray
    unseen: IntArray

    def hidden(self, rows: slice) -> npt.NDArray[np.bool_]:
        return np.asarray(self.owner[None, :] == self.unseen[rows, None])

    def by_patient(self, values: Array) -> tuple[Array, Array]:
        best = np.full(self.members + self.others, -np.inf)
        np.maximum.at(best, self.column, values)
        return best[: self.members], best[self.members :]


_KNOWN: WeakKeyDictionary[AuditCase, dict[str, tuple[Array, Array]]] = WeakKeyDictionary()


def attack_scores(case: AuditCase) -> dict[str, tuple[Array, Array]]:
    """Scores of training patients and of holdout patients, by attack; worked out once for a case.

    Raises:
        ValueError: The case has no holdout.
    """
    if case not in _KNOWN:
        _KNOWN[case] = _attack_scores(case)
    return _KNOWN[case]


def _attack_scores(case: AuditCase) -> dict[str, tuple[Array, Array]]:
    if case.holdout is None:
        raise ValueError("membership needs a holdout")
    search = case.search("whole")
    made, held = (fisher_z(matches["whole"].best_probe) for matches in (search.synthetic, search.holdout))
    return _scored(case.train, case.holdout, case.synthetic.small, made - held)


def replayed_scores(case: AuditCase, transform: str) -> dict[str, tuple[Array, Array]]:
    """As :func:`attack_scores` of an archive that also holds an image of each of some training patients, changed.

    Args:
        case: With a holdout. transform: A name in :data:`synthrelease.audit.planted.TRANSFORMS`.

    Returns:
        Scores of these patients alone, and of the holdout patients.

    Raises:
        ValueError: The case has no holdout.
    """
    if case.holdout is None:
        raise ValueError("membership needs a holdout")
    leaked = case.train.patient[leaked_rows(transform, case.train, PLANTS)]
    archive = np.concatenate(
        [case.synthetic.small, planted(transform, case.train, case.synthetic, PLANTS).small], dtype=np.float32
    )
    search = case.search("whole")
    made, held = search.synthetic["whole"].best_probe, search.holdout["whole"].best_probe
    template = fisher_z(np.maximum(made, case.planted("whole", transform)["whole"].best_probe)) - fisher_z(held)
    asked = np.ones(len(template), dtype=np.bool_)
    asked[: case.train.patient_count] = np.isin(np.unique(case.train.patient), leaked)
    ours = case.train.take(np.flatnonzero(np.isin(case.train.patient, leaked)))
    return _scored(ours, case.holdout, archive, template[asked])


def _scored(train: ImageSet, holdout: ImageSet, made: FloatArray, template: Array) -> dict[str, tuple[Array, Array]]:
    """Scores of the patients of two sides; ``template`` is that of the search, for training patients first."""
    _, first = np.unique(train.patient, return_inverse=True)
    _, second = np.unique(holdout.patient, return_inverse=True)
    members, others = int(first.max()) + 1, int(second.max()) + 1
    column = np.concatenate([first, second + members]).astype(np.int64)
    unseen = np.where(column < members, column % others, column - members)
    queries = _Queries(column, members, others, second.astype(np.int64), unseen.astype(np.int64))
    real = np.concatenate([train.small, holdout.small])
    by_image: Mapping[str, Array] = {
        **_pixel_attacks(real, holdout.small, made, queries),
        **_density_attacks(real, holdout.small, made, queries),
    }
    scores = {name: queries.by_patient(values) for name, values in by_image.items()}
    scores["calibrated_template"] = template[:members], template[members:]
    return {name: scores[name] for name in ATTACKS}


def ranged(images: FloatArray) -> list[FloatArray]:
    """The versions that a range query asks for: as it is, mirrored, moved by one pixel; (N, S, S) each."""
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1)), mode="edge")
    side = images.shape[-1]
    moved = [padded[:, y : y + side, x : x + side] for y, x in ((0, 1), (2, 1), (1, 0), (1, 2))]
    return [images, images[:, :, ::-1], *moved]


def _pixel_attacks(real: FloatArray, held: FloatArray, made: FloatArray, queries: _Queries) -> dict[str, Array]:
    reference, synthetic = held.reshape(len(held), -1), made.reshape(len(made), -1)
    nothing = np.full(len(real), np.inf)
    near, to_reference, plain = nothing.copy(), nothing.copy(), nothing
    for number, version in enumerate(ranged(real)):
        flat = np.ascontiguousarray(version).reshape(len(real), -1)
        for rows in _blocks(len(flat), len(synthetic) + len(reference)):
            # The nearest is picked by the expanded square and measured by the difference: near zero, where copies
            # are, the expanded form has no digits left.
            made_near = _distance_to_nearest(flat[rows], synthetic, None)
            near[rows] = np.minimum(near[rows], made_near)
            to_reference[rows] = np.minimum(
                to_reference[rows], _distance_to_nearest(flat[rows], reference, queries.hidden(rows))
            )
            if number == 0:
                plain[rows] = made_near
    calibrated = np.log(np.maximum(to_reference, SMALLEST_DISTANCE)) - np.log(np.maximum(near, SMALLEST_DISTANCE))
    return {"distance": -np.maximum(plain, SMALLEST_DISTANCE), "calibrated_distance": calibrated}


def _density_attacks(real: FloatArray, held: FloatArray, made: FloatArray, queries: _Queries) -> dict[str, Array]:
    centre, axes = principal_axes(made)
    query, reference, synthetic = ((x.reshape(len(x), -1) - centre) @ axes for x in (real, held, made))
    some = synthetic[:LARGEST_SAMPLE]
    radius = float(np.quantile(_squares(some, some)[np.triu_indices(len(some), 1)], BALL)) if len(some) > 1 else 0.0
    ratio, count = np.empty(len(real)), np.empty(len(real))
    for rows in _blocks(len(real), len(made) + len(held)):
        to_made, to_held = _squares(query[rows], synthetic), _squares(query[rows], reference)
        to_held[queries.hidden(rows)] = np.inf
        count[rows] = (to_made <= radius).mean(axis=1)
        # Half the logarithm of the square: the k-th distance itself.
        ratio[rows] = 0.5 * axes.shape[1] * (_log_kth(to_held) - _log_kth(to_made))
    # Ties of the count are broken by the ratio, which is finite: most balls are empty.
    spread = max(1.0, float(np.abs(ratio).max()))
    return {"density_ratio": ratio, "ball_count": count + 1e-6 * ratio / spread}


def principal_axes(made: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Centre (S*S,) and axes (S*S, at most 32) of the synthetic images (M, S, S)."""
    flat = made[:LARGEST_SAMPLE].reshape(min(len(made), LARGEST_SAMPLE), -1)
    centre = flat.mean(axis=0)
    _, _, axes = np.linalg.svd(flat - centre, full_matrices=False)
    return centre.astype(np.float32), np.ascontiguousarray(axes[: min(AXES, len(axes))].T, dtype=np.float32)


def _log_kth(squares: Array) -> Array:
    k = min(NEIGHBOURS, squares.shape[1]) - 1
    kth = np.partition(squares, k, axis=1)[:, k]
    finite = np.where(np.isfinite(kth), kth, np.max(kth[np.isfinite(kth)], initial=1.0))
    return np.asarray(np.log(np.maximum(finite, SMALLEST_DISTANCE**2)))


def _blocks(rows: int, columns: int) -> list[slice]:
    step = max(1, BLOCK_FLOATS // max(1, columns))
    return [slice(start, min(start + step, rows)) for start in range(0, rows, step)]


def _squares(queries: npt.NDArray[np.floating], gallery: npt.NDArray[np.floating]) -> Array:
    """(m, n) squared distances, double precision, not below zero."""
    a, b = queries.astype(np.float64), gallery.astype(np.float64)
    square = (a * a).sum(axis=1)[:, None] + (b * b).sum(axis=1)[None] - 2.0 * a @ b.T
    return np.asarray(np.maximum(square, 0.0))


def _distance_to_nearest(queries: FloatArray, gallery: FloatArray, hidden: npt.NDArray[np.bool_] | None) -> Array:
    """(m,) distance of each query to its nearest gallery row that it may see."""
    square = (gallery * gallery).sum(axis=1)[None] - 2.0 * queries @ gallery.T
    if hidden is not None:
        square[hidden] = np.inf
    nearest = square.argmin(axis=1)
    return np.asarray(np.linalg.norm(queries - gallery[nearest], axis=1), dtype=np.float64)


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

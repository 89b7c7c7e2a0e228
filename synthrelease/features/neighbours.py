"""Nearest neighbours without a matrix of all pairs: blocks of probes pass by the gallery, memory stays bounded."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from synthrelease.features.descriptors import FloatArray, TemplateBank, orientations, warped

IntArray = npt.NDArray[np.int64]

TILE_ROWS, TILE_COLUMNS = 512, 2048
"""Similarities of one tile (4 MB): large enough for the matrix product, small enough to be reduced where it lies."""

CACHE_FLOATS = 262_144
"""Floats of similarities that are reduced to their maximum while they are still in the cache of one core (1 MB)."""

WARPS = ((5.0, 1.0), (-5.0, 1.0), (0.0, 0.9), (0.0, 1.1))
"""Turns in degrees and zooms by which candidates are found too; between them registration goes on from the nearest."""


@dataclass(frozen=True)
class Gallery:
    """Real images prepared for the template search, grouped by patient.

    Attributes:
        templates: (8, N, D) unit-length descriptors in all orientations, images ordered by patient.
        warps: (W * 8, N, D) likewise of the images turned and zoomed a little.
        starts: (P,) first image of each patient in that order.
        order: (N,) original index of each image.
        patients: (P,) the patients' numbers, ascending.
        bank: Geometry of the search.
    """

    templates: FloatArray
    warps: FloatArray
    starts: IntArray
    order: IntArray
    patients: IntArray
    bank: TemplateBank

    @classmethod
    def of(cls, images: FloatArray, patient: IntArray) -> Gallery:
        """Prepare (N, S, S) images whose patients are ``patient`` (N,)."""
        order = np.argsort(patient, kind="stable").astype(np.int64)
        patients, starts = np.unique(patient[order], return_index=True)
        bank = TemplateBank(images.shape[-1])
        sorted_images = images[order]
        return cls(
            bank.templates(sorted_images),
            np.concatenate([bank.templates(warped(sorted_images, *warp)) for warp in WARPS]),
            starts.astype(np.int64),
            order,
            patients.astype(np.int64),
            bank,
        )

    def by_patient(self, per_image: FloatArray) -> FloatArray:
        """Best over each patient's images: (m, N) to (m, P)."""
        return np.asarray(np.maximum.reduceat(per_image, self.starts, axis=1), dtype=np.float32)


def best_similarity(windows: FloatArray, templates: FloatArray) -> FloatArray:
    """Best absolute correlation over all windows of a probe and all versions of an image.

    The absolute value is taken, so that a grey-inverted copy is as visible as a plain one. Probes pass one by one and
    templates in pieces: what is multiplied is reduced to its maximum before it leaves the cache.

    Args:
        windows: (m, W, D) unit-length descriptors. templates: (V, N, D) likewise.

    Returns:
        (m, N) float32 in [0, 1].
    """
    versions, images, width = templates.shape
    flat = templates.reshape(-1, width)
    piece = max(64, CACHE_FLOATS // windows.shape[1])
    best = np.empty((len(windows), len(flat)), dtype=np.float32)
    for start in range(0, len(flat), piece):
        part = flat[start : start + piece].T
        for probe, window in enumerate(windows):
            scores = window @ part
            np.maximum(scores.max(axis=0), -scores.min(axis=0), out=best[probe, start : start + piece])
    return np.asarray(np.minimum(best.reshape(len(windows), versions, images).max(axis=1), 1.0), dtype=np.float32)


def nearest(queries: FloatArray, gallery: FloatArray) -> tuple[IntArray, FloatArray]:
    """Nearest gallery row of each query by Euclidean distance.

    |q - g|² is smallest where q.g - |g|²/2 is largest: one more coefficient and it is a matrix product, whose tiles
    are reduced while they are in the cache. Both sides are moved to the gallery's mean first, which keeps the digits.

    Args:
        queries: (M, D). gallery: (N, D), N at least 1.

    Returns:
        (M,) row numbers and (M,) distances.
    """
    middle = gallery.mean(axis=0)
    centred = gallery - middle
    half = 0.5 * np.einsum("nd,nd->n", centred, centred)
    known = np.concatenate([centred, -half[:, None]], axis=1)
    rows = np.zeros(len(queries), dtype=np.int64)
    tile = np.empty((TILE_ROWS, TILE_COLUMNS), dtype=np.float32)
    for top in range(0, len(queries), TILE_ROWS):
        part = queries[top : top + TILE_ROWS] - middle
        part = np.concatenate([part, np.ones((len(part), 1), dtype=np.float32)], axis=1)
        best = np.full(len(part), -np.inf, dtype=np.float32)
        for left in range(0, len(known), TILE_COLUMNS):
            other = known[left : left + TILE_COLUMNS]
            scores = np.matmul(part, other.T, out=tile[: len(part), : len(other)])
            winner = scores.argmax(axis=1)
            score = scores[np.arange(len(part)), winner]
            better = score > best
            best[better] = score[better]
            rows[top : top + TILE_ROWS][better] = winner[better] + left
    # The distance is taken from the difference itself: the expanded form loses all digits near zero, where copies are.
    distance = np.concatenate(
        [
            np.linalg.norm(queries[i : i + 4096] - gallery[rows[i : i + 4096]], axis=1)
            for i in range(0, max(1, len(queries)), 4096)
        ]
    )
    return rows, distance.astype(np.float32)


def equal_pairs(probes: FloatArray, gallery: FloatArray, tolerance: float) -> tuple[IntArray, IntArray]:
    """Probes that equal a gallery image, in some orientation, within ``tolerance`` at every pixel.

    Only the nearest gallery image in each orientation can be the one, or an equally near twin of it.

    Args:
        probes: (M, S, S). gallery: (N, S, S), N at least 1. tolerance: Largest difference of a pixel.

    Returns:
        Probe numbers and gallery rows of the pairs found, one pair a probe.
    """
    found: dict[int, int] = {}
    flat = gallery.reshape(len(gallery), -1)
    for version in orientations(probes):
        queries = version.reshape(len(probes), -1)
        rows, _ = nearest(queries, flat)
        worst = np.abs(queries - flat[rows]).max(axis=1)
        for probe in np.flatnonzero(worst <= tolerance):
            found.setdefault(int(probe), int(rows[probe]))
    keys = np.array(sorted(found), dtype=np.int64)
    return keys, np.array([found[int(k)] for k in keys], dtype=np.int64)

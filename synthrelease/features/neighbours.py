"""Nearest neighbours without a matrix of all pairs: blocks of probes pass by the gallery, memory stays bounded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from synthrelease.features.descriptors import ORIENTATIONS, FloatArray, TemplateBank, orientations

IntArray = npt.NDArray[np.int64]

BLOCK_FLOATS = 8_000_000
"""Upper bound on the floats of one block of similarities (32 MB)."""


@dataclass(frozen=True)
class Gallery:
    """Real images prepared for the template search, grouped by patient.

    Attributes:
        templates: (8, N, D) unit-length descriptors, images ordered by patient.
        starts: (P,) first image of each patient in that order.
        order: (N,) original index of each image.
        patients: (P,) the patients' numbers, ascending.
        bank: Geometry of the search.
    """

    templates: FloatArray
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
        return cls(bank.templates(images[order]), starts.astype(np.int64), order, patients.astype(np.int64), bank)


def patient_similarity(probes: FloatArray, gallery: Gallery) -> Iterator[tuple[slice, FloatArray]]:
    """Best similarity of each probe to each patient, over the patient's images, all shifts and orientations.

    The absolute correlation is taken, so that a grey-inverted copy is as visible as a plain one.

    Args:
        probes: (M, S, S) float32.
        gallery: Prepared real images of the same side.

    Yields:
        The slice of probes and their (m, P) float32 similarities in [0, 1]; column p is ``gallery.patients[p]``.
    """
    flat = gallery.templates.reshape(-1, gallery.templates.shape[-1])
    images = gallery.templates.shape[1]
    shifts = (2 * gallery.bank.margin + 1) ** 2
    step = max(1, BLOCK_FLOATS // (shifts * max(1, len(flat))))
    for start in range(0, len(probes), step):
        block = slice(start, min(start + step, len(probes)))
        windows = gallery.bank.windows(probes[block])
        scores = windows.reshape(-1, windows.shape[-1]) @ flat.T
        scores = scores.reshape(len(windows), shifts, len(flat))
        best = np.maximum(scores.max(axis=1), -scores.min(axis=1))
        per_image = best.reshape(len(windows), ORIENTATIONS, images).max(axis=1)
        yield block, np.minimum(np.maximum.reduceat(per_image, gallery.starts, axis=1), 1.0).astype(np.float32)


def nearest(queries: FloatArray, gallery: FloatArray) -> tuple[IntArray, FloatArray]:
    """Nearest gallery row of each query by Euclidean distance.

    Args:
        queries: (M, D). gallery: (N, D), N at least 1.

    Returns:
        (M,) row numbers and (M,) distances.
    """
    square = np.einsum("nd,nd->n", gallery, gallery)
    rows = np.empty(len(queries), dtype=np.int64)
    step = max(1, BLOCK_FLOATS // max(1, len(gallery)))
    for start in range(0, len(queries), step):
        part = queries[start : start + step]
        rows[start : start + step] = np.argmin(square[None] - 2.0 * part @ gallery.T, axis=1)
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

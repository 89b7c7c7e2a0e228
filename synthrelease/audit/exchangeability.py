"""Are train and holdout patients drawn from one population? Asked of real images only, before any synthetic one."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from synthrelease.audit.images import ImageSet
from synthrelease.features.descriptors import cosine_basis, unit_length

Array = npt.NDArray[np.float64]

COMPONENTS = 16
LARGEST = 2000
"""Patients of both sides together that the test takes; more would only cost memory."""


def patient_features(images: ImageSet, classes: int) -> Array:
    """(P, D): each patient's mean descriptor, mean grey and contrast, class shares and number of images."""
    small = images.small
    flat = small.reshape(len(small), -1)
    looks = unit_length(flat @ cosine_basis(small.shape[-1])).astype(np.float64)
    grey = np.column_stack([flat.mean(axis=1), flat.std(axis=1)])
    label = np.eye(classes)[images.labels]
    each = np.concatenate([looks, grey, label], axis=1)
    patients, index, counts = np.unique(images.patient, return_inverse=True, return_counts=True)
    total = np.zeros((len(patients), each.shape[1]))
    np.add.at(total, index, each)
    return np.column_stack([total / counts[:, None], np.log(counts)])


def split_p(train: ImageSet, holdout: ImageSet, classes: int, permutations: int, rng: np.random.Generator) -> float:
    """p-value of a kernel two-sample test (Gaussian kernel, median width) under permutation of patients' labels."""
    sides = [patient_features(train, classes), patient_features(holdout, classes)]
    share = min(1.0, LARGEST / (len(sides[0]) + len(sides[1])))
    sides = [side[rng.permutation(len(side))[: max(2, round(share * len(side)))]] for side in sides]
    both = np.concatenate(sides)
    both = (both - both.mean(axis=0)) / np.maximum(both.std(axis=0), 1e-9)
    # Looks fill most columns; their leading components keep grey, class and count from drowning among them.
    looks, rest = both[:, : -3 - classes], both[:, -3 - classes :]
    u, s, _ = np.linalg.svd(looks, full_matrices=False)
    leading = u[:, :COMPONENTS] * np.sqrt(len(u))
    values = np.concatenate([leading[:, s[:COMPONENTS] > 1e-9], rest], axis=1)
    square = np.einsum("nd,nd->n", values, values)
    distance = np.maximum(square[:, None] + square[None] - 2 * values @ values.T, 0.0)
    kernel = np.exp(-distance / max(float(np.median(distance)), 1e-9))
    first = np.arange(len(values)) < len(sides[0])
    labels = np.concatenate([first[None], rng.permuted(np.tile(first, (permutations, 1)), axis=1)])
    weight = np.where(labels, 1.0 / len(sides[0]), -1.0 / len(sides[1]))
    discrepancy = np.einsum("bn,bn->b", weight @ kernel, weight)
    return float((discrepancy >= discrepancy[0] - 1e-15).sum() / len(discrepancy))

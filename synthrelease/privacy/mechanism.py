"""The Gaussian mechanism: one call that counts itself, adds noise, and only then gives a value.

There is no other way to noise: multiplier and clip norm come from the plan's own entry, and the entry is counted on
disk before the noise is drawn. Noise without a count, and a count of another noise, cannot be written down.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from synthrelease.privacy.account import Account
from synthrelease.privacy.noise import FloatArray, NoiseSource, add_noise


@dataclass(frozen=True)
class ClippedSum:
    """A sum over patients of vectors of norm at most ``clip_norm``. Private until noised.

    Attributes:
        total: (d,) float64.
        clip_norm: C, the sensitivity of ``total`` to adding or removing one patient.
        patients: How many patients were summed. Private.
        clipped: How many were scaled down. Private.
        refused: How many had a non-finite vector, and counted as zero. Private.
    """

    total: FloatArray
    clip_norm: float
    patients: int = 0
    clipped: int = 0
    refused: int = 0


def clip_rows(vectors: FloatArray, clip_norm: float) -> ClippedSum:
    """Sum of rows, each scaled to norm <= C; a row that is not finite counts as zero.

    Args:
        vectors: (n, d) one row a patient.
        clip_norm: C > 0.
    """
    rows = np.asarray(vectors, dtype=np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        norms = np.sqrt(np.einsum("nd,nd->n", rows, rows))
    finite = np.isfinite(norms)
    factors = np.where(finite, np.minimum(1.0, clip_norm / np.where(finite & (norms > 0), norms, clip_norm)), 0.0)
    # inf * 0 is NaN, so refused rows are replaced before they are scaled.
    safe = np.where(finite[:, None], rows, 0.0)
    return ClippedSum(
        total=factors @ safe,
        clip_norm=clip_norm,
        patients=len(rows),
        clipped=int((finite & (norms > clip_norm)).sum()),
        refused=int((~finite).sum()),
    )


def noisy_sum(clipped: ClippedSum, *, name: str, account: Account, noise: NoiseSource) -> FloatArray:
    """Release a clipped sum under the plan's mechanism ``name``; counted first.

    Args:
        clipped: The sum, with the clip norm it was made with.
        name: Name of the release in the account's plan.
        account: Counts the use; refuses when the plan's uses are spent.
        noise: Where the normals come from.

    Returns:
        (d,) float64, safe to publish within the plan's epsilon.

    Raises:
        ValueError: The sum was clipped to another norm than the plan accounts for.
        BudgetExceeded: The plan's uses are spent.
    """
    planned = account.plan.release(name)
    if clipped.clip_norm != planned.clip_norm:
        raise ValueError(f"{name}: clipped to {clipped.clip_norm}, accounted for {planned.clip_norm}")
    release = account.charge(name)
    return add_noise(
        clipped.total,
        clip_norm=release.clip_norm,
        noise_multiplier=release.mechanism.noise_multiplier,
        noise=noise,
    )


def gaussian_sum(
    blocks: Iterable[FloatArray], dimension: int, *, name: str, account: Account, noise: NoiseSource
) -> FloatArray:
    """Clip every patient's vector, sum over all patients, add noise; counted.

    Args:
        blocks: Blocks (n, d) of one row a patient, each patient in exactly one row; streamed, so memory stays flat.
        dimension: d, public; the sum of no patient is zero.
        name: Name of the release in the account's plan, which gives clip norm and multiplier.
        account: Counts the use.
        noise: Where the normals come from.

    Returns:
        (d,) float64.
    """
    clip_norm = account.plan.release(name).clip_norm
    total = np.zeros(dimension)
    patients = clipped = refused = 0
    for block in blocks:
        part = clip_rows(block, clip_norm)
        total += part.total
        patients, clipped, refused = patients + part.patients, clipped + part.clipped, refused + part.refused
    return noisy_sum(ClippedSum(total, clip_norm, patients, clipped, refused), name=name, account=account, noise=noise)

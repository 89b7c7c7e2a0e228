"""Who takes part in a step, and which of their images.

Patients are drawn independently (Poisson), exactly as the accountant assumes: never a shuffled or fixed-size batch,
never truncated, and an empty draw is a step like any other (Chua et al., ICML 2024; Annamalai et al., NDSS 2026).
Which images of a drawn patient are used is that patient's own matter: it costs nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from synthrelease.privacy.noise import NoiseSource

Rows = npt.NDArray[np.int64]


def draw_patients(patients: Rows, probability: float, noise: NoiseSource) -> Rows:
    """Each of ``patients`` independently with ``probability``; may be empty.

    Args:
        patients: (P,) patient indices.
        probability: q in (0, 1].
        noise: Source of the coin flips.

    Returns:
        (B,) the drawn indices, in their order.
    """
    return np.asarray(patients[noise.bernoulli(len(patients), probability)], dtype=np.int64)


def draw_images(rows: Sequence[Rows], images: int, rng: np.random.Generator) -> Rows:
    """``images`` images of each patient: all different where there are enough, else every one as often as possible.

    Args:
        rows: For each drawn patient its image rows, each non-empty.
        images: k, images a visit.
        rng: A generator seeded by fresh entropy for this step. A known seed would couple the draws of one patient to
            who else is in the batch, which the sensitivity argument does not cover.

    Returns:
        (B, k) image rows.
    """
    drawn = np.empty((len(rows), images), dtype=np.int64)
    for i, own in enumerate(rows):
        whole, rest = divmod(images, len(own))
        parts = [own] * whole + [rng.permutation(own)[:rest]]
        drawn[i] = np.concatenate(parts)
    return drawn

"""Random halves of the holdout: how distribution distances get their intervals and their real-against-real yardstick.

Patients, not images, are drawn. The spread of a statistic over random halves of a sample is, by the delete-half
jackknife, an estimate of the standard error that the statistic has on the whole sample; its percentiles serve as the
interval. Every set in one comparison has the same number of images, since these distances depend on it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from synthrelease.audit.case import AuditCase
from synthrelease.features.embedding import Embedding

Array = npt.NDArray[np.float64]

HALVINGS = 40


@dataclass(frozen=True)
class Halves:
    """Features of equally many images: two halves of the holdout, and as many training and synthetic images."""

    first: Array
    second: Array
    train: Array
    synthetic: Array


def halvings(case: AuditCase, rng: np.random.Generator, times: int = HALVINGS) -> tuple[str, Iterator[Halves]]:
    """The extractor's name, and random halves in its features.

    Raises:
        ValueError: The case has no holdout.
    """
    if case.holdout is None:
        raise ValueError("fidelity is measured against a holdout")
    embed = Embedding.fit(case.holdout.small)
    holdout, train, synthetic = embed(case.holdout.small), embed(case.train.small), embed(case.synthetic.small)
    _, patient = np.unique(case.holdout.patient, return_inverse=True)

    def draw() -> Iterator[Halves]:
        for _ in range(times):
            chosen = rng.permutation(int(patient.max()) + 1) < (int(patient.max()) + 1) // 2
            one, two = holdout[chosen[patient]], holdout[~chosen[patient]]
            size = min(len(one), len(two), len(train), len(synthetic))
            yield Halves(*(side[rng.permutation(len(side))[:size]] for side in (one, two, train, synthetic)))

    return embed.name, draw()

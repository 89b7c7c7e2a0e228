"""Where an image stands among those of its class, in a whole archive or a part of it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def ranks_of(labels: npt.NDArray[np.integer], images_per_patient: int) -> npt.NDArray[np.int64]:
    """How many patients of an image's class come before its own, for each image of an archive (n,).

    >>> ranks_of(np.array([0, 0, 1, 0, 0, 0]), 2).tolist()
    [0, 0, 0, 1, 2, 2]
    """
    patients = np.arange(len(labels)) // images_per_patient
    ranks = np.zeros(len(labels), dtype=np.int64)
    for label in np.unique(labels):
        own = labels == label
        ranks[own] = np.unique(patients[own], return_inverse=True)[1]
    return ranks

"""The tasks that a case is looked at for, and what each cell of tasks and scales holds.

Networks that learned the cohort's classes, or sex, age and scanner where they are told, learned them from a third of the
held-out patients who are then left out of every cell. None ever saw a training patient: it would know them again, and reward
copies.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from synthrelease.audit.fidelity import Halves, Roles, drawn
from synthrelease.audit.images import ImageSet
from synthrelease.audit.networks import fit_label_features
from synthrelease.audit.scales_tasks import (
    Features,
    at_scale,
    brought_together,
    cells_told,
    distance,
    scales_of,
    variety,
)
from synthrelease.errors import UnsuitableData
from synthrelease.features.embedding import Reduction
from synthrelease.features.extractors import ExtractorChoice, ExtractorName

Array = npt.NDArray[np.float64]

NAMED: tuple[ExtractorName, ...] = ("radiomics", "phantom_network", "uld", "efficientnet_lite0")
"""Extractors that need nothing but themselves; one whose package is not installed is left out and named."""
MOST = 300
"""Images of a role in a cell: there are a dozen cells and more, and every image goes through each."""
TAUGHT_SHARE = 3
"""One in so many held-out patients teaches the networks of labels."""
FEWEST_TAUGHT = 25
FEWEST_OF_A_KIND = 8
STEPS = 120
SEED = 29


@dataclass(frozen=True)
class Cells:
    """Features of the three roles in every cell.

    Attributes:
        tasks: Names, in order. scales: See :mod:`.scales_tasks`.
        raw: By (task, scale): features as the extractor gives them.
        reduced: The same in whitened components fitted on the holdout, where distances are taken.
        left_out: Tasks that could not be set, with the reason.
    """

    tasks: tuple[str, ...]
    scales: tuple[int, ...]
    raw: Mapping[tuple[str, int], Roles]
    reduced: Mapping[tuple[str, int], Roles]
    left_out: Mapping[str, str]

    def distances(self, seed: int, times: int) -> dict[str, Array]:
        """(times, tasks, scales) Fréchet distance from one half of the holdout to the synthetic images, to training images, and to
        the other half, at equal numbers; the halves of a draw are the same in every cell."""

        def of(half: Halves) -> tuple[float, float, float]:
            return tuple(distance(half.first, other) for other in (half.synthetic, half.train, half.second))  # type: ignore[return-value]

        return self._named(
            np.array([[of(half) for half in halves] for halves in self._halves(self.reduced, seed, times)])
        )

    def varieties(self, seed: int, times: int) -> dict[str, Array]:
        """(times, tasks, scales) variety of as many synthetic images, training images and held-out images."""

        def of(half: Halves) -> tuple[float, float, float]:
            return variety(half.synthetic), variety(half.train), variety(half.first)

        return self._named(np.array([[of(half) for half in halves] for halves in self._halves(self.raw, seed, times)]))

    def told(self, draws: Mapping[str, Array]) -> dict[str, Any]:
        """What a check says of its cells: each raw with its interval, by whom it is of, and all brought together.

        Args:
            draws: (times, tasks, scales) by whom it is of.
        """
        told, middle = cells_told(draws)
        return {
            "tasks": list(self.tasks),
            "scales": list(self.scales),
            **told,
            "normalised_across": brought_together(middle),
            "left_out": dict(self.left_out),
        }

    def _halves(self, roles: Mapping[tuple[str, int], Roles], seed: int, times: int) -> Iterator[Iterator[Halves]]:
        for task in self.tasks:
            for scale in self.scales:
                yield roles[task, scale].halves(np.random.default_rng(seed), times)

    def _named(self, found: Array) -> dict[str, Array]:
        """(cells, times, 3) by whom it is of."""
        shaped = found.reshape(len(self.tasks), len(self.scales), -1, 3).transpose(3, 2, 0, 1)
        return dict(zip(("synthetic", "training", "real"), shaped, strict=True))


def cells_of(train: ImageSet, holdout: ImageSet, synthetic: ImageSet, chosen: tuple[str, Features]) -> Cells:
    """Every cell of a case.

    Args:
        train, holdout, synthetic: The roles. chosen: The profile's extractor, with its name; a task beside the others.
    """
    taught, rest = _parted(holdout)
    tasks, left_out = _named_tasks(chosen)
    of_labels, too_few = _label_tasks(taught, holdout)
    tasks, left_out = tasks | of_labels, left_out | too_few
    roles = {"holdout": drawn(rest, MOST), "train": drawn(train, MOST), "synthetic": drawn(synthetic, MOST)}
    scales = scales_of(holdout.images.shape[-1])
    raw, reduced = {}, {}
    for scale in scales:
        seen = {name: at_scale(images.images, scale) for name, images in roles.items()}
        for task, features in tasks.items():
            of = {name: features(images) for name, images in seen.items()}
            reduce, patient = Reduction.fit(of["holdout"]), roles["holdout"].patient
            raw[task, scale] = Roles(of["holdout"], of["train"], of["synthetic"], patient)
            reduced[task, scale] = Roles(reduce(of["holdout"]), reduce(of["train"]), reduce(of["synthetic"]), patient)
    return Cells(tuple(tasks), scales, raw, reduced, left_out)


def _parted(holdout: ImageSet) -> tuple[ImageSet | None, ImageSet]:
    """A third of the held-out patients, and the rest; nobody and all of them where the third is too few."""
    _, patient = np.unique(holdout.patient, return_inverse=True)
    order = np.random.default_rng(SEED).permutation(int(patient.max()) + 1)
    teaches = np.isin(patient, order[: len(order) // TAUGHT_SHARE])
    if int(teaches.sum()) < FEWEST_TAUGHT:
        return None, holdout
    return holdout.take(teaches), holdout.take(~teaches)


def _named_tasks(chosen: tuple[str, Features]) -> tuple[dict[str, Features], dict[str, str]]:
    tasks: dict[str, Features] = {chosen[0]: chosen[1]}
    left_out: dict[str, str] = {}
    for name in NAMED:
        if name in tasks:
            continue
        try:
            tasks[name] = ExtractorChoice(name).open()
        except UnsuitableData as missing:
            left_out[name] = str(missing)
    return tasks, left_out


def _label_tasks(taught: ImageSet | None, holdout: ImageSet) -> tuple[dict[str, Features], dict[str, str]]:
    """A network for the classes, and for every attribute that enough images of two kinds tell; and why others have none.

    Args:
        taught: Who teaches them; None: too few would. holdout: Whose attributes are known.
    """
    if taught is None:
        reason = f"a third of the held-out patients has fewer than {FEWEST_TAUGHT} images"
        return {}, {f"trained on {name}": reason for name in ("classes", *holdout.attributes)}
    told = {"classes": taught.labels, **{name: np.asarray(values) for name, values in taught.attributes.items()}}
    tasks: dict[str, Features] = {}
    left_out: dict[str, str] = {}
    for name, values in told.items():
        task = f"trained on {name}"
        kinds, number, counts = np.unique(values, return_inverse=True, return_counts=True)
        enough = (counts >= FEWEST_OF_A_KIND) & (kinds.astype(str) != "")
        if enough.sum() < 2:
            left_out[task] = (
                f"no two kinds have {FEWEST_OF_A_KIND} images among the held-out patients who would teach it"
            )
            continue
        rows = enough[number]
        _, target = np.unique(number[rows], return_inverse=True)
        images = taught.images[rows]
        tasks[task] = fit_label_features(images, target.astype(np.int64), int(enough.sum()), steps=STEPS, seed=SEED)
    return tasks, left_out

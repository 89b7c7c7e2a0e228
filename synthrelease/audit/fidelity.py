"""Features of the three roles, and random halves of the holdout: how distribution distances get their intervals.

Patients, not images, are drawn. The spread of a statistic over random halves of a sample is, by the delete-half
jackknife, an estimate of the standard error that the statistic has on the whole sample; its percentiles serve as the
interval. Every set in one comparison has the same number of images, since these distances depend on it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from synthrelease.audit.images import FloatArray, ImageSet, IntArray
from synthrelease.errors import UsageError
from synthrelease.features.embedding import Reduction, described
from synthrelease.features.extractors import Extractor, ExtractorChoice
from synthrelease.features.frd import radiomic_features
from synthrelease.features.uld.sketch import known_among

if TYPE_CHECKING:
    from synthrelease.audit.case import AuditCase
    from synthrelease.audit.task_cells import Cells

Array = npt.NDArray[np.float64]

HALVINGS = 40
MOST = 2500
"""Images of a role that extractors look at; more would cost minutes and tell nothing new."""

_DRAW = 4711


@dataclass(frozen=True)
class Halves:
    """Features of equally many images: two halves of the holdout, and as many training and synthetic images."""

    first: Array
    second: Array
    train: Array
    synthetic: Array


@dataclass(frozen=True)
class Roles:
    """One kind of features of the images that are looked at, (N, D) by role, and the holdout's patients (N,)."""

    holdout: Array
    train: Array
    synthetic: Array
    holdout_patient: IntArray

    def halves(self, rng: np.random.Generator, times: int = HALVINGS) -> Iterator[Halves]:
        """Random halves of the holdout's patients, with as many images of the other roles."""
        _, patient = np.unique(self.holdout_patient, return_inverse=True)
        count = int(patient.max()) + 1
        for _ in range(times):
            chosen = rng.permutation(count) < count // 2
            one, two = self.holdout[chosen[patient]], self.holdout[~chosen[patient]]
            size = min(len(one), len(two), len(self.train), len(self.synthetic))
            yield Halves(*(side[rng.permutation(len(side))[:size]] for side in (one, two, self.train, self.synthetic)))


class Fidelity:
    """What the fidelity checks of one case share: each image goes through the extractor once.

    Args:
        train, holdout, synthetic: The roles. choice: The extractor that the profile names.

    Attributes:
        train, holdout, synthetic: The images looked at: whole patients, drawn where there are more than 2,500 images.
    """

    def __init__(self, train: ImageSet, holdout: ImageSet, synthetic: ImageSet, choice: ExtractorChoice) -> None:
        self.train, self.holdout, self.synthetic = (drawn(s, MOST) for s in (train, holdout, synthetic))
        self._real = (train, holdout)
        self._choice = choice

    @cached_property
    def extractor(self) -> Extractor:
        """Made ready once.

        Raises:
            UsageError: It was fitted to images of either real role.
        """
        extractor = self._choice.open()
        require_stranger(extractor, *self._real)
        return extractor

    @cached_property
    def raw(self) -> Roles:
        """What the extractor gives, neither standardised nor reduced."""
        return self.of(self.extractor)

    @cached_property
    def reduced(self) -> Roles:
        """The same in whitened components fitted on the holdout."""
        reduce = self._reduction
        raw = self.raw
        return Roles(reduce(raw.holdout), reduce(raw.train), reduce(raw.synthetic), raw.holdout_patient)

    @cached_property
    def radiomic(self) -> Roles:
        """Radiomic features, not standardised."""
        return self.of(_Radiomic())

    @cached_property
    def cells(self) -> Cells:
        """Features of the three roles over scales and tasks."""
        from synthrelease.audit.task_cells import cells_of

        return cells_of(self.train, self.holdout, self.synthetic, (self._choice.name, self.extractor))

    @property
    def name(self) -> str:
        """The extractor, its preprocessing, and whom what was fitted on."""
        return described(self.extractor, self._reduction, "holdout")

    @cached_property
    def _reduction(self) -> Reduction:
        return Reduction.fit(self.raw.holdout)

    def of(self, extractor: Extractor) -> Roles:
        """What any extractor gives of the three roles."""
        holdout, train, synthetic = (extractor(s.images) for s in (self.holdout, self.train, self.synthetic))
        return Roles(holdout, train, synthetic, self.holdout.patient)


class _Radiomic:
    """The radiomic features as an extractor."""

    name = "radiomic features of whole images in fixed grey bins"

    def __call__(self, images: FloatArray) -> Array:
        return radiomic_features(images)


def require_stranger(extractor: Extractor, *real: ImageSet) -> None:
    """Distances are not measured by a network that was fitted to the images that are compared.

    One that has seen the training patients and not the holdout embeds the two differently, and then clean archives look
    nearer to one of them; one that has seen either rewards copies of it.

    Raises:
        UsageError: The extractor names images that it was fitted to, and some of them are here; none is named.
    """
    fitted_on: tuple[str, ...] = getattr(extractor, "fitted_on", ())
    known = sum(known_among(fitted_on, images.digests) for images in real)
    if known:
        raise UsageError(
            f"the encoder that the profile names was fitted to images of this very cohort ({known} of the "
            f"{len(fitted_on)} that it is known by): distances in its features would favour the archive",
            fix="Leave extractor.file out for the public encoder, or name one that was fitted to other patients.",
        )


def drawn(images: ImageSet, most: int) -> ImageSet:
    """All images, or about ``most`` of them: whole patients in an order that is always the same."""
    if len(images) <= most:
        return images
    _, patient = np.unique(images.patient, return_inverse=True)
    order = np.random.default_rng(_DRAW).permutation(int(patient.max()) + 1)
    reached = np.cumsum(np.bincount(patient)[order])
    taken = np.zeros(len(order), dtype=np.bool_)
    taken[order[: max(1, int(np.searchsorted(reached, most, side="right")))]] = True
    return images.take(taken[patient])


def halvings(case: AuditCase, rng: np.random.Generator, times: int = HALVINGS) -> tuple[str, Iterator[Halves]]:
    """The extractor's name, and random halves in its features.

    Raises:
        ValueError: The case has no holdout.
    """
    return case.fidelity.name, case.fidelity.reduced.halves(rng, times)

"""What is judged: the private images that trained the generator, those that did not, and the synthetic ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from synthrelease.audit.comparisons import COMPARISONS
from synthrelease.audit.fidelity import Fidelity
from synthrelease.audit.images import ImageSet, IntArray
from synthrelease.audit.planted import PLANTS, planted
from synthrelease.audit.search import CopySearch, Matches, Patients
from synthrelease.audit.utility import Utility
from synthrelease.errors import UnsuitableData
from synthrelease.features.extractors import DEFAULT, ExtractorChoice

if TYPE_CHECKING:
    from synthrelease.audit.duplicates import Duplicates
    from synthrelease.audit.expectation import Expectation
    from synthrelease.cohort.store import CohortStore

Scorer = Callable[[ImageSet], Mapping[str, npt.NDArray[np.float64]]]
"""What a model says of real images: (N,) scores by name, higher = more likely trained on. Equal images, equal scores."""


@dataclass(frozen=True, eq=False)
class AuditCase:
    """Everything that the checks may look at.

    Attributes:
        train: Images of patients that the generator was trained on.
        holdout: Images of patients that it never saw, drawn from the same cohort; None when there are none.
        synthetic: The archive that is judged, as a recipient would read it.
        classes: Class names by label number.
        segments: Mask names by mask channel.
        real_folder: Where the private files lie, for the scan of headers; None: not given.
        synthetic_folder: Where the outgoing files lie; None: not given.
        expectation: What every outgoing file must be, rebuilt from the frozen policy; None: synthrelease did not write
            them, or its policy is not at hand.
        scorer: Membership scores from the generator itself; None: no model is at hand.
        claimed_epsilon, claimed_delta: The guarantee that training claims for a patient; None: none is claimed.
        duplicates: What was found twice among the real images and set aside; None: nobody has looked yet.
        measures_power: Whether checks plant controls of their own; without, nothing can pass, and fails are as ever (for
            the self-test, which plants them from outside).
        extractor: What stands between pixels and distribution distances; the profile names it.
    """

    train: ImageSet
    holdout: ImageSet | None
    synthetic: ImageSet
    classes: tuple[str, ...]
    segments: tuple[str, ...]
    real_folder: Path | None = None
    synthetic_folder: Path | None = None
    expectation: Expectation | None = None
    scorer: Scorer | None = None
    claimed_epsilon: float | None = None
    claimed_delta: float | None = None
    duplicates: Duplicates | None = None
    measures_power: bool = True
    extractor: ExtractorChoice = DEFAULT
    _searches: dict[str, CopySearch] = field(default_factory=dict, init=False, repr=False)
    _planted: dict[tuple[str, str], Mapping[str, Matches]] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        roles = [self.train, self.synthetic] + ([self.holdout] if self.holdout is not None else [])
        if not len(self.train) or not len(self.synthetic):
            raise UnsuitableData("an audit needs training images and synthetic images", fix="Check both archives.")
        if len({r.images.shape[1:] for r in roles}) > 1 or len({r.masks.shape[1] for r in roles}) > 1:
            raise UnsuitableData(
                "real and synthetic images differ in size or number of masks",
                fix="Read the synthetic archive with the cohort settings of the private one.",
            )
        if self.holdout is not None and not len(self.holdout):
            object.__setattr__(self, "holdout", None)

    @cached_property
    def patients(self) -> Patients:
        """Who stands on which side.

        Raises:
            ValueError: There is no holdout; checks ask first.
        """
        if self.holdout is None:
            raise ValueError("copies are searched in train and holdout together")
        return Patients.of(self.train, self.holdout)

    def search(self, kind: str) -> CopySearch:
        """The search over all real patients by one kind of comparison; made once, shared by the checks that read it.

        Args:
            kind: A name in :data:`synthrelease.audit.comparisons.COMPARISONS`.

        Raises:
            ValueError: There is no holdout; checks ask first.
        """
        if kind not in self._searches:
            patients = self.patients
            self._searches[kind] = CopySearch(COMPARISONS[kind](patients), patients, self.synthetic)
        return self._searches[kind]

    def planted(self, kind: str, transform: str) -> Mapping[str, Matches]:
        """What planted leaks saw, by comparison: known leaks, to measure what a check can see.

        Args:
            kind: As for :meth:`search`. transform: A name in :data:`synthrelease.audit.planted.PLANTS`.
        """
        key = (kind, transform)
        if key not in self._planted:
            plants = planted(transform, self.train, self.synthetic, PLANTS)
            self._planted[key] = self.search(kind).probe(plants)
        return self._planted[key]

    @cached_property
    def fidelity(self) -> Fidelity:
        """Features of the three roles, shared by the checks of fidelity.

        Raises:
            ValueError: There is no holdout; checks ask first.
        """
        if self.holdout is None:
            raise ValueError("fidelity is measured against a holdout")
        return Fidelity(self.train, self.holdout, self.synthetic, self.extractor)

    @cached_property
    def utility(self) -> Utility:
        """Networks trained on real and on synthetic images, shared likewise.

        Raises:
            ValueError: There is no holdout; checks ask first.
        """
        if self.holdout is None:
            raise ValueError("utility is measured on a holdout")
        return Utility(self.train, self.holdout, self.synthetic, len(self.classes))

    @property
    def counts(self) -> dict[str, int]:
        """Public size of each role."""
        return {
            "train_images": len(self.train),
            "train_patients": self.train.patient_count,
            "holdout_images": len(self.holdout) if self.holdout is not None else 0,
            "holdout_patients": self.holdout.patient_count if self.holdout is not None else 0,
            "synthetic_images": len(self.synthetic),
        }


def image_set(store: CohortStore, rows: IntArray) -> ImageSet:
    """The images of a store at ``rows``, in memory."""
    return ImageSet(
        store.images(rows),
        store.masks(rows),
        np.asarray(store.labels)[rows].astype(np.int64),
        np.asarray(store.patient)[rows].astype(np.int64),
        tuple(store.pixel_digests[int(r)] for r in rows),
        tuple(store.image_ids[int(r)] for r in rows),
        np.asarray(store.has_mask)[rows].astype(np.bool_),
        np.asarray(rows, dtype=np.int64),
        {name: values[rows] for name, values in store.attributes.items()},
    )


def case_from_stores(
    cohort: CohortStore,
    synthetic: CohortStore,
    *,
    real_folder: Path | None = None,
    synthetic_folder: Path | None = None,
    expectation: Expectation | None = None,
) -> AuditCase:
    """The case of a private store (with its recorded split) and a synthetic store (read back like any archive).

    Raises:
        UnsuitableData: The two were not read with the same classes, segments and resolution.
    """
    from synthrelease.cohort.store import Split

    ours, theirs = cohort.manifest, synthetic.manifest
    if tuple(ours.classes) != tuple(theirs.classes) or tuple(ours.segments) != tuple(theirs.segments):
        raise UnsuitableData(
            "the private and the synthetic store differ in their classes or segments",
            fix="Read both with the same cohort settings.",
        )
    held = cohort.rows(Split.HOLDOUT)
    return AuditCase(
        image_set(cohort, cohort.rows(Split.TRAIN)),
        image_set(cohort, held) if len(held) else None,
        image_set(synthetic, synthetic.rows(Split.ALL)),
        tuple(ours.classes),
        tuple(ours.segments),
        real_folder,
        synthetic_folder,
        expectation,
    )


def case_from_folders(
    real: CohortStore,
    holdout: CohortStore | None,
    synthetic: CohortStore,
    *,
    real_folder: Path | None = None,
    synthetic_folder: Path | None = None,
) -> AuditCase:
    """The case of stores that were read from separate folders, with no recorded split.

    Raises:
        UnsuitableData: They were not read with the same classes, segments and resolution.
    """
    from synthrelease.cohort.store import Split

    train = image_set(real, real.rows(Split.ALL))
    held = None
    if holdout is not None:
        held = image_set(holdout, holdout.rows(Split.ALL))
        names = {name: index for index, name in enumerate(real.patient_ids)}
        # A patient who is in both folders keeps one number, so that the split's check sees it.
        numbers = np.array(
            [names.get(name, len(names) + index) for index, name in enumerate(holdout.patient_ids)], dtype=np.int64
        )
        held = replace(held, patient=numbers[held.patient])
    return AuditCase(
        train,
        held,
        image_set(synthetic, synthetic.rows(Split.ALL)),
        tuple(real.manifest.classes),
        tuple(real.manifest.segments),
        real_folder,
        synthetic_folder,
    )

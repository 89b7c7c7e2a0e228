"""What is judged: the private images that trained the generator, those that did not, and the synthetic ones."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from synthrelease.audit.planted import PLANT_SEED, plant_each
from synthrelease.audit.search import CopySearch, Matches
from synthrelease.errors import UnsuitableData
from synthrelease.features.descriptors import at_audit_resolution

if TYPE_CHECKING:
    from synthrelease.audit.expectation import Expectation
    from synthrelease.cohort.store import CohortStore

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images of one role, with what is known of each.

    Attributes:
        images: (N, 1, H, W) float32 in [-1, 1], bright = dense.
        masks: (N, K, H, W) float32 in [0, 1], coverage of each pixel by each segment; K may be 0.
        labels: (N,) int64, index into the classes.
        patient: (N,) int64, same number = same patient.
        digests: SHA-256 of each image's stored pixels, hex. Private for real images.
        ids: What the image is called in its archive. Private for real images.
        has_mask: (N,) bool, whether the image came with masks; empty: all have.
        rows: (N,) int64, row of each image in the store it came from; empty: 0..N-1.
    """

    images: FloatArray
    masks: FloatArray
    labels: IntArray
    patient: IntArray
    digests: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()
    has_mask: BoolArray = field(default_factory=lambda: np.zeros(0, dtype=np.bool_))
    rows: IntArray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))

    def __post_init__(self) -> None:
        count = len(self.images)
        if self.images.ndim != 4 or self.images.shape[1] != 1 or self.masks.ndim != 4:
            raise ValueError("images must be (N, 1, H, W) and masks (N, K, H, W)")
        if not len(self.masks) == len(self.labels) == len(self.patient) == count:
            raise ValueError("images, masks, labels and patients must be of one length")
        if len(self.has_mask) == 0:
            object.__setattr__(self, "has_mask", np.full(count, self.masks.shape[1] > 0))
        if len(self.rows) == 0:
            object.__setattr__(self, "rows", np.arange(count, dtype=np.int64))

    def __len__(self) -> int:
        return len(self.images)

    @property
    def patient_count(self) -> int:
        """Number of different patients."""
        return len(np.unique(self.patient))

    @cached_property
    def small(self) -> FloatArray:
        """(N, S, S) float32 at the resolution of the copy search."""
        return at_audit_resolution(self.images)

    def take(self, index: npt.NDArray[np.integer] | BoolArray) -> ImageSet:
        """The images at ``index``, in that order."""
        where = np.arange(len(self))[index]
        return ImageSet(
            self.images[where],
            self.masks[where],
            self.labels[where],
            self.patient[where],
            tuple(self.digests[i] for i in where) if self.digests else (),
            tuple(self.ids[i] for i in where) if self.ids else (),
            self.has_mask[where],
            self.rows[where],
        )


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
    """

    train: ImageSet
    holdout: ImageSet | None
    synthetic: ImageSet
    classes: tuple[str, ...]
    segments: tuple[str, ...]
    real_folder: Path | None = None
    synthetic_folder: Path | None = None
    expectation: Expectation | None = None

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
    def search(self) -> CopySearch:
        """The template search over all real patients; made once and shared by the checks that read it.

        Raises:
            ValueError: There is no holdout; checks ask first.
        """
        if self.holdout is None:
            raise ValueError("the copy search compares train with holdout")
        return CopySearch(
            self.train.small, self.train.patient, self.holdout.small, self.holdout.patient, self.synthetic.small
        )

    @cached_property
    def planted(self) -> dict[str, Matches]:
        """What planted copies of training images saw, by transform: known leaks, to measure what a check can see."""
        plants = plant_each(self.train.images, self.train.patient, np.random.default_rng(PLANT_SEED))
        return {name: self.search.probe(at_audit_resolution(images)) for name, images in plants.items()}

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

"""The images of one role, in memory, with what is known of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

from synthrelease.features.descriptors import at_audit_resolution

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]
TextArray = npt.NDArray[np.str_]


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
        attributes: What else is known of each image (sex, age band, scanner), (N,) text by name; "" = unknown. Private
            for real images.
    """

    images: FloatArray
    masks: FloatArray
    labels: IntArray
    patient: IntArray
    digests: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()
    has_mask: BoolArray = field(default_factory=lambda: np.zeros(0, dtype=np.bool_))
    rows: IntArray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    attributes: Mapping[str, TextArray] = field(default_factory=dict)

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
            {name: values[where] for name, values in self.attributes.items()},
        )

"""The cohort as training and audit see it: pixels at training resolution, memory-mapped, with who is who.

A store is a folder of mode 0700 that never leaves the house: `images.npy` (N, R, R) uint16, `masks.npy`
(N, K, R, R) uint8, small index files, `cohort.json`, and `refusals.jsonl` (what was left out; private).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from synthrelease.cohort.types import BoolArray, FloatArray
from synthrelease.errors import IntegrityError
from synthrelease.records.digests import digest_of, manifest_of
from synthrelease.records.files import read_json

IndexArray = npt.NDArray[np.int64]
TextArray = npt.NDArray[np.str_]

COHORT_SCHEMA = "synthrelease.cohort/1"
IMAGES, MASKS, ARRAYS, IDS, MANIFEST, REFUSALS = (
    "images.npy",
    "masks.npy",
    "index.npz",
    "ids.json",
    "cohort.json",
    "refusals.jsonl",
)
IMAGE_STEPS = 65535
MASK_STEPS = 255
_FIX = "Read the cohort again."


class Split(StrEnum):
    """A side of the split."""

    TRAIN = "train"
    HOLDOUT = "holdout"
    ALL = "all"


@dataclass(frozen=True)
class CohortManifest:
    """What a store holds. Exact counts: private, like the store.

    Attributes:
        classes: Class names, in the order of `labels`.
        segments: Segment names, in the order of the masks' axis.
        resolution: R.
        patients: P.
        images: N.
        refused: Images (and files) left out, by reason.
        notes: Remarks on what was put right, counted.
        train_patients: Patients that the generator sees.
        holdout_patients: Patients that it never sees and that serve as the audit's control; 0 for an archive.
        aside_patients: Patients that it never sees and that serve for nothing: they share an image with a training one.
        holdout_fraction: Asked for; None for an archive.
        split_seed: The recorded draw, hexadecimal; None for an archive.
        duplicates_across_patients: Images whose pixels also occur under another patient.
        digest: SHA-256 over the store's files and every field above.
        schema: Version of this format.
    """

    classes: tuple[str, ...]
    segments: tuple[str, ...]
    resolution: int
    patients: int
    images: int
    refused: dict[str, int]
    notes: dict[str, int]
    train_patients: int
    holdout_patients: int
    aside_patients: int
    holdout_fraction: float | None
    split_seed: str | None
    duplicates_across_patients: int
    digest: str = ""
    schema: str = COHORT_SCHEMA

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)

    def digest_with(self, folder: Path) -> str:
        """The digest of this manifest together with the other files of its folder."""
        files = {name: digest for name, digest in manifest_of(folder).items() if name != MANIFEST}
        return digest_of({"files": files, "manifest": {**self.to_json(), "digest": ""}})


class CohortStore:
    """A store that was opened; pixels stay on disk until they are asked for.

    Attributes:
        folder: Private.
        manifest: See `CohortManifest`.
        labels: (N,) int64 class indices.
        patient: (N,) int64 indices into `patient_ids`.
        holdout: (P,) bool, not a training patient.
        aside: (P,) bool, of these, on neither side.
        has_mask: (N,) bool.
        image_ids: N ids. Private.
        patient_ids: P ids. Private.
        pixel_digests: N SHA-256 digests of the source pixels. Private.
        attributes: (N,) text by name, "" where not told; only those that some image tells. Private.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        raw = read_json(folder / MANIFEST)
        try:
            if raw["schema"] != COHORT_SCHEMA:
                raise ValueError("another schema")
            self.manifest = CohortManifest(
                **{**raw, "classes": tuple(raw["classes"]), "segments": tuple(raw["segments"])}
            )
            ids = read_json(folder / IDS)
            self.image_ids: list[str] = ids["images"]
            self.patient_ids: list[str] = ids["patients"]
            self.pixel_digests: list[str] = ids["pixel_digests"]
            # A store of before attributes were kept has none; it opens all the same.
            told: Mapping[str, list[str]] = ids.get("attributes", {})
            self.attributes: Mapping[str, TextArray] = {name: np.array(told[name], dtype=np.str_) for name in told}
            with (folder / ARRAYS).open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
                self.labels: IndexArray = arrays["labels"]
                self.patient: IndexArray = arrays["patient"]
                self.holdout: BoolArray = arrays["holdout"]
                self.aside: BoolArray = arrays["aside"]
                self.has_mask: BoolArray = arrays["has_mask"]
            self._images = np.load(folder / IMAGES, mmap_mode="r", allow_pickle=False)
            self._masks = np.load(folder / MASKS, mmap_mode="r" if self.manifest.segments else None, allow_pickle=False)
        except (OSError, EOFError, KeyError, TypeError, ValueError, AttributeError, BadZipFile) as error:
            raise IntegrityError("the cohort store cannot be read", fix=_FIX) from error
        self._check_shapes()
        self._by_patient = np.argsort(self.patient, kind="stable")
        self._starts = np.searchsorted(self.patient[self._by_patient], np.arange(len(self.patient_ids) + 1))

    @classmethod
    def open(cls, folder: Path) -> CohortStore:
        """Open a store.

        Raises:
            IntegrityError: A file is missing, cut, or does not fit the others. `verify` looks at every byte.
        """
        return cls(folder)

    def _check_shapes(self) -> None:
        m = self.manifest
        side = (m.resolution, m.resolution)
        fits = (
            self._images.shape == (m.images, *side)
            and self._masks.shape == (m.images, len(m.segments), *side)
            and self._images.dtype == np.uint16
            and self._masks.dtype == np.uint8
            and self.labels.shape == self.patient.shape == self.has_mask.shape == (m.images,)
            and self.holdout.shape == self.aside.shape == (m.patients,)
            and len(self.image_ids) == len(self.pixel_digests) == m.images
            and len(self.patient_ids) == m.patients
            and all(values.shape == (m.images,) for values in self.attributes.values())
        )
        if not fits:
            raise IntegrityError("the files of the cohort store do not fit each other", fix=_FIX)

    def verify(self) -> None:
        """Compare every byte of the store with the digest in its manifest.

        Raises:
            IntegrityError: Something was changed after the store was written.
        """
        if self.manifest.digest_with(self.folder) != self.manifest.digest:
            raise IntegrityError("the cohort store was changed after it was written", fix=_FIX)

    def images(self, rows: IndexArray) -> FloatArray:
        """(n, 1, R, R) float32 in [-1, 1]."""
        levels = self._images[rows].astype(np.float32)
        unit = levels * np.float32(2 / IMAGE_STEPS) - np.float32(1)
        return np.asarray(unit[:, None], dtype=np.float32)

    def masks(self, rows: IndexArray) -> FloatArray:
        """(n, K, R, R) float32 in [0, 1]: the share of each pixel that the segment covers; 0 without a mask."""
        return np.asarray(self._masks[rows] * np.float32(1 / MASK_STEPS), dtype=np.float32)

    def patients(self, split: Split = Split.ALL) -> IndexArray:
        """Patient indices of a side, ascending."""
        if split is Split.ALL:
            return np.arange(len(self.patient_ids), dtype=np.int64)
        return np.flatnonzero(self._on(split)).astype(np.int64)

    def rows(self, split: Split = Split.ALL) -> IndexArray:
        """Image rows of a side, ascending."""
        if split is Split.ALL:
            return np.arange(len(self.patient), dtype=np.int64)
        return np.flatnonzero(self._on(split)[self.patient]).astype(np.int64)

    def _on(self, split: Split) -> BoolArray:
        return self.holdout & ~self.aside if split is Split.HOLDOUT else ~self.holdout

    def rows_of(self, patient: int) -> IndexArray:
        """Image rows of one patient, ascending."""
        return self._by_patient[self._starts[patient] : self._starts[patient + 1]]

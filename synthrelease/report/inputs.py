"""What a report is made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.floating[Any]]


class Edition(StrEnum):
    """Who reads it: the internal edition shows real patients and stays in the house; the external one shows none."""

    INTERNAL = "internal"
    EXTERNAL = "external"


@dataclass(frozen=True)
class ContactSheet:
    """Synthetic images to look at.

    Attributes:
        images: (N, H, W) in [-1, 1], bright = dense.
        labels: N class names.
        masks: (N, K, H, W) in [0, 1], or None without segments.
        segments: K segment names.
    """

    images: FloatArray
    labels: Sequence[str]
    masks: FloatArray | None = None
    segments: Sequence[str] = ()

    def __post_init__(self) -> None:
        if self.images.ndim != 3 or len(self.labels) != len(self.images):
            raise ValueError(
                f"images (N, H, W) with N labels expected, got {self.images.shape} and {len(self.labels)} labels"
            )
        if self.masks is not None and self.masks.shape[:2] != (len(self.images), len(self.segments)):
            raise ValueError(f"masks (N, K, H, W) with K segments expected, got {self.masks.shape}")


@dataclass(frozen=True)
class LookAlike:
    """A synthetic image beside the real ones most like it. Holds real patients: internal edition only.

    Attributes:
        synthetic: (H, W) in [-1, 1]. For a control pair, a held-out real image stands in its place.
        nearest_train: (H, W), the most similar training image.
        nearest_holdout: (H, W), the most similar image of a patient the generator never saw.
        similarity_train: Similarity to ``nearest_train``; higher is more alike.
        similarity_holdout: Similarity to ``nearest_holdout``.
        name: Which synthetic image, for instance its file in the archive.
        control: True for a real-to-real pair, which teaches the reader what ordinary likeness looks like.
        patch: Row, column, height and width in pixels of the part that matched, or None for the whole.
    """

    synthetic: FloatArray
    nearest_train: FloatArray
    nearest_holdout: FloatArray
    similarity_train: float
    similarity_holdout: float
    name: str = ""
    control: bool = False
    patch: tuple[int, int, int, int] | None = None


@dataclass(frozen=True)
class ReportInputs:
    """The records of a run and the pictures to show.

    Attributes:
        audit: ``AuditRecord.to_json()``.
        training: training.json; empty when the archive was made by another tool.
        archive: archive.json; empty likewise.
        policy: The resolved policy; only its public parts are shown.
        digests: SHA-256 of the records' files: audit, archive, training. The release checks the audit's.
        approvals: Lines of approvals.jsonl, oldest first.
        sheet: Synthetic images, or None.
        styles: PNG of every content in every style, or None.
        pairs: Look-alikes; must be empty for the external edition.
        ledger: What the cohort has spent, if known: composed_epsilon, delta, runs, lifetime_epsilon.
        date: Day of the report, YYYY-MM-DD.
        private: Texts that must not be shown in the external edition, for instance the cohort's folder.
    """

    audit: Mapping[str, Any]
    training: Mapping[str, Any]
    archive: Mapping[str, Any]
    policy: Mapping[str, Any]
    digests: Mapping[str, str]
    approvals: Sequence[Mapping[str, Any]] = ()
    sheet: ContactSheet | None = None
    styles: bytes | None = None
    pairs: Sequence[LookAlike] = ()
    ledger: Mapping[str, Any] | None = None
    date: str = ""
    private: Sequence[str] = field(default_factory=tuple)

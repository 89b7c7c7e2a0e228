"""What names real patients: synthetic images beside the people they look most like. It never leaves the house."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from synthrelease.audit.case import AuditCase
from synthrelease.audit.checks import local_copies, mask_copies, near_copies
from synthrelease.audit.copies import ALPHA
from synthrelease.audit.measurement import Measurement, holdout_missing

SCHEMA = "synthrelease.annex/2"
LOOK_ALIKES = 24
"""Images shown beside whom they resemble as a whole, whether flagged or not."""

PIECES = 12
"""Images shown because a piece or a mask of theirs was flagged, at most; each of the two kinds."""

MINIMUM_SYNTHETIC = 30


@dataclass(frozen=True)
class LookAlike:
    """One synthetic image beside the real images most like it.

    Attributes:
        synthetic_row: Row in the synthetic store. train_row, holdout_row: Rows in the private store.
        train_similarity, holdout_similarity: Best likeness over all that the search forgives, in [0, 1].
        p_value: Of "strangers are that much more alike", for this image alone.
        copy: Whether it is flagged after correction for the number of images.
        seen_by: What was compared: ``whole`` images, ``parts`` of them, or ``masks``.
        how: What was done to the training image to see it; empty: nothing that is known.
        box: Where in the synthetic image, as top, left, bottom, right in shares of the side; None: all of it.
    """

    synthetic_row: int
    train_row: int
    holdout_row: int
    train_similarity: float
    holdout_similarity: float
    p_value: float
    copy: bool
    seen_by: str = "whole"
    how: str = ""
    box: tuple[float, float, float, float] | None = None


@dataclass(frozen=True)
class InternalAnnex:
    """What names real patients: never part of audit.json, never leaves the house."""

    look_alikes: tuple[LookAlike, ...] = ()
    schema: str = SCHEMA
    checks: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Further private values of single checks, by check."""

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)


def annex_of(case: AuditCase, measured: Mapping[str, Measurement]) -> InternalAnnex:
    """The images most like a training patient, beside that patient and the nearest holdout one.

    Args:
        case: What was judged. measured: What the checks found, by check.
    """
    private = {check: found.private for check, found in measured.items() if found.private}
    if holdout_missing(case) or len(case.synthetic) < MINIMUM_SYNTHETIC:
        return InternalAnnex(checks=private)
    pairs = list(_pairs(case, "whole", near_copies.image_p(case), LOOK_ALIKES, flagged_only=False))
    if _flagged(measured, local_copies.LocalCopies.id):
        pairs += _pairs(case, "parts", local_copies.image_p(case), PIECES, flagged_only=True)
    if _flagged(measured, mask_copies.MaskCopies.id):
        pairs += _pairs(case, "masks", mask_copies.image_p(case), PIECES, flagged_only=True)
    return InternalAnnex(tuple(pairs), checks=private)


def _flagged(measured: Mapping[str, Measurement], check: str) -> bool:
    return check in measured and bool(measured[check].details.get("copies_flagged"))


def _pairs(
    case: AuditCase, kind: str, p: npt.NDArray[np.float64], most: int, *, flagged_only: bool
) -> Iterator[LookAlike]:
    """The images with the smallest p-values, each with its nearest patient of either side."""
    comparison, trained = case.search(kind).comparison, case.patients.train_count
    for i in np.argsort(p, kind="stable")[:most]:
        copy = bool(p[i] * len(p) <= ALPHA)
        if flagged_only and not copy:
            return
        _, tables = next(comparison.similarity(case.synthetic.take(np.array([i]))))
        alike = tables.max(axis=(0, 1))
        columns = int(alike[:trained].argmax()), trained + int(alike[trained:].argmax())
        near, far = (comparison.sighting(case.synthetic, int(i), column) for column in columns)
        yield LookAlike(
            int(case.synthetic.rows[i]),
            int(case.train.rows[near.image]),
            int(case.patients.holdout.rows[far.image - len(case.train)]),
            near.similarity,
            far.similarity,
            float(p[i]),
            copy,
            kind,
            near.how,
            near.box,
        )

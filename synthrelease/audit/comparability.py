"""Can the sides of an audit be compared at all? Grey values, sizes and classes, before any check runs."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from synthrelease.audit.case import AuditCase
from synthrelease.audit.images import ImageSet
from synthrelease.errors import UsageError

LOOKED_AT = 500
"""Images of a side whose grey values are looked at, spread evenly."""

NARROW = 1.0 / 8.0
"""Spread of grey values of one side, as a share of the other's, below which they mean different things: 8 bits read as
16 give 1/256, 12 bits as 16 give 1/16; a low-contrast generator keeps more than a quarter."""

APART = 0.15
"""Mean shift of a grey value, as a share of the range, that is worth a remark."""

_LEVELS = np.linspace(0.0, 1.0, 101)

Array = npt.NDArray[np.float64]


def require_comparable_grey(case: AuditCase) -> None:
    """Both sides use their range of grey values alike.

    Raises:
        UsageError: One side fills a small part of the range that the other fills.
    """
    real, synthetic = _spread(_greys(case.train)), _spread(_greys(case.synthetic))
    narrow, wide = sorted((real, synthetic))
    if narrow < NARROW * wide:
        side = "real" if real < synthetic else "synthetic"
        raise UsageError(
            f"grey values cannot be compared: those of the {side} side fill {_percent(narrow)} of the range, those of "
            f"the other {_percent(wide)}, as 8 and 16 bits read alike would",
            fix="Give --policy with a cohort.window that fits both (mode: fixed, low, high), or store both sides with "
            "one meaning of grey values.",
        )


def remarks_on(case: AuditCase) -> tuple[str, ...]:
    """What a reader must know before reading the findings, a sentence of public text each."""
    told = []
    real, synthetic = _greys(case.train), _greys(case.synthetic)
    apart = float(np.abs(real - synthetic).mean()) / 2.0
    usual = float(np.abs(real - _greys(case.holdout)).mean()) / 2.0 if case.holdout is not None else 0.0
    if apart > APART + usual:
        told.append(
            f"Grey values of the synthetic side lie {_percent(apart)} of the range from those of the real side: by "
            "another window, or by the generator. Copies are searched whatever the grey values; fidelity is not."
        )
    if len(case.classes) > 1 and len(np.unique(case.synthetic.labels)) == 1:
        told.append("All synthetic images are of one class; what compares classes cannot be answered.")
    if len(case.classes) > 1 and len(np.unique(case.train.labels)) == 1:
        told.append("All real images are of one class; what compares classes cannot be answered.")
    if case.train.patient_count == 1:
        told.append("All real images belong to one patient; nothing can be said of patients in general.")
    return tuple(told)


def _greys(side: ImageSet) -> Array:
    """(101,) percentiles of the grey values of a side, in [-1, 1]."""
    chosen = np.unique(np.linspace(0, len(side) - 1, num=min(LOOKED_AT, len(side))).astype(np.int64))
    return np.asarray(np.quantile(side.images[chosen], _LEVELS), dtype=np.float64)


def _spread(greys: Array) -> float:
    """From the 1st to the 99th percentile, as a share of the range."""
    return float(greys[99] - greys[1]) / 2.0


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %"

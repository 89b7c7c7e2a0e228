"""Whether readers agree: kappa is 1 when they always do and 0 when they do as often as chance would have it.

    kappa = (agreement seen - agreement by chance) / (1 - agreement by chance)

Cohen's is of two readers, each with an own habit; Fleiss' of any number. Intervals are of resampled cases, since a case that one
reader misses is often missed by others.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from synthrelease.audit.intervals import Interval, patient_resamples, percentiles

Answers = npt.NDArray[np.bool_]
Weights = npt.NDArray[np.float64]
RESAMPLES = 2000


class Kappa(NamedTuple):
    """A kappa with the interval of resampled cases at 95 %."""

    value: float
    interval: Interval


def cohen(one: Answers, other: Answers, rng: np.random.Generator) -> Kappa | None:
    """Agreement of two readers, or of one with himself.

    Args:
        one: (n,) answers.
        other: (n,) answers to the same cases.
        rng: Of the resamples.

    Returns:
        None where both give one and the same answer throughout: there is nothing that chance would not do.

    Source: Cohen 1960.

    >>> cohen(np.array([1, 1, 0, 0], bool), np.array([1, 0, 0, 0], bool), np.random.default_rng(0)).value
    0.5
    """
    cells = np.stack([one == other, one, other]).astype(np.float64)

    def kappa(weights: Weights) -> Weights:
        same, first, second = np.moveaxis(weights @ cells.T / weights.sum(-1, keepdims=True), -1, 0)
        return _kappa(same, first * second + (1 - first) * (1 - second))

    return _with_interval(kappa, len(one), rng)


def fleiss(answers: Answers, rng: np.random.Generator) -> Kappa | None:
    """Agreement of several readers.

    Args:
        answers: (readers, cases), two readers or more.
        rng: Of the resamples.

    Returns:
        None where all answers are one and the same.

    Source: Fleiss 1971.
    """
    readers = len(answers)
    yes = answers.sum(0).astype(np.float64)
    agree = (yes * (yes - 1) + (readers - yes) * (readers - yes - 1)) / (readers * (readers - 1))
    cells = np.stack([agree, yes / readers])

    def kappa(weights: Weights) -> Weights:
        same, share = np.moveaxis(weights @ cells.T / weights.sum(-1, keepdims=True), -1, 0)
        return _kappa(same, share**2 + (1 - share) ** 2)

    return _with_interval(kappa, answers.shape[1], rng)


def _kappa(same: Weights, chance: Weights) -> Weights:
    """NaN where chance alone agrees always."""
    room = 1 - chance
    return np.where(room > 1e-12, (same - chance) / np.where(room > 1e-12, room, 1), np.nan)


def _with_interval(kappa: Callable[[Weights], Weights], cases: int, rng: np.random.Generator) -> Kappa | None:
    """The kappa of all cases and of resampled ones (cases drawn with replacement), those left out that have none."""
    value = float(kappa(np.ones(cases)))
    if np.isnan(value):
        return None
    draws = kappa(patient_resamples(cases, RESAMPLES, rng))
    return Kappa(value, percentiles(draws[~np.isnan(draws)]))

"""Kernel distance (KID): unbiased at any number of images, so it says the same for small archives."""

from __future__ import annotations

import numpy as np

from synthrelease.audit.case import AuditCase
from synthrelease.audit.fidelity import halvings
from synthrelease.audit.intervals import percentiles
from synthrelease.audit.measurement import Explanation, Measurement, holdout_missing, unable
from synthrelease.features.distances import kernel_distance
from synthrelease.records.findings import Baseline, Criterion, Direction, Power, Statistic

NAME = "kernel distance (squared MMD) to the holdout"


class KernelDistance:
    """Unbiased squared MMD under the cubic kernel, with the same number for real training images beside it."""

    id = "kernel_distance"
    question = "How far are the synthetic images from real ones, judged without a bias from small numbers?"
    criterion = Criterion.FIDELITY
    needs_sound_split = False
    explanation = Explanation(
        how="The squared maximum mean discrepancy between synthetic and held-out real features under a cubic kernel, estimated "
        "without bias, with an interval from random halves of the held-out patients.",
        good="Near zero, like the number of the training images beside it; a little below zero happens by chance and is left so.",
        weakness="It has no natural unit, depends on the extractor, and says nothing about copies.",
        source="Bińkowski et al., ICLR 2018 (KID).",
    )

    def measure(self, case: AuditCase, rng: np.random.Generator) -> Measurement:
        """Mean and spread over random halves of the holdout."""
        missing = holdout_missing(case)
        if missing:
            return unable(NAME, Direction.LOWER, missing, n=case.counts)
        extractor, draws = halvings(case, rng)
        distance, ceiling = [], []
        for half in draws:
            distance.append(kernel_distance(half.first, half.synthetic))
            ceiling.append(kernel_distance(half.first, half.train))
        value, interval = float(np.mean(distance)), percentiles(np.array(distance))
        return Measurement(
            Statistic(NAME, value, interval.low, interval.high, 0.95, Direction.LOWER),
            Baseline(holdout=float(np.mean(ceiling))),
            Power((interval.high - interval.low) / 2, "squared MMD, half width of the interval"),
            case.counts,
            note=f"squared MMD {value:.3f}; real training images have {np.mean(ceiling):.3f}",
            details={"extractor": extractor, "baseline_95": list(percentiles(np.array(ceiling)))},
        )

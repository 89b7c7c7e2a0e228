"""Fréchet distance extrapolated to infinitely many images: the part that no larger archive would remove."""

from __future__ import annotations

import numpy as np

from synthrelease.audit.case import AuditCase
from synthrelease.audit.fidelity import halvings
from synthrelease.audit.intervals import percentiles
from synthrelease.audit.measurement import Explanation, Measurement, holdout_missing, unable
from synthrelease.features.distances import frechet_infinity
from synthrelease.records.findings import Baseline, Criterion, Direction, Power, Statistic

NAME = "Fréchet distance to the holdout, extrapolated to infinitely many images"
TIMES = 20
FEWEST = 60


class FrechetInfinity:
    """FD-infinity of synthetic images, with that of training images beside it."""

    id = "frechet_infinity"
    question = "How far would the synthetic images stay from real ones, however many were made?"
    criterion = Criterion.FIDELITY
    needs_sound_split = False
    explanation = Explanation(
        how="The Fréchet distance falls as more images are compared. It is measured at twelve sizes and followed along a line in "
        "one over the size to infinitely many, over random halves of the held-out patients.",
        good="Near zero, like the number of the training images beside it. The unit is one squared standard deviation of a feature.",
        weakness="The line is an approximation; with few patients the interval is wide, and the number can be a little negative.",
        source="Chong & Forsyth, CVPR 2020.",
    )

    def measure(self, case: AuditCase, rng: np.random.Generator) -> Measurement:
        """Median and spread over random halves of the holdout."""
        missing = holdout_missing(case)
        if missing:
            return unable(NAME, Direction.LOWER, missing, n=case.counts)
        if len(case.synthetic) < FEWEST:
            return unable(
                NAME, Direction.LOWER, f"{len(case.synthetic)} synthetic images; at least {FEWEST} are needed"
            )
        extractor, draws = halvings(case, rng, TIMES)
        distance, ceiling = [], []
        for half in draws:
            distance.append(frechet_infinity(half.first, half.synthetic, rng))
            ceiling.append(frechet_infinity(half.first, half.train, rng))
        value, interval = float(np.median(distance)), percentiles(np.array(distance))
        return Measurement(
            Statistic(NAME, value, interval.low, interval.high, 0.95, Direction.LOWER),
            Baseline(holdout=float(np.median(ceiling))),
            Power((interval.high - interval.low) / 2, "squared deviations, half width of the interval"),
            case.counts,
            note=f"{value:.2f} squared standard deviations; real training images have {np.median(ceiling):.2f}",
            details={"extractor": extractor, "baseline_95": list(percentiles(np.array(ceiling)))},
        )

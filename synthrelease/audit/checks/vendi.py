"""Vendi score: how many different images the archive amounts to, beside real images of the same number."""

from __future__ import annotations

import numpy as np

from synthrelease.audit.case import AuditCase
from synthrelease.audit.fidelity import halvings
from synthrelease.audit.intervals import percentiles
from synthrelease.audit.measurement import Explanation, Measurement, holdout_missing, unable
from synthrelease.features.distances import median_distance, vendi
from synthrelease.records.findings import Baseline, Criterion, Direction, Power, Statistic

NAME = "Vendi score (effective number of different images), relative to as many training images"
TIMES = 20
MOST = 300
FEWEST = 30


class VendiScore:
    """Ratio of Vendi scores at equal numbers under one Gaussian kernel, whose width the holdout sets."""

    id = "vendi"
    question = "Are the synthetic images as different from each other as real ones are?"
    criterion = Criterion.FIDELITY
    needs_sound_split = False
    explanation = Explanation(
        how="The likeness of every pair of images in an archive makes a matrix; the entropy of its eigenvalues says to how many "
        "different images the archive amounts. Divided by the number of as many real images.",
        good="Close to 1. A generator that repeats itself has less.",
        weakness="It needs no likeness to real images: nonsense may be varied too. Copies of varied images look varied.",
        source="Friedman & Dieng, TMLR 2023.",
    )

    def measure(self, case: AuditCase, rng: np.random.Generator) -> Measurement:
        """Median and spread of the ratio over random halves of the holdout."""
        missing = holdout_missing(case)
        if missing:
            return unable(NAME, Direction.HIGHER, missing, n=case.counts)
        if len(case.synthetic) < FEWEST:
            return unable(
                NAME, Direction.HIGHER, f"{len(case.synthetic)} synthetic images; at least {FEWEST} are needed"
            )
        extractor, draws = halvings(case, rng, TIMES)
        width = median_distance(case.fidelity.reduced.holdout[: 4 * MOST])
        ratio, scores, images = [], [], 0
        for half in draws:
            # The holdout, on which the components were fitted, is more spread out in them than anybody else.
            unit = vendi(half.train[:MOST], width)
            scores.append(vendi(half.synthetic[:MOST], width))
            ratio.append(scores[-1] / unit)
            images = min(MOST, len(half.train))
        value, interval = float(np.median(ratio)), percentiles(np.array(ratio))
        return Measurement(
            Statistic(NAME, value, interval.low, interval.high, 0.95, Direction.HIGHER),
            Baseline(holdout=1.0, random=0.0),
            Power((interval.high - interval.low) / 2, "ratio, half width of the interval"),
            case.counts,
            note=f"{value:.2f} times the variety of as many real images",
            details={"extractor": extractor, "score": float(np.median(scores)), "images": images},
        )

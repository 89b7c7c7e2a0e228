"""Fréchet distance to the holdout, in units of what two halves of the holdout are apart."""

from __future__ import annotations

import numpy as np

from synthrelease.audit.case import AuditCase
from synthrelease.audit.fidelity import halvings
from synthrelease.audit.intervals import percentiles
from synthrelease.audit.measurement import Explanation, Measurement, holdout_missing, unable
from synthrelease.features.distances import frechet
from synthrelease.records.findings import Baseline, Criterion, Direction, Power, Statistic

NAME = "Fréchet distance to the holdout, relative to holdout against itself"


class FrechetDistance:
    """FD(holdout A, synthetic) / FD(holdout A, holdout B) at equal numbers; 1 = as far as real from real."""

    id = "frechet"
    question = "How far are the synthetic images from real ones, on the whole?"
    criterion = Criterion.FIDELITY
    needs_sound_split = False
    explanation = Explanation(
        how="Every image becomes a few features (the extractor is named beside the number). The distance between the clouds of "
        "synthetic and of held-out real features is divided by the distance between two random halves of the held-out patients.",
        good="Close to 1: as far from real images as real images are from each other. The same ratio of the training images is the "
        "ceiling.",
        weakness="It sees means and spreads only, depends on the extractor, and says nothing about copies: an archive of copies "
        "scores best.",
        source="Heusel et al., NeurIPS 2017; relative to real against real: Woodland et al., MICCAI 2024.",
    )

    def measure(self, case: AuditCase, rng: np.random.Generator) -> Measurement:
        """Median and spread of the ratio over random halves of the holdout."""
        missing = holdout_missing(case)
        if missing:
            return unable(NAME, Direction.LOWER, missing, n=case.counts)
        extractor, draws = halvings(case, rng)
        ratio, ceiling = [], []
        for half in draws:
            unit = max(frechet(half.first, half.second), 1e-9)
            ratio.append(frechet(half.first, half.synthetic) / unit)
            ceiling.append(frechet(half.first, half.train) / unit)
        value, interval = float(np.median(ratio)), percentiles(np.array(ratio))
        distance = f"FD-{case.extractor.name}"
        return Measurement(
            Statistic(NAME, value, interval.low, interval.high, 0.95, Direction.LOWER),
            Baseline(holdout=float(np.median(ceiling))),
            Power((interval.high - interval.low) / 2, "ratio, half width of the interval"),
            case.counts,
            note=f"{distance} is {value:.1f} times that between two halves of the holdout",
            details={"extractor": extractor, "distance": distance},
        )

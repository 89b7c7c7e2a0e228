"""Radiomic Fréchet distance: texture as radiologists' software measures it, in units of real against real."""

from __future__ import annotations

import numpy as np

from synthrelease.audit.case import AuditCase
from synthrelease.audit.intervals import percentiles
from synthrelease.audit.measurement import Explanation, Measurement, holdout_missing, unable
from synthrelease.features.frd import radiomic_distance
from synthrelease.records.findings import Baseline, Criterion, Direction, Power, Statistic

NAME = "radiomic Fréchet distance to the holdout, relative to holdout against itself"
TIMES = 20
SMALLEST_SIDE = 16


class RadiomicFrechet:
    """Ratio of radiomic distances at equal numbers; the published log distance is in the details."""

    id = "radiomic_frechet"
    question = "Do the synthetic images have the texture of real ones?"
    criterion = Criterion.FIDELITY
    needs_sound_split = False
    explanation = Explanation(
        how="102 radiomic features (first order, co-occurrence, tone difference, runs; of the image and of two edge maps) are "
        "standardised by the held-out patients. The Fréchet distance to the archive is divided by the one between halves of them.",
        good="Close to 1, like the ratio of the training images beside it. Needs no network and no downloaded weights.",
        weakness="Features of the whole image; a lesion of a few pixels hardly moves them. Halves with fewer than 200 images cannot "
        "fill 102 dimensions, and the ratio is then coarse.",
        source="Konz, Osuala et al., Medical Image Analysis 2026 (FRD); feature definitions after Zwanenburg et al. 2020.",
    )

    def measure(self, case: AuditCase, rng: np.random.Generator) -> Measurement:
        """Median and spread of the ratio over random halves of the holdout."""
        missing = holdout_missing(case)
        if missing:
            return unable(NAME, Direction.LOWER, missing, n=case.counts)
        if min(case.synthetic.images.shape[-2:]) < SMALLEST_SIDE:
            return unable(
                NAME, Direction.LOWER, f"images smaller than {SMALLEST_SIDE} pixels have no texture to speak of"
            )
        features = case.fidelity.radiomic
        reference = features.holdout
        ratio, ceiling, distances = [], [], []
        for half in features.halves(rng, TIMES):
            unit = max(radiomic_distance(reference, half.first, half.second), 1e-9)
            distances.append(radiomic_distance(reference, half.first, half.synthetic))
            ratio.append(distances[-1] / unit)
            ceiling.append(radiomic_distance(reference, half.first, half.train) / unit)
        value, interval = float(np.median(ratio)), percentiles(np.array(ratio))
        return Measurement(
            Statistic(NAME, value, interval.low, interval.high, 0.95, Direction.LOWER),
            Baseline(holdout=float(np.median(ceiling))),
            Power((interval.high - interval.low) / 2, "ratio, half width of the interval"),
            case.counts,
            note=f"{value:.1f} times the distance between two halves of the holdout",
            details={
                "extractor": "102 radiomic features in fixed grey bins, standardised by the holdout",
                "log_distance": float(np.log(max(np.median(distances), 1e-12))),
            },
        )

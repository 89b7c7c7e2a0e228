"""MM-FID: Fréchet distance over scales and tasks, cell by cell in units of real against real."""

from __future__ import annotations

import numpy as np

from synthrelease.audit.case import AuditCase
from synthrelease.audit.intervals import percentiles
from synthrelease.audit.measurement import Explanation, Measurement, holdout_missing, unable
from synthrelease.records.findings import Baseline, Criterion, Direction, Power, Statistic

NAME = "MM-FID: Fréchet distance to the holdout over scales and tasks, relative to holdout against itself"
TIMES = 12
FEWEST = 30


class ScalesTasksDistance:
    """Geometric mean, over cells of a task and a scale, of FD(holdout A, synthetic) / FD(holdout A, holdout B)."""

    id = "mm_fid"
    question = "How far are the synthetic images from real ones, whatever one looks for and however closely?"
    criterion = Criterion.FIDELITY
    needs_sound_split = False
    explanation = Explanation(
        how="Images at full, half and quarter detail are seen by several extractors (textures, invented chests, landmarks, networks "
        "that learned the cohort's classes from held-out patients set apart). Each pair is a cell: a Fréchet distance, divided by "
        "the one between two halves of the holdout. The raw cells stand in the details, each with its interval.",
        good="Close to 1 in every cell, like the training images beside it. One bad cell says where the archive fails: fine detail, "
        "or what sets the classes apart.",
        weakness="Cells are of the same images and no independent witnesses. Their mean hides one that is bad: read the cells. Copies "
        "score best. The published normalisation by rows hides how large a distance is, and is not used.",
        source="Xing et al., IEEE TMI 2023 (MM-FID); cells normalised across what is compared is our reading.",
    )

    def measure(self, case: AuditCase, rng: np.random.Generator) -> Measurement:
        """Median and spread of the mean ratio over random halves of the holdout."""
        missing = holdout_missing(case)
        if missing:
            return unable(NAME, Direction.LOWER, missing, n=case.counts)
        if len(case.synthetic) < FEWEST:
            return unable(
                NAME, Direction.LOWER, f"{len(case.synthetic)} synthetic images; at least {FEWEST} are needed"
            )
        cells = case.fidelity.cells
        found = cells.distances(int(rng.integers(2**32)), TIMES)
        unit = np.log(np.maximum(found["real"], 1e-9))
        ratio, ceiling = (
            np.exp((np.log(np.maximum(found[name], 1e-9)) - unit).mean(axis=(1, 2)))
            for name in ("synthetic", "training")
        )
        value, interval = float(np.median(ratio)), percentiles(ratio)
        return Measurement(
            Statistic(NAME, value, interval.low, interval.high, 0.95, Direction.LOWER),
            Baseline(holdout=float(np.median(ceiling))),
            Power((interval.high - interval.low) / 2, "ratio, half width of the interval"),
            case.counts,
            note=f"{value:.1f} times the distance between two halves of the holdout, over {unit[0].size} cells",
            details=cells.told(found) | {"resamples": TIMES},
        )

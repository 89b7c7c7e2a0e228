"""Precision, recall, density and coverage, each beside what real training images reach."""

from __future__ import annotations

import numpy as np

from synthrelease.audit.case import AuditCase
from synthrelease.audit.fidelity import halvings
from synthrelease.audit.intervals import percentiles
from synthrelease.audit.measurement import Explanation, Measurement, holdout_missing, unable
from synthrelease.features.distances import Neighbourhoods, neighbourhoods
from synthrelease.records.findings import Baseline, Criterion, Direction, Power, Statistic

NAME = "share of the holdout's variety that is covered, relative to real images"


class PrecisionRecall:
    """Coverage is judged, since a collapsed archive is precise; all four are reported with their ceiling."""

    id = "prdc"
    question = "Do the synthetic images cover the variety of real ones, and do they stay within it?"
    criterion = Criterion.FIDELITY
    needs_sound_split = False
    explanation = Explanation(
        how="A ball around each held-out real image reaches to its fifth neighbour. Coverage is the share of balls that hold a "
        "synthetic image, divided by the share that holds a training image; precision, recall and density stand beside it.",
        good="Close to 1: the archive reaches as many kinds of patients as real images do.",
        weakness="Outliers make large balls and flatter precision; all four change with the number of images, so equal numbers are "
        "compared.",
        source="Kynkäänniemi et al., NeurIPS 2019; Naeem et al., ICML 2020.",
    )

    def measure(self, case: AuditCase, rng: np.random.Generator) -> Measurement:
        """Coverage of holdout halves by synthetic images over their coverage by training images."""
        missing = holdout_missing(case)
        if missing:
            return unable(NAME, Direction.HIGHER, missing, n=case.counts)
        if len(case.synthetic) < 30:
            return unable(NAME, Direction.HIGHER, f"{len(case.synthetic)} synthetic images; at least 30 are needed")
        extractor, draws = halvings(case, rng)
        ours, ceiling = [], []
        for half in draws:
            ours.append(neighbourhoods(half.first, half.synthetic))
            ceiling.append(neighbourhoods(half.first, half.train))
        ratio = np.array([o.coverage / max(c.coverage, 1e-9) for o, c in zip(ours, ceiling, strict=True)])
        value, interval = float(np.median(ratio)), percentiles(ratio)
        means = {name: _means(rows) for name, rows in (("synthetic", ours), ("training", ceiling))}
        return Measurement(
            Statistic(NAME, value, interval.low, interval.high, 0.95, Direction.HIGHER),
            Baseline(holdout=1.0, random=0.0),
            Power((interval.high - interval.low) / 2, "ratio, half width of the interval"),
            case.counts,
            note=f"coverage {means['synthetic']['coverage']:.2f}, real images reach {means['training']['coverage']:.2f}",
            details={"extractor": extractor, **means},
        )


def _means(rows: list[Neighbourhoods]) -> dict[str, float]:
    return {name: float(np.mean([getattr(r, name) for r in rows])) for name in Neighbourhoods._fields}

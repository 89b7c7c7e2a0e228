"""MM-STD: variety over scales and tasks, cell by cell beside that of real images."""

from __future__ import annotations

import numpy as np

from synthrelease.audit.case import AuditCase
from synthrelease.audit.intervals import percentiles
from synthrelease.audit.measurement import Explanation, Measurement, holdout_missing, unable
from synthrelease.audit.scales_tasks import Array
from synthrelease.records.findings import Baseline, Criterion, Direction, Power, Statistic

NAME = "MM-STD: agreement with the variety of real images over scales and tasks"
TIMES = 12
FEWEST = 30


class ScalesTasksVariety:
    """exp(-mean |log(STD synthetic / STD holdout)|) over cells: 1 where both vary alike, less for too little and too much."""

    id = "mm_std"
    question = "Do the synthetic images vary as much as real ones, whatever one looks for and however closely?"
    criterion = Criterion.FIDELITY
    needs_sound_split = False
    explanation = Explanation(
        how="In every cell of a task and a scale (see mm_fid), the mean spread of the features over the synthetic images is held "
        "against that over as many held-out ones. Too little and too much count alike.",
        good="Close to 1, like the training images beside it.",
        weakness="The spread of each feature alone: images may vary as much and in the wrong ways, which mm_fid sees. The published "
        "number has no real images in it, and noise then scores best.",
        source="Xing et al., IEEE TMI 2023 (MM-STD); beside real images is ours.",
    )

    def measure(self, case: AuditCase, rng: np.random.Generator) -> Measurement:
        """Median and spread of the agreement over random halves of the holdout."""
        missing = holdout_missing(case)
        if missing:
            return unable(NAME, Direction.HIGHER, missing, n=case.counts)
        if len(case.synthetic) < FEWEST:
            return unable(
                NAME, Direction.HIGHER, f"{len(case.synthetic)} synthetic images; at least {FEWEST} are needed"
            )
        cells = case.fidelity.cells
        found = cells.varieties(int(rng.integers(2**32)), TIMES)
        agreement, ceiling = (_agreement(found[name], found["real"]) for name in ("synthetic", "training"))
        value, interval = float(np.median(agreement)), percentiles(agreement)
        middle = {name: np.median(each, axis=0) for name, each in found.items()}
        times = float(np.exp(np.log(np.maximum(middle["synthetic"], 1e-9) / np.maximum(middle["real"], 1e-9)).mean()))
        return Measurement(
            Statistic(NAME, value, interval.low, interval.high, 0.95, Direction.HIGHER),
            Baseline(holdout=float(np.median(ceiling)), random=0.0),
            Power((interval.high - interval.low) / 2, "agreement, half width of the interval"),
            case.counts,
            note=f"{times:.2f} times the variety of real images on the whole, over {middle['real'].size} cells",
            details=cells.told(found) | {"resamples": TIMES},
        )


def _agreement(one: Array, real: Array) -> Array:
    """(times,) of (times, tasks, scales)."""
    apart = np.log(np.maximum(one, 1e-9) / np.maximum(real, 1e-9))
    agreed: Array = np.exp(-np.abs(apart).mean(axis=(1, 2)))
    return agreed

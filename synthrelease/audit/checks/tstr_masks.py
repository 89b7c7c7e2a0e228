"""Utility of the masks: a segmenter trained on synthetic pairs, tested on real ones."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from synthrelease.audit.case import AuditCase
from synthrelease.audit.intervals import patient_resamples, percentiles
from synthrelease.audit.measurement import Measurement, holdout_missing, unable
from synthrelease.audit.networks import mask_scores
from synthrelease.records.findings import Baseline, Criterion, Direction, Power, Statistic

Array = npt.NDArray[np.float64]

STEPS = 160
RESAMPLES = 500
SMALLEST = 1.0
"""Area in pixels from which a real mask counts as present; Dice of a smaller one is a matter of luck."""

NAME = "Dice lost by training on synthetic instead of real masks"


class TrainSyntheticTestRealMasks:
    """Mean Dice over segments present in the real mask; paired patient bootstrap of the gap."""

    id = "tstr_masks"
    question = "Does a segmenter trained on the archive do as well on real patients as one trained on real masks?"
    criterion = Criterion.FIDELITY
    needs_sound_split = False

    def measure(self, case: AuditCase, rng: np.random.Generator) -> Measurement:
        """Train on real and on synthetic pairs, test on holdout patients, bootstrap patients."""
        missing = holdout_missing(case)
        if missing or case.holdout is None:
            return unable(NAME, Direction.LOWER, missing, n=case.counts)
        if not case.segments:
            reason = "not applicable: the archive has no masks"
            return unable(NAME, Direction.LOWER, reason, not_applicable=True, n=case.counts)
        real, test, synthetic = (s.take(s.has_mask) for s in (case.train, case.holdout, case.synthetic))
        if min(real.patient_count, test.patient_count, len(synthetic)) < 30:
            return unable(NAME, Direction.LOWER, "fewer than 30 patients or images with masks in one of the roles")
        seeds = rng.integers(0, 2**31, 2)
        predicted = {
            "real": mask_scores(real.images, real.masks, test.images, steps=STEPS, seed=int(seeds[0])),
            "synthetic": mask_scores(synthetic.images, synthetic.masks, test.images, steps=STEPS, seed=int(seeds[1])),
            "mean_mask": np.broadcast_to(real.masks.mean(axis=0, keepdims=True), test.masks.shape),
        }
        _, patient = np.unique(test.patient, return_inverse=True)
        weights = patient_resamples(int(patient.max()) + 1, RESAMPLES, rng)[:, patient]
        table = {name: dice(score, test.masks) for name, score in predicted.items()}
        value = {name: _mean(d, np.ones((1, len(test))))[0] for name, d in table.items()}
        draws = {name: _mean(d, weights) for name, d in table.items()}
        gap = percentiles(draws["real"] - draws["synthetic"])
        difference = float(value["real"] - value["synthetic"])
        segments = {
            name: {s: float(np.nanmean(d[:, k])) for k, s in enumerate(case.segments) if not np.isnan(d[:, k]).all()}
            for name, d in table.items()
        }
        learnt = bool(value["real"] > value["mean_mask"])
        return Measurement(
            Statistic(NAME, difference, min(gap.low, difference), max(gap.high, difference), 0.95, Direction.LOWER),
            Baseline(holdout=0.0, random=float(value["real"] - value["mean_mask"])),
            Power((gap.high - gap.low) / 2, "Dice, half width of the interval"),
            case.counts,
            unable="" if learnt else "the real-trained segmenter does no better than the mean mask: nothing to compare",
            note=f"Dice on real patients: {value['real']:.3f} from real, {value['synthetic']:.3f} from synthetic masks",
            details={"dice_by_segment": segments, "dice": {name: float(v) for name, v in value.items()}},
        )


def dice(score: npt.NDArray[np.float32], truth: npt.NDArray[np.float32]) -> Array:
    """Dice by image and segment, both at threshold one half; NaN where the segment is absent from the truth.

    Args:
        score: (N, K, H, W) coverage. truth: (N, K, H, W) coverage.

    Returns:
        (N, K) float64.
    """
    predicted, real = score >= 0.5, truth >= 0.5
    area = real.sum((2, 3))
    overlap = 2.0 * (predicted & real).sum((2, 3))
    value = overlap / np.maximum(predicted.sum((2, 3)) + area, 1)
    return np.where(area >= SMALLEST, value, np.nan)


def _mean(values: Array, weights: Array) -> Array:
    """Weighted mean over images of each segment, then over segments: (N, K), (B, N) to (B,)."""
    known = ~np.isnan(values)
    total = weights @ np.where(known, values, 0.0)
    count = weights @ known.astype(np.float64)
    by_segment = np.where(count > 0, total / np.maximum(count, 1e-9), np.nan)
    return np.asarray(np.nanmean(by_segment[:, known.any(axis=0)], axis=1))

"""Utility of the labels: train on synthetic, test on real (TSTR), beside training on real."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from synthrelease.audit.case import AuditCase
from synthrelease.audit.intervals import auc, auc_resampled, patient_resamples, percentiles
from synthrelease.audit.measurement import Measurement, holdout_missing, unable
from synthrelease.audit.networks import class_scores
from synthrelease.records.findings import Baseline, Criterion, Direction, Power, Statistic

Array = npt.NDArray[np.float64]

STEPS = 200
SEEDS = 3
RESAMPLES = 500
NAME = "AUROC lost by training on synthetic instead of real images"


class TrainSyntheticTestRealLabels:
    """Paired patient bootstrap of the gap; non-inferior when its upper end stays below the margin."""

    id = "tstr_labels"
    question = "Does a classifier trained on the archive do as well on real patients as one trained on real images?"
    criterion = Criterion.FIDELITY
    needs_sound_split = False

    def measure(self, case: AuditCase, rng: np.random.Generator) -> Measurement:
        """Train both over several seeds, test on holdout patients, bootstrap patients."""
        missing = holdout_missing(case)
        if missing or case.holdout is None:
            return unable(NAME, Direction.LOWER, missing, n=case.counts)
        classes = len(case.classes)
        test = case.holdout
        present = [c for c in range(classes) if 5 <= int((test.labels == c).sum()) <= len(test) - 5]
        if classes < 2 or not present:
            reason = "not applicable: the holdout has fewer than two classes with five images each"
            return unable(NAME, Direction.LOWER, reason, not_applicable=True, n=case.counts)
        seeds = rng.integers(0, 2**31, 2 * SEEDS + 1)
        sources = {"real": case.train, "synthetic": case.synthetic}
        scores = {
            name: np.mean(
                [
                    class_scores(s.images, s.labels, test.images, classes, steps=STEPS, seed=int(seed))
                    for seed in seeds[offset : offset + SEEDS]
                ],
                axis=0,
            )
            for (name, s), offset in zip(sources.items(), (0, SEEDS), strict=True)
        }
        noise = rng.normal(0.0, 0.5, case.synthetic.images.shape).clip(-1, 1).astype(np.float32)
        scores["noise"] = class_scores(
            noise, case.synthetic.labels, test.images, classes, steps=STEPS // 4, seed=int(seeds[-1])
        )
        weights = patient_weights(test.patient, RESAMPLES, rng)
        values, draws = {}, {}
        for name, score in scores.items():
            values[name] = float(np.mean([auc(*_sides(score, test.labels, c)) for c in present]))
            draws[name] = np.mean([_resampled(score, test.labels, c, weights) for c in present], axis=0)
        real = percentiles(draws["real"])
        gap = percentiles(draws["real"] - draws["synthetic"])
        value = values["real"] - values["synthetic"]
        reason = "" if real.low > 0.5 else "the task cannot be learnt from the real images either: nothing to compare"
        return Measurement(
            Statistic(NAME, value, min(gap.low, value), max(gap.high, value), 0.95, Direction.LOWER),
            Baseline(holdout=0.0, random=values["real"] - values["noise"]),
            Power((gap.high - gap.low) / 2, "AUROC, half width of the interval"),
            case.counts,
            unable=reason,
            note=f"AUROC on real patients: {values['real']:.3f} from real, {values['synthetic']:.3f} from synthetic images",
            details={
                "auroc_real_trained": values["real"],
                "auroc_real_trained_95": list(real),
                "auroc_synthetic_trained": values["synthetic"],
                "auroc_synthetic_trained_95": list(percentiles(draws["synthetic"])),
                "auroc_noise_trained": values["noise"],
                "seeds": SEEDS,
                "classes_tested": [case.classes[c] for c in present],
            },
        )


def patient_weights(patient: npt.NDArray[np.int64], resamples: int, rng: np.random.Generator) -> Array:
    """(B, N) bootstrap weights of images, drawn by patient."""
    _, index = np.unique(patient, return_inverse=True)
    return patient_resamples(int(index.max()) + 1, resamples, rng)[:, index]


def _sides(score: Array, labels: npt.NDArray[np.int64], c: int) -> tuple[Array, Array]:
    return score[labels == c, c], score[labels != c, c]


def _resampled(score: Array, labels: npt.NDArray[np.int64], c: int, weights: Array) -> Array:
    positive, negative = _sides(score, labels, c)
    return auc_resampled(positive, negative, weights[:, labels == c], weights[:, labels != c])

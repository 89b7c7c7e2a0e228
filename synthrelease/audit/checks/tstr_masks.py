"""Utility of the masks: a segmenter trained on synthetic pairs, tested on real ones."""

from __future__ import annotations

import numpy as np

from synthrelease.audit.case import AuditCase
from synthrelease.audit.measurement import Explanation, Measurement, holdout_missing, unable
from synthrelease.audit.scores import dice, dice_by_segment, interval_of_loss, mean_dice, patient_weights
from synthrelease.records.findings import Baseline, Criterion, Direction, Power, Statistic

NAME = "Dice lost by training on synthetic instead of real masks"
FEWEST = 30


class TrainSyntheticTestRealMasks:
    """Mean Dice over segments present in the real mask; paired patient bootstrap of the gap."""

    id = "tstr_masks"
    question = "Does a segmenter trained on the archive do as well on real patients as one trained on real masks?"
    criterion = Criterion.FIDELITY
    needs_sound_split = False
    explanation = Explanation(
        how="The same small segmenter is trained on real pairs of image and mask and on the archive's. Both draw masks for "
        "patients that neither has seen. The loss in Dice gets an interval by drawing those patients anew.",
        good="The upper end of the loss is below 0.05, about what two readers differ by on organs.",
        weakness="Dice is forgiving on large organs and harsh on small lesions; the mean over segments hides one that is lost, so "
        "each is reported by itself.",
        source="Esteban, Hyland & Rätsch 2017 (TSTR), for segmentation; non-inferiority by paired bootstrap over patients.",
    )

    def measure(self, case: AuditCase, rng: np.random.Generator) -> Measurement:
        """Train on real and on synthetic pairs, test on holdout patients, bootstrap patients."""
        missing = holdout_missing(case)
        if missing:
            return unable(NAME, Direction.LOWER, missing, n=case.counts)
        if not case.segments:
            reason = "not applicable: the archive has no masks"
            return unable(NAME, Direction.LOWER, reason, not_applicable=True, n=case.counts)
        utility = case.utility
        real, test, synthetic = utility.masked_train, utility.masked_holdout, utility.masked_synthetic
        if min(real.patient_count, test.patient_count, len(synthetic)) < FEWEST:
            return unable(NAME, Direction.LOWER, "fewer than 30 patients or images with masks in one of the roles")
        predicted = {
            "real": utility.real_masks_on_holdout,
            "synthetic": utility.synthetic_masks_on_holdout,
            "mean_mask": np.broadcast_to(real.masks.mean(axis=0, keepdims=True), test.masks.shape),
        }
        weights = patient_weights(test.patient, rng)
        table = {name: dice(score, test.masks) for name, score in predicted.items()}
        if np.isnan(table["real"]).all():
            return unable(NAME, Direction.LOWER, "no mask of the holdout marks a whole pixel", n=case.counts)
        value = {name: mean_dice(d, np.ones((1, len(test))))[0] for name, d in table.items()}
        draws = {name: mean_dice(d, weights) for name, d in table.items()}
        gap = interval_of_loss(draws["real"], draws["synthetic"])
        difference = float(value["real"] - value["synthetic"])
        learnt = bool(value["real"] > value["mean_mask"])
        return Measurement(
            Statistic(NAME, difference, min(gap.low, difference), max(gap.high, difference), 0.95, Direction.LOWER),
            Baseline(holdout=0.0, random=float(value["real"] - value["mean_mask"])),
            Power((gap.high - gap.low) / 2, "Dice, half width of the interval"),
            case.counts,
            unable="" if learnt else "the real-trained segmenter does no better than the mean mask: nothing to compare",
            note=f"Dice on real patients: {value['real']:.3f} from real, {value['synthetic']:.3f} from synthetic masks",
            details={
                "dice_by_segment": {name: dice_by_segment(d, case.segments) for name, d in table.items()},
                "dice": {name: float(v) for name, v in value.items()},
            },
        )

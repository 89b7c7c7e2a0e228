"""Mask-image consistency (TRTS for masks): do synthetic masks lie where a real-trained segmenter sees the thing?"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from synthrelease.audit.case import AuditCase
from synthrelease.audit.intervals import percentiles
from synthrelease.audit.measurement import Explanation, Measurement, holdout_missing, unable
from synthrelease.audit.scores import dice, dice_by_segment, mean_dice, patient_weights
from synthrelease.records.findings import Baseline, Criterion, Direction, Power, Statistic

Array = npt.NDArray[np.float64]

NAME = "Dice between mask and real-trained segmenter, lost on synthetic instead of real pairs"
FEWEST = 30
WORST = 0.05
"""Share of real masks that are called a poor fit."""

MOST = 0.10
"""Share of synthetic masks that may fit as poorly."""


class MaskConsistency:
    """Mean loss of Dice, and the share of synthetic masks that fit worse than nearly all real ones."""

    id = "mask_consistency"
    question = "Do the synthetic masks fit the images they come with, as real masks fit theirs?"
    criterion = Criterion.FIDELITY
    needs_sound_split = False
    explanation = Explanation(
        how="A segmenter trained on real pairs draws masks on held-out patients and on synthetic images. Its agreement with the "
        "masks given is compared; so is the share of synthetic masks that agree worse than all but 5 % of real ones.",
        good="Mean agreement at most 0.05 Dice below that of real pairs, and at most one mask in ten among the poor fits.",
        weakness="The segmenter is small; where it cannot draw a structure on real images, it cannot judge it on synthetic ones.",
        source="Formulas of the house after Dice agreement by TRTS, Esteban, Hyland & Rätsch 2017.",
    )

    def measure(self, case: AuditCase, rng: np.random.Generator) -> Measurement:
        """Test the shared real-trained segmenter on both, bootstrap each."""
        missing = holdout_missing(case)
        if missing:
            return unable(NAME, Direction.LOWER, missing, n=case.counts)
        if not case.segments:
            reason = "not applicable: the archive has no masks"
            return unable(NAME, Direction.LOWER, reason, not_applicable=True, n=case.counts)
        utility = case.utility
        trained, real, made = utility.masked_train, utility.masked_holdout, utility.masked_synthetic
        if min(trained.patient_count, real.patient_count, len(made)) < FEWEST:
            return unable(NAME, Direction.LOWER, "fewer than 30 patients or images with masks in one of the roles")
        tables = {
            "real": dice(utility.real_masks_on_holdout, real.masks),
            "synthetic": dice(utility.real_masks_on_synthetic, made.masks),
        }
        blind = dice(np.broadcast_to(trained.masks.mean(axis=0, keepdims=True), real.masks.shape), real.masks)
        # Segments that one side never shows would compare different tasks.
        shown = ~np.any([np.isnan(table).all(axis=0) for table in tables.values()], axis=0)
        if not shown.any():
            return unable(
                NAME, Direction.LOWER, "no segment is present in both real and synthetic masks", n=case.counts
            )
        tables = {name: table[:, shown] for name, table in tables.items()}
        draws = {
            name: mean_dice(tables[name], patient_weights(s.patient, rng))
            for name, s in (("real", real), ("synthetic", made))
        }
        value_of = {name: float(mean_dice(table, np.ones((1, len(table))))[0]) for name, table in tables.items()}
        gap, value = percentiles(draws["real"] - draws["synthetic"]), value_of["real"] - value_of["synthetic"]
        poor = _poor_share(tables["real"], tables["synthetic"])
        high = max(gap.high, value)
        note = f"Dice with a real-trained segmenter: {value_of['real']:.3f} on patients, {value_of['synthetic']:.3f} on the archive"
        if poor > MOST:
            # The mean alone may not clear an archive in which many masks fit nothing.
            high = max(high, value_of["real"])
            note += f"; {poor:.0%} of the masks fit worse than all but {WORST:.0%} of real ones"
        segments = [name for name, kept in zip(case.segments, shown, strict=True) if kept]
        learnt = value_of["real"] > float(mean_dice(blind[:, shown], np.ones((1, len(blind))))[0])
        return Measurement(
            Statistic(NAME, value, min(gap.low, value), high, 0.95, Direction.LOWER),
            Baseline(holdout=0.0, random=value_of["real"]),
            Power((gap.high - gap.low) / 2, "Dice, half width of the interval"),
            case.counts,
            unable="" if learnt else "the real-trained segmenter does no better than the mean mask: nothing to compare",
            note=note,
            details={
                "dice": value_of,
                "dice_by_segment": {name: dice_by_segment(table, segments) for name, table in tables.items()},
                "share_of_poor_fits": poor,
            },
        )


def _poor_share(real: Array, synthetic: Array) -> float:
    """Share of synthetic images whose mean Dice is below the 5th percentile of real ones."""
    means = []
    for table in (real, synthetic):
        known = ~np.isnan(table)
        total = np.where(known, table, 0.0).sum(axis=1)
        means.append(total[known.any(axis=1)] / known.sum(axis=1)[known.any(axis=1)])
    return float((means[1] < np.quantile(means[0], WORST)).mean())

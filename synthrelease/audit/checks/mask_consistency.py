"""Mask-image consistency (TRTS for masks): do synthetic masks lie where a real-trained segmenter sees the thing?"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from synthrelease.audit.case import AuditCase
from synthrelease.audit.measurement import Explanation, Measurement, holdout_missing, unable
from synthrelease.audit.scores import (
    agreement,
    class_weights,
    dice,
    interval_of_loss,
    least_areas,
    mean_dice,
    patient_weights,
    unmarked,
)
from synthrelease.records.findings import Baseline, Criterion, Direction, Power, Statistic

Array = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

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
        "masks given is compared; so is the share of synthetic masks that agree no better than the worst 5 % of real ones. Where it "
        "sees something, no speck, and the mask is empty, they agree by nothing, real or synthetic; where neither shows anything, "
        "nothing is counted. Classes of held-out patients weigh as much as they do in the archive.",
        good="Mean agreement at most 0.05 Dice below that of real pairs, and at most one mask in ten among the poor fits.",
        weakness="The segmenter is small; where it cannot draw a structure on real images, it cannot judge it on synthetic ones. "
        "Its false alarms widen the interval. Masks seem to fit less where fewer images of a class show a finding than in real ones.",
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
        trained, made = utility.masked_train, utility.masked_synthetic
        # How often a mask is rightly empty differs by class, and the archive has classes as often as its policy says.
        rows = np.flatnonzero(np.isin(utility.masked_holdout.labels, made.labels))
        real = utility.masked_holdout.take(rows)
        if min(trained.patient_count, real.patient_count, len(made)) < FEWEST:
            return unable(NAME, Direction.LOWER, "fewer than 30 patients or images with masks in one of the roles")
        pairs = {
            "real": (utility.real_masks_on_holdout[rows], real.masks),
            "synthetic": (utility.real_masks_on_synthetic, made.masks),
        }
        least, mean_mask = least_areas(trained.masks), trained.masks.mean(axis=0, keepdims=True)
        tables = {name: agreement(*pair, least) for name, pair in pairs.items()}
        blind = agreement(np.broadcast_to(mean_mask, real.masks.shape), real.masks, least)
        # Segments that no real mask has, or of which the archive says nothing, would compare different tasks.
        silent = [np.isnan(table).all(axis=0) for table in (dice(*pairs["real"]), tables["synthetic"])]
        shown = ~np.any(silent, axis=0)
        if not shown.any():
            reason = "no segment is both in real masks and marked or seen in the archive"
            return unable(NAME, Direction.LOWER, reason, n=case.counts)
        tables = {name: table[:, shown] for name, table in tables.items()}
        weights = {"real": class_weights(real.labels, made.labels), "synthetic": np.ones(len(made))}
        draws = {
            name: mean_dice(tables[name], patient_weights(s.patient, rng) * weights[name])
            for name, s in (("real", real), ("synthetic", made))
        }
        value_of = {name: _mean(table, weights[name]) for name, table in tables.items()}
        lacking = {
            name: _share(unmarked(*pairs[name], least)[:, shown], ~np.isnan(table), weights[name])
            for name, table in tables.items()
        }
        gap, value = interval_of_loss(draws["real"], draws["synthetic"]), value_of["real"] - value_of["synthetic"]
        poor = _poor_share(tables["real"], tables["synthetic"], weights["real"])
        high = max(gap.high, value)
        if poor > MOST:
            # The mean alone may not clear an archive in which many masks fit nothing.
            high = max(high, value_of["real"])
        segments = [name for name, kept in zip(case.segments, shown, strict=True) if kept]
        learnt = value_of["real"] > _mean(blind[:, shown], weights["real"])
        return Measurement(
            Statistic(NAME, value, min(gap.low, value), high, 0.95, Direction.LOWER),
            Baseline(holdout=0.0, random=value_of["real"]),
            Power((gap.high - gap.low) / 2, "Dice, half width of the interval"),
            case.counts,
            unable="" if learnt else "the real-trained segmenter does no better than the mean mask: nothing to compare",
            note=_note(value_of, poor, lacking),
            details={
                "dice": value_of,
                "dice_by_segment": {
                    name: {s: _mean(table[:, [k]], weights[name]) for k, s in enumerate(segments)}
                    for name, table in tables.items()
                },
                "share_of_poor_fits": poor,
                "share_lacking_what_is_seen": lacking,
            },
        )


def _mean(table: Array, weights: Array) -> float:
    return float(mean_dice(table, weights[None])[0])


def _share(lacking: BoolArray, told: BoolArray, weights: Array) -> float:
    """Share of images whose mask lacks a segment that is seen, of those with any segment marked or seen."""
    rows = told.any(axis=1)
    return float(np.average(lacking[rows].any(axis=1), weights=weights[rows]))


def _note(dice_of: Mapping[str, float], poor: float, lacking: Mapping[str, float]) -> str:
    """What is remarkable, of the real and the synthetic side."""
    told = f"Dice with a real-trained segmenter: {dice_of['real']:.3f} on patients, {dice_of['synthetic']:.3f} on the archive"
    if poor > MOST:
        told += f"; {poor:.0%} of the masks fit no better than the worst {WORST:.0%} of real ones"
    if lacking["synthetic"] > lacking["real"] + WORST:
        told += f"; {lacking['synthetic']:.0%} of the masks lack what it sees, {lacking['real']:.0%} of real ones"
    return told


def _poor_share(real: Array, synthetic: Array, weights: Array) -> float:
    """Share of synthetic images whose mean Dice is no better than the 5th percentile of real ones.

    What more than 5 % of the real ones lie there, all at nothing by false alarms, is no fault of the archive and is taken off.

    Args:
        real: (N, K), NaN where nothing is told. synthetic: (M, K) likewise. weights: (N,) of real images.
    """
    told = [~np.isnan(table).all(axis=1) for table in (real, synthetic)]
    fits, made = (np.nanmean(table[rows], axis=1) for table, rows in zip((real, synthetic), told, strict=True))
    weights = weights[told[0]]
    worst = np.quantile(fits, WORST, weights=weights, method="inverted_cdf")
    usual = float(np.average(fits <= worst, weights=weights)) - WORST
    return max(0.0, float((made <= worst).mean()) - usual)

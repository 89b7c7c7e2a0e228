"""Membership: can a recipient tell that a patient was in the training set?"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from synthrelease.audit.attacks import attack_scores, replayed_scores
from synthrelease.audit.case import AuditCase
from synthrelease.audit.measurement import Explanation, Measurement, holdout_missing, unable
from synthrelease.audit.membership_rows import FALLBACK_RATE, MAIN_RATE, hits_at, membership_measurement, name_at
from synthrelease.records.findings import Criterion, Direction

CONTROLS = ("exact", "gain")
"""Training images that are replayed as they are, and with other grey values: the least that an attack must tell."""

ENOUGH = 0.9


class Membership:
    """Hit rate on training patients at a false-positive rate set on patients never seen; the worst of five attacks."""

    id = "membership"
    question = "Can a recipient tell from the archive whether a given patient was trained on?"
    criterion = Criterion.MEMBERSHIP
    needs_sound_split = True
    explanation = Explanation(
        how="Five attacks, fixed beforehand, score how much each real patient looks like a member: nearness to the "
        "archive, nearness against that to other people, density and counts of neighbours. The attacker may accuse one "
        "stranger in a hundred; it is counted how many training patients are then found.",
        good="As few training patients are found as strangers would be, about one in a hundred; more than five in a "
        "hundred, proven, fails. Training patients of whom an image is planted in a copy of the archive are found.",
        weakness="Averages over patients: one copied patient among hundreds is not seen here but by the copy and "
        "vulnerability checks. Stronger attacks may exist; under 299 held-out patients one in a hundred cannot be shown.",
        source="Chen et al., GAN-Leaks, CCS 2020; Hilprecht et al., PoPETs 2019 (ball counts); van Breugel et al., "
        "DOMIAS, AISTATS 2023; Carlini et al., S&P 2022 (hit rate at low false positives)",
    )

    def measure(self, case: AuditCase, rng: np.random.Generator) -> Measurement:
        """Attack every patient; the row at 1 % decides, or the fallback row at 10 % where 1 % cannot be resolved."""
        missing = holdout_missing(case)
        if missing:
            return unable(name_at(MAIN_RATE), Direction.LOWER, missing, n=case.counts)
        found = membership_measurement(attack_scores(case), case.counts, rng)
        rate = FALLBACK_RATE if found.fallback else MAIN_RATE
        recall = {name: replayed(case, name, rate) for name in CONTROLS if case.measures_power}
        return replace(
            found,
            power=replace(found.power, planted=recall),
            controls_missed=tuple(name for name in CONTROLS if recall.get(name, 0.0) < ENOUGH),
        )


def replayed(case: AuditCase, transform: str, rate: float) -> float:
    """Share of training patients found by the best attack when an image of theirs is planted in the archive.

    Args:
        case: With a holdout. transform: A name in :data:`synthrelease.audit.planted.TRANSFORMS`.
        rate: Share of strangers that an attack may accuse.
    """
    scores = replayed_scores(case, transform)
    return max(hits_at(members, others, rate) / len(members) for members, others in scores.values())

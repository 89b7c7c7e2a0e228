"""Membership with the model in hand: what a colleague who has the checkpoint could tell, not a recipient."""

from __future__ import annotations

import numpy as np

from synthrelease.audit.case import AuditCase
from synthrelease.audit.measurement import Explanation, Measurement, holdout_missing, unable
from synthrelease.audit.membership_rows import MAIN_RATE, membership_measurement, model_scores, name_at
from synthrelease.records.findings import Criterion, Direction

NO_MODEL = "no model is at hand: folders tell of what came out, not of what made it"


class MembershipModel:
    """The same question asked of the generator itself, by scores that it gives to real images."""

    id = "membership_model"
    question = "Could somebody who has the trained model tell whether a given patient was trained on?"
    criterion = Criterion.MEMBERSHIP
    needs_sound_split = True
    explanation = Explanation(
        how="The trained model scores every real image: how well it removes noise from it at several noise levels, how "
        "little it wants to change it, or what its critic says. Hits on training patients are counted as for the "
        "archive, at one false accusation in a hundred.",
        good="As few training patients are found as strangers, about one in a hundred.",
        weakness="Stronger than what a recipient of the archive can do, since the model is not released; weaker than "
        "attacks that train many shadow models. The numbers are made of real images and are outside the privacy "
        "guarantee: they stay in the house.",
        source="Carlini et al., USENIX Security 2023 (denoising loss); SimA, 2025 (score norm); Hayes et al., LOGAN, "
        "PoPETs 2019 (critic)",
    )

    def measure(self, case: AuditCase, rng: np.random.Generator) -> Measurement:
        """Attack every patient with each score of the model; a patient's score is the largest over their images."""
        if case.scorer is None:
            return unable(name_at(MAIN_RATE), Direction.LOWER, NO_MODEL, not_applicable=True, n=case.counts)
        missing = holdout_missing(case)
        if missing:
            return unable(name_at(MAIN_RATE), Direction.LOWER, missing, n=case.counts)
        scores = model_scores(case)
        if not scores:
            reason = "the model gives no score to real images"
            return unable(name_at(MAIN_RATE), Direction.LOWER, reason, not_applicable=True, n=case.counts)
        return membership_measurement(scores, case.counts, rng)

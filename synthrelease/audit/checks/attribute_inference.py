"""Attribute inference: does the archive tell a training patient's label or sex from the image alone?"""

from __future__ import annotations

import numpy as np

from synthrelease.audit.case import AuditCase
from synthrelease.audit.excess_risk import AttackResult, measured
from synthrelease.audit.images import FloatArray, ImageSet
from synthrelease.audit.measurement import Explanation, Measurement, holdout_missing, unable
from synthrelease.audit.released import both_sides, column, released_names
from synthrelease.features.descriptors import unit_length
from synthrelease.features.neighbours import nearest
from synthrelease.records.findings import Criterion, Direction

NAME = "excess of right guesses of a secret label or attribute"
ROOM = 0.9
"""Share of strangers' secrets that the attack may guess, beyond which there is no room for an excess."""


class AttributeInference:
    """The attacker holds a patient's image and takes over what the most similar synthetic image states."""

    id = "attribute_inference"
    question = "Can a secret (label, sex, age, scanner) of a training patient be read off the archive, given the image?"
    criterion = Criterion.INFERENCE
    needs_sound_split = True
    explanation = Explanation(
        how="For every real patient the most similar synthetic image is looked up and its label and attributes are taken "
        "as the guess. Guesses on training patients are compared with guesses on patients never seen.",
        good="Secrets of training patients are guessed no better than those of patients never seen: what is guessed then "
        "comes from the images of everybody, which is what the archive is for.",
        weakness="One kind of attacker only: nearest image by pixels or by correlation, who knows the whole image. A few "
        "copied patients hardly move a rate over all patients; the copy checks look for those.",
        source="Inference attack with a control group, all patients as targets: Giomi et al., Anonymeter, PoPETs 2023; "
        "Newcombe 1998.",
    )

    def measure(self, case: AuditCase, rng: np.random.Generator) -> Measurement:
        """Attack every released column by two nearest-neighbour rules; the worst counts."""
        names = released_names(case)
        if not names:
            reason = "not applicable: the archive states neither a label nor an attribute that varies"
            return unable(NAME, Direction.LOWER, reason, not_applicable=True, n=case.counts)
        missing = holdout_missing(case)
        if missing:
            return unable(NAME, Direction.LOWER, missing, n=case.counts)
        chance = max(np.unique(column(case.synthetic, name), return_counts=True)[1].max() for name in names)
        # The most telling archive there is. A secret that anybody's image gives away cannot leak, and shows nothing.
        whole = [a for a in _attacks(case, case.train, names) if a.enough and a.control_hits < ROOM * a.control_guesses]
        return measured(
            NAME,
            _attacks(case, case.synthetic, names),
            case.counts,
            random=float(chance) / len(case.synthetic),
            planted={"the training set itself": whole} if whole else None,
        )


def _attacks(case: AuditCase, archive: ImageSet, names: tuple[str, ...]) -> list[AttackResult]:
    """Every secret by every rule, one guess a patient: that of the image that lies nearest to the archive."""
    patients = case.patients
    real = np.concatenate([patients.train.small, patients.holdout.small]).reshape(len(patients.column), -1)
    made = archive.small.reshape(len(archive), -1)
    results = []
    for rule, ours, theirs in (("pixels", real, made), ("correlation", _centred(real), _centred(made))):
        rows, distance = nearest(ours, theirs)
        # Images sorted by patient and then by distance: the first of each patient is the nearest.
        order = np.lexsort((distance, patients.column))
        best = order[np.unique(patients.column[order], return_index=True)[1]]
        for name in names:
            guess, truth = column(archive, name)[rows[best]], both_sides(patients, name)[best]
            guessed = (guess != "") & (truth != "")
            results.append(AttackResult.of(f"{name} by {rule}", guess == truth, guessed, patients.train_count))
    return results


def _centred(images: FloatArray) -> FloatArray:
    """At mean 0 and length 1, so that the nearest one is the best correlated."""
    return unit_length(images - images.mean(axis=1, keepdims=True))

"""Preconditions: the holdout is a fair control, or every comparison with it means nothing."""

from __future__ import annotations

import numpy as np

from synthrelease.audit.case import AuditCase
from synthrelease.audit.duplicates import set_aside_duplicates
from synthrelease.audit.exchangeability import split_p
from synthrelease.audit.measurement import Explanation, Measurement, holdout_missing, unable
from synthrelease.records.findings import Baseline, Criterion, Direction, Power, Statistic

BIASED = 0.01
PERMUTATIONS = 999
NAME = "share of holdout patients whose picture was trained on"

LARGEST_SHARE = 0.05
"""Share of the holdout that may be lost to shared pictures. What is left is no random draw any more: it has lost
those whose pictures come twice. One in twenty is the error that the audit allows itself anyway."""


class SplitSound:
    """No patient on both sides, few pictures on both sides, both sides drawn alike. Never fails; may void a control."""

    id = "split_sound"
    question = "Are the held-out patients a fair control for the training patients?"
    criterion = Criterion.MEMBERSHIP
    needs_sound_split = False
    explanation = Explanation(
        how="All real images are compared with each other first. Patients who share a picture count as one; a holdout "
        "patient whose picture was trained on leaves the control. A kernel test then asks whether training and holdout "
        "patients look as if drawn by lot.",
        good="No patient on both sides, at most one holdout patient in twenty set aside, and no difference between the "
        "sides (p of at least 0.01).",
        weakness="The same patient photographed twice under two names is not found, nor a picture that was cropped "
        "or turned by a few degrees. A small difference between the sides can hide below the test's power.",
        source="Barz and Denzler, J. Imaging 2020 (duplicates); Gretton et al., JMLR 2012 (kernel two-sample test)",
    )

    def measure(self, case: AuditCase, rng: np.random.Generator) -> Measurement:
        """Tell what was found twice, and test exchangeability on real images alone."""
        case = set_aside_duplicates(case)
        found = case.duplicates
        if found is None:
            raise ValueError("the real images were not searched for duplicates")
        details = {
            "duplicate_pairs": found.pairs,
            "duplicate_clusters": found.clusters,
            "training_patients_merged": found.train_patients,
            "holdout_patients_set_aside": found.set_aside,
            "shared_patients": found.shared_patients,
            "least_correlation_of_duplicates": round(found.least_correlation, 4),
        }
        share = found.share_set_aside
        reason = ""
        if found.shared_patients:
            reason = f"{found.shared_patients} patients stand on both sides of the split"
        elif share > LARGEST_SHARE:
            reason = (
                f"the pictures of {found.set_aside} of {found.holdout_patients} holdout patients are also training "
                f"images; at most {LARGEST_SHARE:.0%} may be"
            )
        reason = reason or holdout_missing(case)
        if case.holdout is None or (reason and holdout_missing(case)):
            return unable(NAME, Direction.LOWER, reason, n=case.counts)
        p = split_p(case.train, case.holdout, len(case.classes), PERMUTATIONS, rng)
        if not reason and p < BIASED:
            reason = f"train and holdout patients differ before any model is involved (permutation p = {p:.3f})"
        note = (
            f"{found.set_aside} of {found.holdout_patients} holdout patients set aside for pictures that were trained "
            f"on, {found.clusters} groups of patients share a picture; exchangeability permutation p = {p:.3f}"
        )
        return Measurement(
            Statistic(NAME, share, share, share, 1.0, Direction.LOWER),
            Baseline(holdout=0.0),
            Power(),
            case.counts,
            unable=reason,
            note=note,
            details={"exchangeability_p": p, **details},
        )

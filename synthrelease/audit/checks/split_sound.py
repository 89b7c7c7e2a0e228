"""Preconditions: the holdout is a fair control, or every comparison with it means nothing."""

from __future__ import annotations

import numpy as np

from synthrelease.audit.case import AuditCase
from synthrelease.audit.exchangeability import split_p
from synthrelease.audit.measurement import Measurement, holdout_missing, unable
from synthrelease.features.descriptors import unit_length
from synthrelease.features.neighbours import equal_pairs
from synthrelease.records.findings import Baseline, Criterion, Direction, Power, Statistic

ONE_GREY_LEVEL = 2.0 / 255.0 + 1e-4
BIASED = 0.01
PERMUTATIONS = 999
NAME = "images found on both sides of the split"


class SplitSound:
    """No patient and no image on both sides, and both sides drawn alike. Never fails a release; may void a control."""

    id = "split_sound"
    question = "Are the held-out patients a fair control for the training patients?"
    criterion = Criterion.MEMBERSHIP
    needs_sound_split = False

    def measure(self, case: AuditCase, rng: np.random.Generator) -> Measurement:
        """Count shared patients and images; permutation test of exchangeability on real images."""
        missing = holdout_missing(case)
        if missing or case.holdout is None:
            return unable(NAME, Direction.LOWER, missing, n=case.counts)
        train, holdout = case.train, case.holdout
        patients = len(np.intersect1d(train.patient, holdout.patient))
        known = {digest for digest in train.digests if digest}
        stored = {i for i, digest in enumerate(holdout.digests) if digest in known}
        pixels, _ = equal_pairs(holdout.small, train.small, ONE_GREY_LEVEL)
        shared = len(stored | {int(i) for i in pixels})
        p = split_p(train, holdout, len(case.classes), PERMUTATIONS, rng)
        reason = ""
        if patients:
            reason = f"{patients} patients stand on both sides of the split"
        elif shared:
            reason = f"{shared} holdout images are also training images: the same picture under two patients"
        elif p < BIASED:
            reason = f"train and holdout patients differ before any model is involved (permutation p = {p:.3f})"
        flat = unit_length(train.small.reshape(len(train), -1))
        repeated = len(flat) - len(np.unique(np.round(flat, 4), axis=0))
        return Measurement(
            Statistic(NAME, float(shared), float(shared), float(shared), 1.0, Direction.LOWER),
            Baseline(holdout=0.0),
            Power(),
            case.counts,
            unable=reason,
            note=f"no shared patient or image; exchangeability permutation p = {p:.3f}",
            details={"exchangeability_p": p, "shared_patients": patients, "repeated_training_images": repeated},
        )

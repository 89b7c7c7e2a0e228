"""Realism of the labels: train on real, test on synthetic (TRTS)."""

from __future__ import annotations

import numpy as np

from synthrelease.audit.case import AuditCase
from synthrelease.audit.intervals import percentiles
from synthrelease.audit.measurement import Explanation, Measurement, holdout_missing, unable
from synthrelease.audit.scores import macro_auc, macro_auc_resampled, patient_weights
from synthrelease.records.findings import Baseline, Criterion, Direction, Power, Statistic

NAME = "AUROC of a real-trained classifier, lost on synthetic instead of real images"


class TrainRealTestSyntheticLabels:
    """Finds images that do not look like their labels to whoever knows real ones."""

    id = "trts_labels"
    question = "Can a classifier that knows real images read the labels of the synthetic ones?"
    criterion = Criterion.FIDELITY
    needs_sound_split = False
    explanation = Explanation(
        how="The classifiers trained on real training images are tested on held-out patients and on the archive. The loss in AUROC "
        "gets an interval by drawing patients and synthetic images anew.",
        good="Near zero. Well above zero: images do not look like what they are labelled as. Well below zero: they are caricatures, "
        "easier to tell apart than patients.",
        weakness="A generator that shows one typical image a class scores best; variety is the question of other checks.",
        source="Esteban, Hyland & Rätsch 2017 (TRTS).",
    )

    def measure(self, case: AuditCase, rng: np.random.Generator) -> Measurement:
        """Test the shared real-trained classifiers on both, bootstrap each."""
        missing = holdout_missing(case)
        if missing:
            return unable(NAME, Direction.LOWER, missing, n=case.counts)
        utility = case.utility
        real, made = utility.holdout, utility.synthetic
        present = [c for c in utility.testable(real) if c in utility.testable(made)]
        if utility.classes < 2 or not utility.testable(real):
            reason = "not applicable: the holdout has fewer than two classes with five images each"
            return unable(NAME, Direction.LOWER, reason, not_applicable=True, n=case.counts)
        if not present:
            return unable(
                NAME, Direction.LOWER, "the archive has no class with five images in and out of it", n=case.counts
            )
        tests = {"real": (utility.real_on_holdout, real), "synthetic": (utility.real_on_synthetic, made)}
        values = {name: macro_auc(score, s.labels, present) for name, (score, s) in tests.items()}
        draws = {
            name: macro_auc_resampled(score, s.labels, present, patient_weights(s.patient, rng))
            for name, (score, s) in tests.items()
        }
        gap, learnt = percentiles(draws["real"] - draws["synthetic"]), percentiles(draws["real"]).low > 0.5
        value = values["real"] - values["synthetic"]
        return Measurement(
            Statistic(NAME, value, min(gap.low, value), max(gap.high, value), 0.95, Direction.LOWER),
            Baseline(holdout=0.0, random=values["real"] - 0.5),
            Power((gap.high - gap.low) / 2, "AUROC, half width of the interval"),
            case.counts,
            unable="" if learnt else "the task cannot be learnt from the real images either: nothing to compare",
            note=f"a real-trained classifier has AUROC {values['real']:.3f} on patients, {values['synthetic']:.3f} on the archive",
            details={"auroc": values, "classes_tested": [case.classes[c] for c in present]},
        )

"""Utility of the labels: train on synthetic, test on real (TSTR), beside training on real."""

from __future__ import annotations

import numpy as np

from synthrelease.audit.case import AuditCase
from synthrelease.audit.intervals import percentiles
from synthrelease.audit.measurement import Explanation, Measurement, holdout_missing, unable
from synthrelease.audit.scores import macro_auc, macro_auc_resampled, patient_weights
from synthrelease.audit.utility import SEEDS
from synthrelease.records.findings import Baseline, Criterion, Direction, Power, Statistic

NAME = "AUROC lost by training on synthetic instead of real images"


class TrainSyntheticTestRealLabels:
    """Paired patient bootstrap of the gap; non-inferior when its upper end stays below the margin."""

    id = "tstr_labels"
    question = "Does a classifier trained on the archive do as well on real patients as one trained on real images?"
    criterion = Criterion.FIDELITY
    needs_sound_split = False
    explanation = Explanation(
        how="The same small classifier is trained three times on real training images and three times on the archive. Both are "
        "tested on patients that neither has seen. The loss in AUROC gets an interval by drawing those patients anew, and "
        "must be below the margin with its upper end.",
        good="The upper end of the loss is below 0.05: whoever trains on the archive loses next to nothing.",
        weakness="One small network on small images: a large one may need detail that this one does not see. A network trained on "
        "noise can be right by luck; so an archive whose labels a real-trained classifier cannot read does not pass.",
        source="Esteban, Hyland & Rätsch 2017 (TSTR); non-inferiority by paired bootstrap over patients.",
    )

    def measure(self, case: AuditCase, rng: np.random.Generator) -> Measurement:
        """Train both over several seeds, test on holdout patients, bootstrap patients."""
        missing = holdout_missing(case)
        if missing:
            return unable(NAME, Direction.LOWER, missing, n=case.counts)
        utility = case.utility
        test = utility.holdout
        present = utility.testable(test)
        if utility.classes < 2 or not present:
            reason = "not applicable: the holdout has fewer than two classes with five images each"
            return unable(NAME, Direction.LOWER, reason, not_applicable=True, n=case.counts)
        scores = {
            "real": utility.real_on_holdout,
            "synthetic": utility.synthetic_on_holdout,
            "noise": utility.noise_on_holdout,
        }
        weights = patient_weights(test.patient, rng)
        values = {name: macro_auc(score, test.labels, present) for name, score in scores.items()}
        draws = {name: macro_auc_resampled(score, test.labels, present, weights) for name, score in scores.items()}
        real, gap = percentiles(draws["real"]), percentiles(draws["real"] - draws["synthetic"])
        value = values["real"] - values["synthetic"]
        low, high = min(gap.low, value), max(gap.high, value)
        note = (
            f"AUROC on real patients: {values['real']:.3f} from real, {values['synthetic']:.3f} from synthetic images"
        )
        read = _reads_labels(case, rng)
        if not read:
            # Luck is then the best explanation of a high score: the interval reaches to what knowing nothing loses.
            high = max(high, values["real"] - 0.5)
            note += "; a classifier trained on real images cannot read the archive's labels, so this may be luck"
        return Measurement(
            Statistic(NAME, value, low, high, 0.95, Direction.LOWER),
            Baseline(holdout=0.0, random=values["real"] - values["noise"]),
            Power((gap.high - gap.low) / 2, "AUROC, half width of the interval"),
            case.counts,
            unable=""
            if real.low > 0.5
            else "the task cannot be learnt from the real images either: nothing to compare",
            note=note,
            details={
                "auroc_real_trained": values["real"],
                "auroc_real_trained_95": list(real),
                "auroc_synthetic_trained": values["synthetic"],
                "auroc_synthetic_trained_95": list(percentiles(draws["synthetic"])),
                "auroc_noise_trained": values["noise"],
                "labels_can_be_read_by_a_real_trained_classifier": read,
                "seeds": len(SEEDS),
                "classes_tested": [case.classes[c] for c in present],
            },
        )


def _reads_labels(case: AuditCase, rng: np.random.Generator) -> bool:
    """Whether real-trained classifiers tell the classes of synthetic images apart better than chance."""
    made = case.utility.synthetic
    present = case.utility.testable(made)
    if not present:
        return False
    weights = patient_weights(np.arange(len(made), dtype=np.int64), rng)
    draws = macro_auc_resampled(case.utility.real_on_synthetic, made.labels, present, weights)
    return percentiles(draws, 0.99).low > 0.5

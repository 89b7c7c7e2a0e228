"""Near copies: changed in grey, noise, orientation or place, but a training patient's image all the same."""

from __future__ import annotations

import numpy as np

from synthrelease.audit.case import AuditCase
from synthrelease.audit.copies import CopyTest, margins
from synthrelease.audit.intervals import holm, lower_bound, upper_bound
from synthrelease.audit.measurement import Measurement, holdout_missing, unable
from synthrelease.records.findings import Baseline, Criterion, Direction, Power, Statistic

ALPHA = 0.05
MINIMUM_SYNTHETIC = 30
COVERED = ("exact", "noise_2_percent", "gain", "hflip", "shift")
"""Copies that the residual bound speaks for."""

BEYOND = ("noise_5_percent",)
"""Harder copies, whose recall is told."""

NAME = "share of synthetic images that are copies, at most"


class NearCopies:
    """One p-value per synthetic image, Holm over the archive, and a bound on what the test may have missed."""

    id = "near_copies"
    question = "Is a synthetic image a changed copy (grey, noise, mirrored, turned, shifted) of a training patient's?"
    criterion = Criterion.SINGLING_OUT
    needs_sound_split = True

    def measure(self, case: AuditCase, rng: np.random.Generator) -> Measurement:
        """Flag copies; bound the rate by Clopper-Pearson over the lower bound of the worst planted recall."""
        missing = holdout_missing(case)
        if missing:
            return unable(NAME, Direction.LOWER, missing, n=case.counts)
        count = len(case.synthetic)
        if count < MINIMUM_SYNTHETIC:
            return unable(NAME, Direction.LOWER, f"{count} synthetic images; at least {MINIMUM_SYNTHETIC} are needed")
        search = case.search("whole")
        synthetic, holdout = search.synthetic["whole"], search.holdout["whole"]
        test = CopyTest.towards_train(synthetic, holdout)
        p = test.p(margins(synthetic))
        copies = int(np.sum(np.array(holm(p.tolist())) <= ALPHA))
        decoys = int(np.sum(CopyTest.towards_holdout(synthetic, holdout).p(-margins(synthetic)) * count <= ALPHA))

        seen = {name: case.planted("whole", name)["whole"] for name in COVERED + BEYOND}
        found = {name: test.p(margins(matches)) * count <= ALPHA for name, matches in seen.items()}
        recall = {name: float(hits.mean()) for name, hits in found.items()}
        worst = min(lower_bound(int(found[name].sum()), len(found[name])) for name in COVERED)
        high = min(1.0, upper_bound(copies, count) / worst) if worst > 0 else 1.0
        missed = tuple(sorted(name for name in COVERED if recall[name] < 0.5))
        details = {
            "copies_flagged": copies,
            "decoys_flagged": decoys,
            "worst_recall_lower_bound": worst,
            "smallest_p": float(p.min()),
            "bound_covers": sorted(COVERED),
        }
        note = f"{copies} of {count} synthetic images flagged; at most {high:.2%} copies of the planted kinds"
        statistic = Statistic(NAME, copies / count, lower_bound(copies, count), high, 0.95, Direction.LOWER)
        return Measurement(
            statistic,
            Baseline(holdout=decoys / count, random=0.0),
            Power(upper_bound(0, count) / worst if worst > 0 else None, "share of synthetic images", recall),
            case.counts,
            p_value=min(1.0, float(p.min()) * count),
            unable=_falsified(decoys),
            controls_missed=missed,
            note=note,
            details=details,
        )


def _falsified(decoys: int) -> str:
    if not decoys:
        return ""
    return (
        f"{decoys} synthetic images were flagged as copies of holdout patients, whom the generator never saw: the model "
        "of what strangers look like does not hold here, or the holdout was not held out"
    )

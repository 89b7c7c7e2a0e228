"""Population copying: does the archive lean towards the patients that were trained on?"""

from __future__ import annotations

import numpy as np

from synthrelease.audit.case import AuditCase
from synthrelease.audit.intervals import lower_bound
from synthrelease.audit.measurement import Explanation, Measurement, holdout_missing, unable
from synthrelease.audit.permutation import excess_share, permutation_p, with_plants
from synthrelease.records.findings import Baseline, Criterion, Direction, Power, Statistic

PLANTED = ("exact", "noise_5_percent", "gain", "hflip", "shift_1", "shift_8", "zoom", "mix_70")
PERMUTATIONS = 999
PLANTED_SHARES = (0.01, 0.02, 0.03, 0.05, 0.1)
REPETITIONS = 20
POWER_PERMUTATIONS = 199
POWER_ALPHA = 0.005
"""Plants must be seen at a level that survives Holm over ten required checks; with 199 labellings, as the first of all.
What is counted must be as rare: on simulated patients one labelling of eight counted more than the threshold allows."""

NAME = "share of synthetic images that are copies, at most"


class NeighbourPermutation:
    """Exact permutation test of patient labels, and the smallest planted share of copies that it always sees."""

    id = "neighbour_permutation"
    question = "Are synthetic images, as a whole, nearer to training patients than to patients never seen?"
    criterion = Criterion.LINKABILITY
    needs_sound_split = True
    explanation = Explanation(
        how="For every synthetic image the nearest real patients are listed. Who of them was trained on is then shuffled "
        "among patients a thousand times: if the true labels put the training side nearer than almost every shuffle, "
        "the archive leans towards the patients it was made from.",
        good="The true labels look like any shuffled ones, and a small share of planted copies would have been seen.",
        weakness="It sees a tendency of the archive, not a single copy: one copied patient among a thousand points to the "
        "training side half of the time by chance. It needs a split that was drawn at random.",
        source="Permutation test of patients' labels over target-decoy tail statistics, largest statistic as in Westfall "
        "and Young 1993; share of copies by target-decoy counting (Elias and Gygi 2007).",
    )

    def measure(self, case: AuditCase, rng: np.random.Generator) -> Measurement:
        """Test the labels; bound the share of copies by inverting the test on planted shares."""
        missing = holdout_missing(case)
        if missing:
            return unable(NAME, Direction.LOWER, missing, n=case.counts)
        if len(case.synthetic) < 30:
            return unable(NAME, Direction.LOWER, f"{len(case.synthetic)} synthetic images; at least 30 are needed")
        matches, is_train = case.search("whole").synthetic, case.patients.is_train
        p = permutation_p(matches, is_train, PERMUTATIONS, rng)
        recall: dict[str, float] = {}
        smallest: float | None = None
        plants = [case.planted("whole", name) for name in PLANTED] if case.measures_power else []
        for share in PLANTED_SHARES if plants else ():
            count = max(1, round(share * len(case.synthetic)))
            seen = [
                permutation_p(with_plants(matches, plants, count, rng), is_train, POWER_PERMUTATIONS, rng)
                <= POWER_ALPHA
                for _ in range(REPETITIONS)
            ]
            recall[f"{share:.0%} copies"] = float(np.mean(seen))
            if all(seen):
                smallest = share
                break
        value = excess_share(matches, is_train, PERMUTATIONS, rng, alpha=POWER_ALPHA)
        high = max(value, smallest) if smallest is not None else 1.0
        return Measurement(
            Statistic(NAME, value, 0.0, high, 0.95, Direction.LOWER),
            Baseline(holdout=0.0),
            Power(smallest, "share of synthetic images", recall),
            case.counts,
            p_value=p,
            controls_missed=() if smallest is not None else ("10% copies" if plants else "not measured",),
            note=f"label permutation p = {p:.3f}; copies making up {high:.0%} of the archive would have been seen",
            details={
                "permutations": PERMUTATIONS,
                "archives_planted": REPETITIONS,
                "share_seen_at_least": lower_bound(REPETITIONS, REPETITIONS) if smallest is not None else 0.0,
                "train_share_of_patients": float(is_train.mean()),
            },
        )

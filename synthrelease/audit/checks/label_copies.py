"""Label copies: rows of a table that only one real patient has, and that stand in the archive all the same."""

from __future__ import annotations

import numpy as np
from scipy import stats

from synthrelease.audit.case import AuditCase
from synthrelease.audit.excess_risk import ALPHA, AttackResult
from synthrelease.audit.images import BoolArray, ImageSet
from synthrelease.audit.measurement import Explanation, Measurement, holdout_missing, unable
from synthrelease.audit.planted import replace_share
from synthrelease.audit.released import both_sides, column, released_names
from synthrelease.records.findings import Baseline, Criterion, Direction, Power, Statistic

NAME = "excess of training patients whose unique row stands in the archive"
MINIMUM_UNIQUE = 20
"""Patients with a row of their own, on each side, below which nothing is told."""


class LabelCopies:
    """Exact join of released rows with rows that only one patient has; Fisher's test over patients."""

    id = "label_copies"
    question = "Does the archive repeat rows (label, sex, age, scanner) that only one training patient has?"
    criterion = Criterion.SINGLING_OUT
    needs_sound_split = True
    explanation = Explanation(
        how="Label and released attributes of an image are one row. Rows that only one real patient has are looked for "
        "in the archive, for training patients and for patients never seen; the test asks whether training patients' "
        "are there more often. It is exact: permuting who was trained on gives the same distribution.",
        good="Unique rows of training patients stand in the archive as often as those of patients never seen.",
        weakness="A single copied row cannot be told from chance where columns are coarse, and nothing is asked where "
        "a class label is all that is released.",
        source="Tuple uniqueness against a holdout; Fisher's exact test.",
    )

    def measure(self, case: AuditCase, rng: np.random.Generator) -> Measurement:
        """Share of unique training rows that are met, less the share of unique holdout rows."""
        names = released_names(case)
        if len(names) < 2:
            told = names[0] if names else "nothing"
            reason = f"not applicable: {told} is all that is released in words, and many patients share it"
            return unable(NAME, Direction.LOWER, reason, not_applicable=True, n=case.counts)
        missing = holdout_missing(case)
        if missing:
            return unable(NAME, Direction.LOWER, missing, n=case.counts)
        result, met = _joined(case, case.synthetic, names)
        n = case.counts | {
            "columns": len(names),
            "unique_train": result.guesses,
            "unique_holdout": result.control_guesses,
        }
        if min(result.guesses, result.control_guesses) < MINIMUM_UNIQUE:
            reason = (
                f"not applicable: {result.guesses} training and {result.control_guesses} held-out patients have a row "
                f"of their own, fewer than {MINIMUM_UNIQUE}: such rows single nobody out"
            )
            return unable(NAME, Direction.LOWER, reason, not_applicable=True, n=n)
        leaked = replace_share(
            case.synthetic, case.train, "label_row", min(len(case.synthetic), case.train.patient_count), rng
        )
        seen = float(_p(_joined(case, leaked, names)[0]) <= ALPHA)
        low, high = result.interval()
        note = (
            f"{result.hits} of {result.guesses} unique rows of training patients stand in the archive, "
            f"{result.control_hits} of {result.control_guesses} of patients never seen"
        )
        return Measurement(
            Statistic(NAME, result.excess, low, high, 0.95, Direction.LOWER),
            Baseline(holdout=result.control_hits / result.control_guesses),
            Power(None, "unique rows", {"label_row": seen}),
            n,
            p_value=_p(result),
            controls_missed=() if seen else ("label_row",),
            note=note,
            details={"columns": list(names), "synthetic_rows_met": met},
        )


def _rows(images: ImageSet, names: tuple[str, ...]) -> list[tuple[str, ...]]:
    return list(zip(*(column(images, name).tolist() for name in names), strict=True))


def _joined(case: AuditCase, synthetic: ImageSet, names: tuple[str, ...]) -> tuple[AttackResult, int]:
    """Patients with a row of their own, and whether it stands among the synthetic rows; and how many of those do."""
    patients = case.patients
    rows = list(zip(*(both_sides(patients, name).tolist() for name in names), strict=True))
    owner: dict[tuple[str, ...], int] = {}
    for row, patient in zip(rows, patients.column.tolist(), strict=True):
        owner[row] = patient if owner.get(row, patient) == patient else -1
    made = _rows(synthetic, names)
    present = set(made)
    unique: BoolArray = np.zeros(patients.count, dtype=np.bool_)
    hit: BoolArray = np.zeros(patients.count, dtype=np.bool_)
    for row, patient in owner.items():
        if patient >= 0:
            unique[patient] = True
            hit[patient] |= row in present
    met = sum(0 <= owner.get(row, -1) < patients.train_count for row in made)
    return AttackResult.of("unique rows", hit, unique, patients.train_count), met


def _p(result: AttackResult) -> float:
    """Fisher's one-sided p-value of "training patients' unique rows are met no more often"."""
    table = [
        [result.hits, result.guesses - result.hits],
        [result.control_hits, result.control_guesses - result.control_hits],
    ]
    return float(stats.fisher_exact(table, alternative="greater").pvalue)

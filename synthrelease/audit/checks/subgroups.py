"""Who loses most: utility and coverage by sex, age, scanner and class, with bands that hold for all cells at once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from synthrelease.audit.case import AuditCase
from synthrelease.audit.images import BoolArray, ImageSet
from synthrelease.audit.measurement import Explanation, Measurement, holdout_missing, unable
from synthrelease.audit.scores import macro_auc, macro_auc_resampled, patient_weights
from synthrelease.features.distances import covered
from synthrelease.records.findings import Baseline, Criterion, Direction, Power, Statistic

Array = npt.NDArray[np.float64]

NAME = "AUROC lost by the worst subgroup, beyond the loss of all patients"
FEWEST_PATIENTS = 30
"""Held-out patients of a cell below which nothing is said of it, not even that it exists."""

CONFIDENCE = 0.95
_FEWEST_IMAGES = 5
_NEIGHBOURS = 5


class Subgroups:
    """Loss of each cell minus the loss of all, with simultaneous bands by the maximal t over bootstrap draws."""

    id = "subgroups"
    question = "Does any group of patients lose more than the others when the archive replaces real images?"
    criterion = Criterion.FIDELITY
    needs_sound_split = False
    explanation = Explanation(
        how="The loss in AUROC from training on the archive is measured in each group of held-out patients (sex, decade of age, "
        "scanner, class) and compared with the loss of all. One bootstrap of patients gives bands that hold for all groups at once.",
        good="Even the worst group's band ends below 0.05: nobody pays for the others.",
        weakness="Groups below 30 held-out patients are not assessed, and those are the ones most at risk; attributes that no header "
        "or table tells cannot be examined.",
        source="Simultaneous bands: max-t bootstrap, Montiel Olea & Plagborg-Møller 2019.",
    )

    def measure(self, case: AuditCase, rng: np.random.Generator) -> Measurement:
        """Excess loss of every assessable cell, and the band of the worst."""
        missing = holdout_missing(case)
        if missing:
            return unable(NAME, Direction.LOWER, missing, n=case.counts)
        utility = case.utility
        test, present = utility.holdout, utility.testable(utility.holdout)
        if utility.classes < 2 or not present:
            reason = "not applicable: the holdout has fewer than two classes with five images each"
            return unable(NAME, Direction.LOWER, reason, not_applicable=True, n=case.counts)
        tasks, skipped = _tasks(test, present, case.classes)
        if not tasks:
            reason = f"no subgroup has {FEWEST_PATIENTS} held-out patients and both kinds of images"
            return unable(NAME, Direction.LOWER, reason, n=case.counts)
        weights = patient_weights(test.patient, rng)
        scores = (utility.real_on_holdout, utility.synthetic_on_holdout)

        def loss(inside: BoolArray, classes: list[int]) -> tuple[float, Array]:
            labels, drawn = test.labels[inside], weights[:, inside]
            value = [macro_auc(s[inside], labels, classes) for s in scores]
            draws = [macro_auc_resampled(s[inside], labels, classes, drawn) for s in scores]
            return value[0] - value[1], draws[0] - draws[1]

        all_value, all_draws = loss(np.ones(len(test), dtype=np.bool_), present)
        cells = {name: loss(inside, classes) for name, (inside, classes) in tasks.items()}
        excess = np.array([value - all_value for value, _ in cells.values()])
        draws = np.stack([drawn - all_draws for _, drawn in cells.values()], axis=1)
        spread = np.maximum(draws.std(axis=0, ddof=1), 1e-9)
        reach = float(np.quantile((np.abs(draws - draws.mean(axis=0)) / spread).max(axis=1), CONFIDENCE))
        low, high = excess - reach * spread, excess + reach * spread
        value, ends = round(float(excess.max()), 3), (round(float(low.max()), 3), round(float(high.max()), 3))
        worst = list(cells)[int(excess.argmax())]
        return Measurement(
            Statistic(NAME, value, *ends, CONFIDENCE, Direction.LOWER),
            Baseline(holdout=0.0),
            Power(round(reach * float(spread.max()), 3), "AUROC, half width of the widest band"),
            case.counts,
            note=f"the group that loses most ({worst}) loses {value:.3f} AUROC more than all patients",
            details={
                "auroc_lost_beyond_all": {
                    name: [round(float(x), 2) for x in (low[i], excess[i], high[i])] for i, name in enumerate(cells)
                },
                "patients": {name: _coarse(test, inside) for name, (inside, _) in tasks.items()},
                "coverage": _coverage(case),
                "attributes": sorted(test.attributes),
                "cells_not_assessed": skipped,
            },
        )


def _tasks(
    test: ImageSet, present: list[int], classes: tuple[str, ...]
) -> tuple[dict[str, tuple[BoolArray, list[int]]], int]:
    """By name of the cell: which images, and which classes are told apart in it; and how many cells are too small."""
    found: dict[str, tuple[BoolArray, list[int]]] = {}
    skipped = 0
    everybody = np.ones(len(test), dtype=np.bool_)
    for c in present:
        if len(np.unique(test.patient[test.labels == c])) >= FEWEST_PATIENTS:
            found[f"class {classes[c]}"] = (everybody, [c])
        else:
            skipped += 1
    for name, inside in cells_of(test):
        labels = test.labels[inside]
        told = [c for c in present if _FEWEST_IMAGES <= (labels == c).sum() <= len(labels) - _FEWEST_IMAGES]
        if len(np.unique(test.patient[inside])) >= FEWEST_PATIENTS and told:
            found[name] = (inside, told)
        else:
            skipped += 1
    return found, skipped


def cells_of(images: ImageSet) -> Iterator[tuple[str, BoolArray]]:
    """Every value of every attribute with its images. Scanners are numbered by frequency: a model's name may be free text."""
    for attribute, values in sorted(images.attributes.items()):
        names, counts = np.unique(values[values != ""], return_counts=True)
        for rank, index in enumerate(np.argsort(-counts, kind="stable"), start=1):
            shown = str(rank) if attribute == "scanner" else str(names[index])
            yield f"{attribute} {shown}", np.asarray(values == names[index])


def _coarse(test: ImageSet, inside: BoolArray) -> int:
    """Patients of a cell, rounded down to tens."""
    return len(np.unique(test.patient[inside])) // 10 * 10


def _coverage(case: AuditCase) -> dict[str, Any]:
    """Share of each cell's held-out images that synthetic images cover, beside as many training images."""
    shared, roles = case.fidelity, case.fidelity.reduced
    size = min(len(roles.train), len(roles.synthetic))
    if size <= _NEIGHBOURS or len(roles.holdout) <= _NEIGHBOURS:
        return {}
    ours, ceiling = (covered(roles.holdout, side[:size], _NEIGHBOURS) for side in (roles.synthetic, roles.train))
    return {
        name: {"synthetic": round(float(ours[inside].mean()), 2), "training": round(float(ceiling[inside].mean()), 2)}
        for name, inside in cells_of(shared.holdout)
        if len(np.unique(shared.holdout.patient[inside])) >= FEWEST_PATIENTS
    }

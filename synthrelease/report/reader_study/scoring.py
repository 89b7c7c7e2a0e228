"""The answers of a reader study against its key.

Each reader first, alone: how many of the first showings were right, told with exact and Wilson intervals; how many synthetic
images were called synthetic (sensitivity) and real ones real (specificity); what two showings of one image had in common.
Then the readers together. A reader is

    equivalent      the share of right answers lies within the margin of 0.5, by two one-sided tests
    told apart      it is not 0.5, by an exact test (Holm over the readers), and not equivalent
    inconclusive    neither; or the answers could not have shown a difference

and the study is equivalent when every reader is (each has to be: no correction is due), told apart as soon as one is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from synthrelease.audit.intervals import (
    auc,
    auc_resampled,
    clopper_pearson,
    holm,
    patient_resamples,
    percentiles,
    wilson,
)
from synthrelease.errors import UsageError
from synthrelease.report.reader_study.agreement import RESAMPLES, Kappa, cohen, fleiss
from synthrelease.report.reader_study.equivalence import CHANCE, POWER, answers_needed, tost
from synthrelease.report.reader_study.key import Key, KeyCase

SCHEMA = "synthrelease.reader-study-result/1"
EQUIVALENT, TOLD_APART, INCONCLUSIVE = "equivalent", "told apart", "inconclusive"
MOST_MISSING = 0.1
"""Share of the cases that a reader may leave open."""

_SEED = 20260101


@dataclass(frozen=True)
class ReaderAnswers:
    """What one reader wrote.

    Attributes:
        reader: Name.
        called_synthetic: Answer by number of the case; cases left open are missing.
        confidence: From 1 (guessed) to 5 (sure), where it was given.
    """

    reader: str
    called_synthetic: Mapping[int, bool]
    confidence: Mapping[int, int] = field(default_factory=dict)


def score(key: Key, answers: Sequence[ReaderAnswers]) -> dict[str, Any]:
    """Everything that the answers tell.

    Args:
        key: Of the study.
        answers: One entry a reader.

    Returns:
        Plain values; names readers, no case and no patient.

    Raises:
        UsageError: No reader, one twice, a case that the study does not have, or nothing answered.
    """
    _check(key, answers)
    first = key.first_cases()
    readers = [_reader(key, first, each) for each in answers]
    for row, p in zip(readers, holm([row["p_guessing"] for row in readers]), strict=True):
        row["p_guessing_holm"] = p
        row["verdict"], row["reason"] = _verdict(row, key)
    return {
        "schema": SCHEMA,
        "study": key.study,
        "cases": len(first),
        "repeats": len(key.cases) - len(first),
        "margin": key.margin,
        "alpha": key.alpha,
        "answers_needed": answers_needed(key.margin, key.alpha),
        "power_asked": POWER,
        "readers": readers,
        "together": _together(key, first, answers),
        **_study_verdict(readers),
    }


def _reader(key: Key, first: Sequence[KeyCase], given: ReaderAnswers) -> dict[str, Any]:
    answered = [case for case in first if case.number in given.called_synthetic]
    truth = np.array([case.synthetic for case in answered], dtype=bool)
    called = np.array([given.called_synthetic[case.number] for case in answered], dtype=bool)
    right = int((truth == called).sum())
    test = tost(right, len(answered), key.margin, key.alpha)
    return {
        "reader": given.reader,
        "answered": len(answered),
        "missing": len(first) - len(answered),
        "accuracy": _share(right, len(answered)),
        "sensitivity": _share(int((called & truth).sum()), int(truth.sum())),
        "specificity": _share(int((~called & ~truth).sum()), int((~truth).sum())),
        "called_synthetic": float(called.mean()),
        # What the habit of calling so many images synthetic allows at best.
        "best_possible": 1 - abs(float(called.mean()) - float(truth.mean())),
        "balance": abs(float(truth.mean()) - 0.5),
        "p_guessing": float(stats.binomtest(right, len(answered), CHANCE).pvalue),
        "equivalence": {"p": test.p, "interval": list(test.interval), "shown": test.equivalent},
        "area_under_curve": _area(answered, given),
        "repeated": _repeated(key, given),
    }


def _verdict(row: Mapping[str, Any], key: Key) -> tuple[str, str]:
    cases = row["answered"] + row["missing"]
    if row["missing"] > MOST_MISSING * cases or row["balance"] > MOST_MISSING / 2:
        return INCONCLUSIVE, f"{row['missing']} of {cases} cases were left open"
    if row["best_possible"] <= CHANCE + key.margin:
        return INCONCLUSIVE, "nearly all answers are the same, so no difference could have shown"
    low, high = row["equivalence"]["interval"]
    within = f"{low:.3f} to {high:.3f} at {1 - 2 * key.alpha:.0%} confidence".replace("%", " %")
    if row["equivalence"]["shown"]:
        return EQUIVALENT, f"{within}, within {key.margin:g} of 0.5"
    if row["p_guessing_holm"] < key.alpha:
        return TOLD_APART, f"no guessing: p = {row['p_guessing_holm']:.2g} over all readers; {within}"
    return INCONCLUSIVE, f"{within}; {answers_needed(key.margin, key.alpha)} answers would do for a reader who guesses"


def _study_verdict(readers: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    found = [row["verdict"] for row in readers]
    if TOLD_APART in found:
        return {"verdict": TOLD_APART, "reason": f"{found.count(TOLD_APART)} of {len(found)} readers told them apart"}
    if all(each == EQUIVALENT for each in found):
        return {"verdict": EQUIVALENT, "reason": "every reader's share of right answers is that of guessing"}
    return {"verdict": INCONCLUSIVE, "reason": f"{found.count(INCONCLUSIVE)} of {len(found)} readers are inconclusive"}


def _together(key: Key, first: Sequence[KeyCase], answers: Sequence[ReaderAnswers]) -> dict[str, Any] | None:
    """What several readers have in common, over the cases that all of them answered; None of one reader."""
    common = [case for case in first if all(case.number in each.called_synthetic for each in answers)]
    if len(answers) < 2 or len(common) < 2:
        return None
    rng = np.random.default_rng(_SEED)
    truth = np.array([case.synthetic for case in common])
    called = np.array([[each.called_synthetic[case.number] for case in common] for each in answers])
    mean, low, high = mean_accuracy(called == truth, truth, 1 - 2 * key.alpha)
    return {
        "readers": len(answers),
        "cases": len(common),
        "accuracy": {"value": mean, "interval": [low, high], "confidence": 1 - 2 * key.alpha},
        "fleiss_kappa": _told(fleiss(called, rng)),
        "cohen_kappa": [
            {"readers": [one.reader, other.reader], **(_told(cohen(called[i], called[j], rng)) or {"value": None})}
            for (i, one), (j, other) in combinations(enumerate(answers), 2)
        ],
    }


def mean_accuracy(
    right: npt.NDArray[np.bool_], synthetic: npt.NDArray[np.bool_], confidence: float
) -> tuple[float, float, float]:
    """Mean share of right answers of readers like these on cases like these: readers and cases are both at random.

        Var = (MS_readers + max(MS_cases - MS_rest, 0)) / (readers cases),   MS within the two kinds

    and the ends of the score interval at n = m (1 - m) / Var answers, with Student's t at the degrees of freedom of the
    mean squares. Few readers give a wide interval, however many cases they saw.

    Args:
        right: (readers, cases), two readers or more.
        synthetic: (cases,) the kind.
        confidence: Two-sided.

    Returns:
        Mean, low and high.

    Source: two-way analysis of variance with random readers and cases as in Obuchowski and Rockette 1995; degrees of
    freedom of Hillis 2007.
    """
    readers, cases = right.shape
    x = right.astype(np.float64)
    mean = float(x.mean())
    of_case, of_reader, rest = 0.0, float(cases * ((x.mean(1) - mean) ** 2).sum()), 0.0
    kinds = [x[:, synthetic == kind] for kind in (False, True) if (synthetic == kind).any()]
    for part in kinds:
        own = part.mean(0, keepdims=True) - part.mean()
        of_case += readers * float((own**2).sum())
        rest += float((part - part.mean(1, keepdims=True) - own).__pow__(2).sum())
    freedom = max(1, cases - len(kinds))
    ms_reader, ms_case = of_reader / (readers - 1), of_case / freedom
    ms_rest = rest / ((readers - 1) * freedom)
    excess = max(ms_case - ms_rest, 0.0)
    # Never less than what independent answers would have.
    variance = max(ms_reader + excess, ms_case, mean * (1 - mean)) / (readers * cases)
    total = ms_reader + excess
    dof = total**2 / (ms_reader**2 / (readers - 1)) if ms_reader > 0 else freedom
    t = float(stats.t.ppf(0.5 + confidence / 2, max(dof, readers - 1)))
    number = mean * (1 - mean) / variance if variance > 0 else cases
    centre = (mean + t * t / (2 * number)) / (1 + t * t / number)
    half = t / (1 + t * t / number) * np.sqrt(mean * (1 - mean) / number + t * t / (4 * number**2))
    return mean, max(0.0, float(centre - half)), min(1.0, float(centre + half))


def _repeated(key: Key, given: ReaderAnswers) -> dict[str, Any] | None:
    """A reader against himself, over the images shown twice; None without any."""
    twice = [
        (case.repeat_of, case.number)
        for case in key.cases
        if case.repeat_of is not None and {case.repeat_of, case.number} <= given.called_synthetic.keys()
    ]
    if not twice:
        return None
    one, other = (np.array([given.called_synthetic[pair[side]] for pair in twice]) for side in (0, 1))
    kappa = cohen(one, other, np.random.default_rng(_SEED))
    return {"images": len(twice), "same": _share(int((one == other).sum()), len(twice)), "kappa": _told(kappa)}


def _area(answered: Sequence[KeyCase], given: ReaderAnswers) -> dict[str, Any] | None:
    """Area under the curve of how sure a reader is that an image is synthetic; None unless told of every answer."""
    if not all(case.number in given.confidence for case in answered):
        return None
    sign = {True: 1.0, False: -1.0}
    sure = {c.number: sign[given.called_synthetic[c.number]] * given.confidence[c.number] for c in answered}
    made, real = (np.array([sure[c.number] for c in answered if c.synthetic is kind]) for kind in (True, False))
    if not len(made) or not len(real):
        return None
    rng = np.random.default_rng(_SEED)
    draws = auc_resampled(
        made, real, patient_resamples(len(made), RESAMPLES, rng), patient_resamples(len(real), RESAMPLES, rng)
    )
    return {"value": auc(made, real), "interval": list(percentiles(draws))}


def _share(hits: int, trials: int) -> dict[str, Any]:
    """A share with both intervals at 95 %; without a trial nothing is known."""
    if trials == 0:
        return {"hits": 0, "trials": 0, "value": None, "exact": [0.0, 1.0], "wilson": [0.0, 1.0]}
    exact, score_interval = clopper_pearson(hits, trials), wilson(hits, trials)
    return {
        "hits": hits,
        "trials": trials,
        "value": hits / trials,
        "exact": list(exact),
        "wilson": list(score_interval),
    }


def _told(kappa: Kappa | None) -> dict[str, Any] | None:
    return None if kappa is None else {"value": kappa.value, "interval": list(kappa.interval)}


def _check(key: Key, answers: Sequence[ReaderAnswers]) -> None:
    names = [each.reader for each in answers]
    if not names or len(set(names)) < len(names):
        raise UsageError("no reader, or one reader twice", fix="Give one file of answers for each reader.")
    known = {case.number for case in key.cases}
    for each in answers:
        if stray := each.called_synthetic.keys() - known:
            raise UsageError(
                f"{each.reader} answers {len(stray)} cases that the study does not have, case {min(stray)} among them",
                fix="Use the sheet of this study.",
            )
        if not each.called_synthetic.keys() & {case.number for case in key.first_cases()}:
            raise UsageError(f"{each.reader} answered nothing", fix="Write real or synthetic into the column answer.")

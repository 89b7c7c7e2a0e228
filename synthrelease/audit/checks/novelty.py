"""Novelty gap: whether the archive lies nearer to the training patients than to others, as a whole."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from synthrelease.audit.case import AuditCase
from synthrelease.audit.intervals import patient_resamples, percentiles
from synthrelease.audit.measurement import Explanation, Measurement, holdout_missing, unable
from synthrelease.features.distances import frechet_of, moments
from synthrelease.features.embedding import Reduction, described
from synthrelease.records.findings import Baseline, Criterion, Direction, Power, Statistic

Array = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

NAME = "Fréchet distance to the holdout minus that to training patients"
PERMUTATIONS = 499
RESAMPLES = 200
FEWEST = 60


class NoveltyGap:
    """FD(synthetic, holdout) - FD(synthetic, train) over equally many patients; p by exchanging patients' sides."""

    id = "novelty"
    question = "Does the archive as a whole lie nearer to the training patients than to patients never seen?"
    criterion = Criterion.MEMBERSHIP
    needs_sound_split = True
    explanation = Explanation(
        how="The Fréchet distance of the archive to held-out patients, minus that to as many training patients, in features fitted "
        "on both alike. Its p-value comes from exchanging the sides of patients at random 499 times.",
        good="Near zero, with a p-value that is not small: the archive knows people in general, not these people.",
        weakness="A mean over all images: a few copies do not move it. It sees a generator that has learnt its set by heart.",
        source="Jiralerspong et al., NeurIPS 2023 (generalisation gap); exact by permutation of patients.",
    )

    def measure(self, case: AuditCase, rng: np.random.Generator) -> Measurement:
        """The gap, its bootstrap interval and its permutation p-value."""
        missing = holdout_missing(case)
        if missing:
            return unable(NAME, Direction.LOWER, missing, n=case.counts)
        if len(case.synthetic) < FEWEST:
            return unable(
                NAME, Direction.LOWER, f"{len(case.synthetic)} synthetic images; at least {FEWEST} are needed"
            )
        shared, raw = case.fidelity, case.fidelity.raw
        reduce = Reduction.fit(np.concatenate([raw.train, raw.holdout]))
        sides = [
            _Patients.of(reduce(values), patient)
            for values, patient in ((raw.train, shared.train.patient), (raw.holdout, shared.holdout.patient))
        ]
        count = min(len(side.count) for side in sides)
        train, holdout = (side.take(rng.permutation(len(side.count))[:count]) for side in sides)
        pooled = train.joined(holdout)
        made = moments(reduce(raw.synthetic))

        def gap(of_train: Array, of_holdout: Array) -> float:
            return frechet_of(*made, *pooled.moments(of_holdout)) - frechet_of(*made, *pooled.moments(of_train))

        member = np.repeat([1.0, 0.0], count)
        value = gap(member, 1.0 - member)
        exchanged = [rng.permutation(member) for _ in range(PERMUTATIONS)]
        null = np.array([gap(m, 1.0 - m) for m in exchanged])
        empty = np.zeros((RESAMPLES, count))
        weights = [patient_resamples(count, RESAMPLES, rng) for _ in range(2)]
        draws = [
            gap(one, two)
            for one, two in zip(np.hstack([weights[0], empty]), np.hstack([empty, weights[1]]), strict=True)
        ]
        interval = percentiles(np.array(draws))
        return Measurement(
            Statistic(NAME, value, min(interval.low, value), max(interval.high, value), 0.95, Direction.LOWER),
            Baseline(holdout=0.0, random=float(null.mean())),
            Power(float(np.quantile(null, 0.95)), "gap that one in twenty permutations reaches"),
            case.counts,
            p_value=float((1 + (null >= value).sum()) / (1 + PERMUTATIONS)),
            note=f"the archive is {value:.3f} farther from unseen patients than from as many training patients",
            details={
                "extractor": described(shared.extractor, reduce, "train and holdout alike"),
                "patients_a_side": count,
            },
        )


@dataclass(frozen=True)
class _Patients:
    """Sums over each patient's images: how many (P,), of values (P, D), of outer products (P, D, D)."""

    count: Array
    first: Array
    second: Array

    @classmethod
    def of(cls, values: Array, patient: IntArray) -> _Patients:
        _, index = np.unique(patient, return_inverse=True)
        people, dimension = int(index.max()) + 1, values.shape[1]
        first, second = np.zeros((people, dimension)), np.zeros((people, dimension, dimension))
        np.add.at(first, index, values)
        np.add.at(second, index, values[:, :, None] * values[:, None, :])
        return cls(np.bincount(index).astype(np.float64), first, second)

    def take(self, index: IntArray) -> _Patients:
        return _Patients(self.count[index], self.first[index], self.second[index])

    def joined(self, other: _Patients) -> _Patients:
        return _Patients(
            np.concatenate([self.count, other.count]),
            np.concatenate([self.first, other.first]),
            np.concatenate([self.second, other.second]),
        )

    def moments(self, weights: Array) -> tuple[Array, Array]:
        """Mean and covariance of the images under (P,) weights of their patients."""
        total = float(weights @ self.count)
        mean = weights @ self.first / total
        outer = np.tensordot(weights, self.second, axes=1)
        return mean, (outer - total * np.outer(mean, mean)) / (total - 1.0)

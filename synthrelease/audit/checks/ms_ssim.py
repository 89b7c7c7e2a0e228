"""MS-SSIM diversity: how alike two synthetic images of one class are, beside two real ones."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from synthrelease.audit.case import AuditCase
from synthrelease.audit.images import ImageSet
from synthrelease.audit.intervals import percentiles
from synthrelease.audit.measurement import Explanation, Measurement, holdout_missing, unable
from synthrelease.features.ssim import WINDOW, ms_ssim, scale_weights
from synthrelease.records.findings import Baseline, Criterion, Direction, Power, Statistic

Array = npt.NDArray[np.float64]

NAME = "MS-SSIM of pairs within a class, beyond that of real pairs"
PAIRS = 300
FEWEST = 20
RESAMPLES = 500


class MultiScaleSimilarity:
    """Mean likeness of synthetic pairs minus that of held-out real pairs; no image is in two pairs."""

    id = "ms_ssim"
    question = "Are two synthetic images of one class more alike than two real patients are?"
    criterion = Criterion.FIDELITY
    needs_sound_split = False
    explanation = Explanation(
        how="Up to 300 pairs of different patients of the same class are compared by multi-scale structural similarity, among "
        "synthetic images and among held-out real ones. The difference of the means gets an interval from the pairs.",
        good="Near zero: pairs are as unlike as real ones. Clearly above zero: the archive repeats itself within a class.",
        weakness="Empty background is alike in all images and dilutes the number; noise makes every pair unlike and scores well.",
        source="Odena, Olah & Shlens, ICML 2017; Wang, Simoncelli & Bovik 2003. Pitfalls: Dohmen et al. 2024.",
    )

    def measure(self, case: AuditCase, rng: np.random.Generator) -> Measurement:
        """Difference of means, bootstrap over pairs."""
        missing = holdout_missing(case)
        if missing or case.holdout is None:
            return unable(NAME, Direction.LOWER, missing, n=case.counts)
        side = min(case.synthetic.images.shape[-2:])
        if side < WINDOW:
            return unable(NAME, Direction.LOWER, f"the images have fewer than {WINDOW} pixels on a side", n=case.counts)
        roles = {"holdout": case.holdout, "train": case.train, "synthetic": case.synthetic}
        found = {name: _likeness(role, rng) for name, role in roles.items()}
        if min(map(len, found.values())) < FEWEST:
            reason = f"fewer than {FEWEST} pairs of different patients of one class in one of the roles"
            return unable(NAME, Direction.LOWER, reason, n=case.counts)
        means = {name: float(values.mean()) for name, values in found.items()}
        value = means["synthetic"] - means["holdout"]
        interval = percentiles(_resampled(found["synthetic"], rng) - _resampled(found["holdout"], rng))
        return Measurement(
            Statistic(NAME, value, min(interval.low, value), max(interval.high, value), 0.95, Direction.LOWER),
            Baseline(holdout=means["train"] - means["holdout"]),
            Power((interval.high - interval.low) / 2, "MS-SSIM, half width of the interval"),
            case.counts,
            note=f"mean MS-SSIM of pairs {means['synthetic']:.3f}; real pairs have {means['holdout']:.3f}",
            details={"mean": means, "scales": len(scale_weights(side)), "pairs": {k: len(v) for k, v in found.items()}},
        )


def _likeness(images: ImageSet, rng: np.random.Generator) -> Array:
    """MS-SSIM of disjoint pairs of different patients of one class, classes as frequent as among the images."""
    order = rng.permutation(len(images))
    _, one_each = np.unique(images.patient[order], return_index=True)
    order = order[np.sort(one_each)]
    first, second = [], []
    for label in np.unique(images.labels):
        inside = order[images.labels[order] == label]
        half = len(inside) // 2
        first.append(inside[:half])
        second.append(inside[half : 2 * half])
    one, two = np.concatenate(first), np.concatenate(second)
    if not len(one):
        return np.zeros(0)
    chosen = rng.permutation(len(one))[:PAIRS]
    return ms_ssim(images.images[one[chosen]], images.images[two[chosen]])


def _resampled(values: Array, rng: np.random.Generator) -> Array:
    return np.asarray(values[rng.integers(0, len(values), (RESAMPLES, len(values)))].mean(axis=1))

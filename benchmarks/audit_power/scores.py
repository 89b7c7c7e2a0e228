"""Scores of the literature that no package ships in a form that runs here, each in a few lines of our own.

Distances are Euclidean between pixels. ``train``, ``holdout`` and ``synthetic`` are (n, D), (h, D) and (M, D).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
from scipy import stats

Array = npt.NDArray[np.float64]


def pairs(left: Array, right: Array) -> Array:
    """(L, R) distances; below about 1e-6 of the vectors' length they are rounding."""
    square = np.einsum("ld,ld->l", left, left)[:, None] + np.einsum("rd,rd->r", right, right)[None]
    return np.asarray(np.sqrt(np.maximum(square - 2.0 * left @ right.T, 0.0)))


@dataclass(frozen=True)
class Distances:
    """Everything that the scores read, computed once.

    Attributes:
        to_train: (M, n). to_holdout: (M, h). among_train: (n, n) with an infinite diagonal.
        holdout_to_train: (h,) to the nearest.
    """

    to_train: Array
    to_holdout: Array
    among_train: Array
    holdout_to_train: Array

    @classmethod
    def of(cls, train: Array, holdout: Array, synthetic: Array) -> Distances:
        """Measure all pairs."""
        among = pairs(train, train)
        np.fill_diagonal(among, np.inf)
        return cls(pairs(synthetic, train), pairs(synthetic, holdout), among, pairs(holdout, train).min(axis=1))


def dcr_share(d: Distances) -> float:
    """Share of synthetic images nearer to train than to holdout; ties count half."""
    near, far = d.to_train.min(axis=1), d.to_holdout.min(axis=1)
    return float(np.mean((near < far) + 0.5 * (near == far)))


def auth_pct(d: Distances) -> float:
    """Share of synthetic images that are authentic: the nearest training image has a nearer one of its own kind.

    Source: Alaa et al., ICML 2022.
    """
    nearest = d.to_train.argmin(axis=1)
    return float(np.mean(d.to_train.min(axis=1) > d.among_train.min(axis=1)[nearest]))


def c_t(d: Distances) -> float:
    """z of Mann-Whitney: synthetic against held-out images, by distance to train. Below zero: copying.

    Source: Meehan et al., AISTATS 2020, one cell.
    """
    copied, held = d.to_train.min(axis=1), d.holdout_to_train
    u = float(stats.mannwhitneyu(copied, held).statistic)
    n, m = len(copied), len(held)
    return (u - n * m / 2) / float(np.sqrt(n * m * (n + m + 1) / 12))


def carlini_ratio(d: Distances) -> float:
    """Smallest distance to train over half the mean distance to the 50 nearest. Source: Carlini et al., 2023."""
    nearest = np.sort(d.to_train, axis=1)[:, :50]
    return float((nearest[:, 0] / (0.5 * nearest.mean(axis=1))).min())


def nndr(d: Distances) -> float:
    """5th percentile of nearest over second nearest distance to train, over the same to the holdout."""

    def low(table: Array) -> float:
        two = np.partition(table, 1, axis=1)[:, :2]
        return float(np.quantile(two[:, 0] / np.maximum(two[:, 1], 1e-12), 0.05))

    return low(d.to_train) / max(low(d.to_holdout), 1e-12)


SCORES: Mapping[str, Callable[[Distances], float]] = MappingProxyType(
    {"DCR share": dcr_share, "NNDR p5 ratio": nndr, "AuthPct": auth_pct, "C_T": c_t, "Carlini ratio": carlini_ratio}
)


def max_pearson(train: Array, synthetic: Array) -> float:
    """Largest correlation of a synthetic image with a training image. Source: Akbar et al., 2025."""

    def unit(x: Array) -> Array:
        centred = x - x.mean(axis=1, keepdims=True)
        return np.asarray(centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-12))

    return float((unit(synthetic) @ unit(train).T).max())


LARGER_IS_WORSE: Mapping[str, bool] = MappingProxyType(
    {
        "DCR share": True,
        "NNDR p5 ratio": False,
        "AuthPct": False,
        "C_T": False,
        "Carlini ratio": False,
        "max Pearson": True,
    }
)

RULE: Mapping[str, tuple[str, float]] = MappingProxyType(
    {
        "DCR share": ("significantly above 0.5, read as binomial at 5 %", 0.5 + 1.645 * 0.5 / 1000**0.5),
        "C_T": ("below -1.645, Mann-Whitney at 5 %", -1.645),
    }
)
"""What its authors, or those who use it, call copying; the other scores come without a rule."""

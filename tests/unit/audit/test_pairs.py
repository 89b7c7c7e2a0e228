"""Paired scores: a small gain in every case is found, and too few cases are refused."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from synthrelease.audit.pairs import paired_gain
from synthrelease.errors import UnsuitableData


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_a_small_gain_in_every_case_is_found_where_cases_differ_more_than_methods() -> None:
    cases = rng().uniform(0.2, 0.9, 40)
    gain = paired_gain(cases + 0.02 + rng(1).normal(0, 0.01, 40), cases, rng())
    assert 0.01 < gain.low < gain.mean < gain.high < 0.03
    assert gain.p_value < 0.001
    assert (gain.cases, gain.owners) == (40, 40)


def test_images_of_one_owner_are_one_finding() -> None:
    own = rng().normal(0.01, 0.05, 8)
    cases = np.repeat(own, 50) + rng(1).normal(0, 0.001, 400)
    alone = paired_gain(cases, np.zeros(400), rng())
    gain = paired_gain(cases, np.zeros(400), rng(), owners=np.repeat(np.arange(8), 50))
    assert (gain.cases, gain.owners) == (400, 8)
    assert gain.mean == alone.mean
    assert gain.high - gain.low > 4 * (alone.high - alone.low)
    assert gain.p_value == stats.wilcoxon(cases.reshape(8, 50).mean(axis=1)).pvalue > 100 * alone.p_value
    with pytest.raises(UnsuitableData, match="5 pairs"):
        paired_gain(cases, np.zeros(400), rng(), owners=np.arange(400) // 80)
    with pytest.raises(ValueError, match="owners of shape"):
        paired_gain(cases, np.zeros(400), rng(), owners=np.arange(8))


def test_an_owner_with_more_images_weighs_more() -> None:
    owners = np.repeat(np.arange(6), [60, 2, 2, 2, 2, 2])
    gain = paired_gain(np.where(owners == 0, 0.3, -0.1), np.zeros(70), rng(), owners=owners)
    assert gain.mean == pytest.approx((0.3 * 60 - 0.1 * 10) / 70)
    assert gain.low < 0 < gain.high


def test_no_gain_is_none() -> None:
    cases = rng().uniform(0.2, 0.9, 40)
    gain = paired_gain(cases + rng(1).normal(0, 0.05, 40), cases, rng())
    assert gain.low < 0 < gain.high
    assert gain.p_value > 0.05
    assert paired_gain(cases, cases, rng()).p_value == 1.0


def test_the_p_value_is_the_signed_rank_tests() -> None:
    one, other = rng().normal(size=20), rng(1).normal(size=20)
    assert paired_gain(one, other, rng()).p_value == stats.wilcoxon(one, other).pvalue


def test_with_five_pairs_no_p_value_could_be_small() -> None:
    assert stats.wilcoxon([1.0, 2, 3, 4, 5]).pvalue > 0.05
    with pytest.raises(UnsuitableData, match="5 pairs"):
        paired_gain([1.0, 2, 3, 4, 5], np.zeros(5), rng())


def test_what_is_no_pair_or_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="are no pairs"):
        paired_gain(np.zeros(7), np.zeros(8), rng())
    with pytest.raises(UnsuitableData, match="not a number"):
        paired_gain([float("nan")] * 7, np.zeros(7), rng())

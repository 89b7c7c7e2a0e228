"""Intervals and tests against hand-checked numbers, their edge cases, and their behaviour under the null."""

from __future__ import annotations

import doctest

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from synthrelease.audit import attacks, intervals
from synthrelease.audit.intervals import (
    ExponentialTail,
    at_least,
    auc,
    auc_resampled,
    clopper_pearson,
    holm,
    lower_bound,
    patient_resamples,
    upper_bound,
    wilson,
)
from synthrelease.features import descriptors, distances


@pytest.mark.parametrize("module", [intervals, attacks, descriptors, distances])
def test_numbers_in_docstrings_are_true(module):
    result = doctest.testmod(module, extraglobs={"np": np})
    assert result.attempted > 0
    assert result.failed == 0


@pytest.mark.parametrize("interval", [clopper_pearson, wilson])
@pytest.mark.parametrize(("hits", "trials"), [(0, 1), (1, 1), (0, 50), (50, 50), (25, 50)])
def test_intervals_hold_the_rate_and_stay_within_zero_and_one(interval, hits, trials):
    low, high = interval(hits, trials)
    assert 0.0 <= low <= hits / trials + 1e-12
    assert hits / trials - 1e-12 <= high <= 1.0


@pytest.mark.parametrize(("hits", "trials"), [(-1, 5), (6, 5), (0, 0)])
def test_impossible_counts_are_refused(hits, trials):
    with pytest.raises(ValueError, match="hits"):
        clopper_pearson(hits, trials)


@pytest.mark.parametrize("rate", [0.0, 0.02, 0.3, 1.0])
def test_one_sided_bounds_hold_at_their_confidence(rate):
    hits = np.random.default_rng(1).binomial(200, rate, 1000)
    assert np.mean([upper_bound(int(k), 200) >= rate for k in hits]) >= 0.94
    assert np.mean([lower_bound(int(k), 200) <= rate for k in hits]) >= 0.94


def test_sample_sizes_of_the_thresholds():
    assert upper_bound(0, 630) / lower_bound(60, 60) <= 0.005 < upper_bound(0, 600) / lower_bound(60, 60)
    assert upper_bound(0, 315) / lower_bound(60, 60) <= 0.01


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_holm_lies_between_the_raw_and_the_bonferroni_p_value_and_keeps_order(p):
    adjusted = holm(p)
    for raw, value in zip(p, adjusted, strict=True):
        assert raw <= value <= min(1.0, raw * len(p)) + 1e-12
    order = np.argsort(p, kind="stable")
    assert np.all(np.diff(np.array(adjusted)[order]) >= -1e-12)


def test_holm_of_nothing_is_nothing():
    assert holm([]) == []


def test_binomial_surprise_at_the_ends():
    assert at_least(0, 10, 0.05) == 1.0
    assert at_least(10, 10, 0.05) == pytest.approx(0.05**10)


@pytest.mark.parametrize("null", ["expon", "norm", "logistic"])
def test_exponential_tail_rarely_accuses_the_largest_of_many_null_scores(null):
    draw = getattr(stats, null)
    alarms = [
        (
            ExponentialTail.fit(draw.rvs(size=300, random_state=s)).p(draw.rvs(size=600, random_state=10_000 + s)) * 600
        ).min()
        <= 0.05
        for s in range(200)
    ]
    assert np.mean(alarms) <= 0.05


def test_exponential_tail_is_valid_at_every_level_above_its_start_and_still_sees_outliers():
    null, fresh = np.random.default_rng(0).exponential(size=(2, 4000))
    p = ExponentialTail.fit(null).p(fresh)
    for level in (0.1, 0.01, 0.001):
        assert np.mean(p <= level) <= 1.3 * level
    assert ExponentialTail.fit(null).p(np.array([30.0]))[0] < 1e-10
    assert np.all(np.diff(ExponentialTail.fit(null).p(np.linspace(-1, 20, 300))) <= 1e-12)


def test_fewer_independent_scores_make_a_longer_tail():
    null = np.random.default_rng(0).exponential(size=400)
    assert ExponentialTail.fit(null, copies=4).scale > ExponentialTail.fit(null).scale


def test_a_null_without_spread_or_size_is_refused_or_floored():
    with pytest.raises(ValueError, match="25"):
        ExponentialTail.fit(np.zeros(10))
    assert ExponentialTail.fit(np.zeros(100)).scale == pytest.approx(1e-3)


def test_auc_of_perfect_blind_and_reversed_attacks():
    high, low = np.arange(10.0) + 100, np.arange(10.0)
    assert (auc(high, low), auc(low, high), auc(low, low)) == (1.0, 0.0, 0.5)


def test_weighted_auc_of_equal_weights_is_the_plain_one_and_resamples_keep_the_number_of_patients():
    rng = np.random.default_rng(0)
    positive, negative = rng.normal(1, 1, 30), rng.normal(0, 1, 40)
    plain = auc_resampled(positive, negative, np.ones((1, 30)), np.ones((1, 40)))
    assert plain[0] == pytest.approx(auc(positive, negative))
    assert set(patient_resamples(30, 50, rng).sum(axis=1)) == {30.0}

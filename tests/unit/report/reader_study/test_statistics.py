"""What answers are worth: exact tests, kappas and means against other implementations and against simulation."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from synthrelease.audit.intervals import clopper_pearson
from synthrelease.errors import UsageError
from synthrelease.report.reader_study.agreement import cohen, fleiss
from synthrelease.report.reader_study.equivalence import answers_needed, power_of, tost
from synthrelease.report.reader_study.scoring import mean_accuracy

RNG = np.random.default_rng


@given(st.integers(1, 400), st.floats(0, 1), st.sampled_from([0.05, 0.1, 0.2]))
def test_equivalence_is_the_exact_interval_inside_the_margin(trials: int, share: float, margin: float) -> None:
    hits = round(share * trials)
    found = tost(hits, trials, margin)
    low, high = clopper_pearson(hits, trials, 0.9)
    assert found.equivalent == (low > 0.5 - margin and high < 0.5 + margin)


@pytest.mark.parametrize("share", [0.4, 0.6])
def test_a_reader_at_the_margin_is_called_equivalent_at_most_as_often_as_the_level_says(share: float) -> None:
    for trials in (60, 228, 500):
        assert power_of(trials, 0.1, 0.05, share) <= 0.05


def test_no_significant_difference_is_no_equivalence() -> None:
    """Twelve of twenty is not significantly different from half, and far from equivalent."""
    assert stats.binomtest(12, 20, 0.5).pvalue > 0.4
    assert not tost(12, 20).equivalent


def test_the_number_needed_has_the_power_and_fewer_have_not() -> None:
    needed = answers_needed(0.1)
    assert needed == 228
    assert power_of(needed) >= 0.8
    assert min(power_of(needed - back) for back in range(2, 12, 2)) < 0.8
    # The normal approximation of the textbooks, n = 1/4 (z_.95 + z_.9)^2 / margin^2, is a little below.
    assert 0.85 < 0.25 * (stats.norm.ppf(0.95) + stats.norm.ppf(0.9)) ** 2 / 0.1**2 / needed < 1


def test_power_is_that_of_simulated_readers_who_guess() -> None:
    hits = RNG(0).binomial(228, 0.5, 4000)
    shown = np.mean([tost(int(each), 228).equivalent for each in hits])
    assert shown == pytest.approx(power_of(228), abs=0.02)


@pytest.mark.parametrize(("margin", "alpha"), [(0.0, 0.05), (0.5, 0.05), (0.1, 0.0), (0.1, 0.6), (float("nan"), 0.05)])
def test_margins_and_levels_that_are_none_are_refused(margin: float, alpha: float) -> None:
    with pytest.raises(UsageError):
        tost(5, 10, margin, alpha)


def answers(seed: int, readers: int = 3, cases: int = 80, share: float = 0.7) -> np.ndarray:
    rng = RNG(seed)
    truth = rng.random(cases) < 0.5
    return np.array([np.where(rng.random(cases) < share, truth, ~truth) for _ in range(readers)])


def test_cohens_kappa_agrees_with_torchmetrics() -> None:
    torch, functional = pytest.importorskip("torch"), pytest.importorskip("torchmetrics.functional.classification")
    for seed in range(5):
        one, other, _ = answers(seed)
        expected = functional.binary_cohen_kappa(torch.from_numpy(one.astype(int)), torch.from_numpy(other.astype(int)))
        found = cohen(one, other, RNG(0))
        assert found is not None
        assert found.value == pytest.approx(float(expected), abs=1e-6)
        assert found.interval.low < found.value < found.interval.high


def test_fleiss_kappa_agrees_with_torchmetrics() -> None:
    torch = pytest.importorskip("torch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        nominal = pytest.importorskip("torchmetrics.functional.nominal")
    for readers in (2, 3, 7):
        called = answers(readers, readers)
        counts = torch.from_numpy(np.stack([called.sum(0), (~called).sum(0)], 1))
        found = fleiss(called, RNG(0))
        assert found is not None
        assert found.value == pytest.approx(float(nominal.fleiss_kappa(counts)), abs=1e-4)


def test_kappa_is_one_for_the_same_and_about_zero_for_strangers() -> None:
    one, other = RNG(1).random((2, 4000)) < 0.5
    same = cohen(one, one, RNG(0))
    apart = cohen(one, other, RNG(0))
    assert same is not None
    assert same.value == 1.0
    assert apart is not None
    assert apart.interval.low < 0 < apart.interval.high


def test_kappa_is_undefined_where_all_answers_are_one() -> None:
    assert cohen(np.ones(9, bool), np.ones(9, bool), RNG(0)) is None
    assert fleiss(np.zeros((3, 9), bool), RNG(0)) is None


def test_the_interval_of_kappa_holds_the_truth_as_often_as_it_says() -> None:
    """Two readers who are each right with chance 0.8: kappa is 2 (0.8^2 + 0.2^2) - 1 = 0.36."""
    held = 0
    for seed in range(150):
        one, other = answers(seed, 2, 120, 0.8)
        found = cohen(one, other, RNG(seed))
        assert found is not None
        held += found.interval.low <= 0.36 <= found.interval.high
    assert held / 150 >= 0.88


def test_the_mean_of_several_readers_holds_the_truth_though_readers_differ() -> None:
    """Readers with skills of their own: the interval speaks of readers like these."""
    rng = RNG(5)
    synthetic = np.arange(100) % 2 == 0
    held = 0
    for _ in range(200):
        skills = np.clip(rng.normal(0.65, 0.08, 5), 0, 1)
        right = rng.random((5, 100)) < skills[:, None]
        mean, low, high = mean_accuracy(right, synthetic, 0.95)
        assert low <= mean <= high
        held += low <= 0.65 <= high
    assert held / 200 >= 0.9


def test_more_readers_who_guess_tell_more() -> None:
    rng = RNG(6)
    synthetic = np.arange(200) % 2 == 0
    widths = []
    for readers in (2, 4, 10):
        _, low, high = mean_accuracy(rng.random((readers, 200)) < 0.5, synthetic, 0.9)
        widths.append(high - low)
    assert widths[0] > widths[1] > widths[2]


@pytest.mark.parametrize("right", [np.ones((3, 20), bool), np.zeros((2, 20), bool)])
def test_readers_who_are_all_right_or_all_wrong_have_an_interval(right: np.ndarray) -> None:
    mean, low, high = mean_accuracy(right, np.arange(20) % 2 == 0, 0.95)
    assert 0 <= low <= mean <= high <= 1
    assert high - low > 0.01

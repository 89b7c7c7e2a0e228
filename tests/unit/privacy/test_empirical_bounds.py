"""Lower bounds on epsilon: seldom above the truth, and near enough to it to be of use."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pytest

from synthrelease.privacy.accounting import Mechanism, epsilon_of
from synthrelease.privacy.calibration import gaussian_delta, mu_of
from synthrelease.privacy.empirical.bounds import LowerBound, Method, lower_bounds, right_guesses
from synthrelease.privacy.empirical.fdp_one_run import one_run_mu, rejected
from synthrelease.privacy.empirical.gaussian import epsilon_of_mu, gaussian_mu, upper_rate
from synthrelease.privacy.empirical.one_run import one_run_epsilon, one_run_p_value
from synthrelease.privacy.empirical.scores import likelihood, statistics
from synthrelease.privacy.empirical.simulation import expected_bound

Array = npt.NDArray[np.float64]
Coins = npt.NDArray[np.bool_]

MOMENTS = (Mechanism("counts", 2.5364), Mechanism("sums", 1.2682), Mechanism("second", 0.92617))
STEPS = Mechanism("steps", 0.8841, 0.05, 100)
"""Together epsilon 8 at delta 1e-5."""


def coins_and_outcomes(
    mechanisms: tuple[Mechanism, ...],
    canaries: int,
    rng: np.random.Generator,
    *,
    noise: float = 1.0,
    counted: float = 1.0,
    reused: bool = False,
) -> tuple[Coins, dict[str, Array]]:
    """What the mechanisms put out on canary coordinates, exactly; or with so many times the noise or the contribution."""
    included = rng.random(canaries) < 0.5
    outcomes = {}
    for m in mechanisms:
        shape = (m.steps, canaries)
        normal = rng.normal(size=shape)
        if reused:
            normal = np.broadcast_to(normal[0], shape)
        taken = included & (rng.random(shape) < m.sampling_probability)
        outcomes[m.name] = counted * taken + noise * m.noise_multiplier * normal
    return included, outcomes


def all_bounds(
    mechanisms: tuple[Mechanism, ...], included: Coins, outcomes: Mapping[str, Array], delta: float
) -> list[LowerBound]:
    """As an audit takes them: 95 % for all of a method together."""
    return [
        bound
        for s in statistics(mechanisms)
        for bound in lower_bounds(
            s.score(outcomes), included, s.thresholds, name=s.name, delta=delta, level=0.05 * s.share
        )
    ]


def highest(bounds: list[LowerBound]) -> dict[Method, float]:
    """Of each method."""
    return {method: max(b.epsilon for b in bounds if b.method is method) for method in Method}


@pytest.mark.parametrize("mu", [0.3, 1.0, 2.0, 4.0])
def test_bounds_stay_below_an_exact_gaussian_in_all_but_one_of_twenty_runs(mu: float) -> None:
    rng, delta, runs = np.random.default_rng(11), 1e-5, 200
    truth = epsilon_of_mu(mu, delta)
    mechanism = (Mechanism("release", 1 / mu),)
    above = dict.fromkeys(Method, 0)
    for _ in range(runs):
        bounds = highest(all_bounds(mechanism, *coins_and_outcomes(mechanism, 100, rng), delta))
        for method, epsilon in bounds.items():
            above[method] += epsilon > truth
    assert all(count <= 0.05 * runs for count in above.values()), above


def test_bounds_of_sampled_steps_stay_below_their_epsilon() -> None:
    rng = np.random.default_rng(12)
    mechanisms = (*MOMENTS, STEPS)
    truth = epsilon_of(mechanisms, 1e-5)
    runs = [highest(all_bounds(mechanisms, *coins_and_outcomes(mechanisms, 200, rng), 1e-5)) for _ in range(60)]
    assert sum(max(run.values()) > truth for run in runs) <= 3


def test_a_thousand_canaries_reach_most_of_epsilon_eight() -> None:
    rng = np.random.default_rng(13)
    mechanisms = (*MOMENTS, STEPS)
    runs = [highest(all_bounds(mechanisms, *coins_and_outcomes(mechanisms, 1000, rng), 1e-5)) for _ in range(10)]
    assert np.mean([run[Method.ONE_RUN] for run in runs]) > 1.7
    assert np.mean([run[Method.FDP_ONE_RUN] for run in runs]) > 3.3
    assert np.mean([run[Method.GAUSSIAN] for run in runs]) > 5.4


def test_the_powers_known_for_a_thousand_steps_are_reached() -> None:
    steps, delta, rng = Mechanism("steps", 1.735, 0.1, 1000), 5e-4, np.random.default_rng(14)
    one, fdp, gauss = [], [], []
    for _ in range(8):
        included, outcomes = coins_and_outcomes((steps,), 1000, rng)
        score = likelihood((steps,), outcomes)
        right = right_guesses(score, included, 100)
        one.append(one_run_epsilon(canaries=1000, guesses=100, correct=right, delta=delta, level=0.05))
        bounds = highest(all_bounds((steps,), included, outcomes, delta))
        fdp.append(bounds[Method.FDP_ONE_RUN])
        gauss.append(bounds[Method.GAUSSIAN])
    assert 1.4 < np.mean(one) < 2.2
    assert 3.0 < np.mean(fdp) < 4.5
    assert 5.4 < np.mean(gauss) < 7.0


@pytest.mark.parametrize(
    "fault", [{"noise": 0.0}, {"noise": 0.5}, {"counted": 5.0}, {"reused": True}], ids=lambda f: next(iter(f))
)
def test_a_mechanism_that_does_not_keep_epsilon_eight_is_found(fault: dict[str, float]) -> None:
    mechanisms = (*MOMENTS, STEPS)
    rng = np.random.default_rng(15)
    bounds = highest(all_bounds(mechanisms, *coins_and_outcomes(mechanisms, 1000, rng, **fault), 1e-5))  # type: ignore[arg-type]
    assert bounds[Method.GAUSSIAN] > 8


def test_the_one_run_p_value_is_a_binomial_tail_without_delta_and_larger_with_it() -> None:
    plain = one_run_p_value(1.0, 0.0, canaries=500, guesses=100, correct=85)
    assert plain == pytest.approx(0.0034839, rel=1e-4)  # P[Binomial(100, 0.731) >= 85]
    with_delta = one_run_p_value(1.0, 1e-3, canaries=500, guesses=100, correct=85)
    assert with_delta > plain + 0.005
    assert one_run_p_value(1.0, 1e-3, canaries=1000, guesses=100, correct=85) > with_delta


def test_the_one_run_p_value_never_falls_with_epsilon() -> None:
    values = [one_run_p_value(e, 1e-4, canaries=400, guesses=80, correct=70) for e in np.linspace(0, 10, 200)]
    assert np.all(np.diff(values) >= -1e-12)


def test_delta_lowers_the_one_run_bound() -> None:
    kept = [one_run_epsilon(canaries=1000, guesses=100, correct=95, delta=d, level=0.05) for d in (0, 1e-5, 1e-4, 1e-3)]
    assert kept == sorted(kept, reverse=True)
    assert kept[0] > kept[-1]


def test_guessing_half_of_the_coins_bounds_nothing() -> None:
    assert one_run_epsilon(canaries=100, guesses=100, correct=50, delta=1e-5, level=0.05) == 0
    assert one_run_mu(canaries=100, guesses=100, correct=50, level=0.05) == 0
    assert (
        gaussian_mu(false_positives=25, negatives=50, false_negatives=25, positives=50, level=0.05) == 0
    )  # fmt: skip


def test_every_guess_right_bounds_as_far_as_the_number_of_canaries_allows() -> None:
    few, many = (one_run_epsilon(canaries=m, guesses=m, correct=m, delta=0.0, level=0.05) for m in (100, 10_000))
    assert few == pytest.approx(3.497, abs=0.01)  # p^100 = 0.05
    assert many > few + 4
    assert one_run_mu(canaries=1000, guesses=1000, correct=1000, level=0.05) > 2.3


def test_the_rejection_of_mu_is_monotone() -> None:
    answers = rejected(np.linspace(0, 5, 100), canaries=300, guesses=100, correct=80, level=0.05)
    assert answers[0]
    assert not answers[-1]
    assert np.all(np.diff(answers.astype(int)) <= 0)


def test_the_upper_rate_is_exact() -> None:
    assert upper_rate(10, 10, 0.05) == 1
    assert upper_rate(0, 59, 0.05) == pytest.approx(1 - 0.05 ** (1 / 59))
    from scipy.stats import binom

    assert binom.cdf(7, 40, upper_rate(7, 40, 0.025)) == pytest.approx(0.025)


@pytest.mark.parametrize("mu", [0.2, 1.0, 3.0, 6.0])
def test_epsilon_of_mu_is_the_inverse_of_mu_of_epsilon(mu: float) -> None:
    epsilon = epsilon_of_mu(mu, 1e-5)
    assert gaussian_delta(epsilon, mu) == pytest.approx(1e-5, rel=1e-6)
    assert mu_of(epsilon, 1e-5) == pytest.approx(mu, rel=1e-6)


def test_epsilon_of_no_mu_is_zero_and_of_a_huge_one_the_largest() -> None:
    assert epsilon_of_mu(0.0, 1e-5) == 0
    assert epsilon_of_mu(11.0, 1e-5) == 60


def test_thresholds_follow_from_the_plan_and_the_errors_balance_there() -> None:
    mechanisms = (*MOMENTS, STEPS)
    first, second = statistics(mechanisms), statistics(mechanisms)
    assert [s.thresholds for s in first] == [s.thresholds for s in second]
    assert sum(s.share for s in first) == pytest.approx(1)
    included, outcomes = coins_and_outcomes(mechanisms, 100_000, np.random.default_rng(16))
    for statistic in first[:2]:
        score, middle = statistic.score(outcomes), statistic.thresholds[1]
        alarms, misses = np.mean(score[~included] >= middle), np.mean(score[included] < middle)
        assert alarms == pytest.approx(misses, abs=0.03), statistic.name


def test_closed_forms_have_no_spread_and_the_error_is_shared_by_all_scores() -> None:
    names = [s.name for s in statistics(MOMENTS)]
    assert names == ["likelihood", "sum", "counts alone", "sums alone", "second alone"]
    assert sum(s.share for s in statistics(MOMENTS)) == pytest.approx(1)


def test_one_small_sum_without_noise_is_found() -> None:
    mechanisms = (*MOMENTS, STEPS)
    included, outcomes = coins_and_outcomes(mechanisms, 1000, np.random.default_rng(18))
    outcomes["counts"] = included[None, :].astype(float)
    bounds = all_bounds(mechanisms, included, outcomes, 1e-5)
    assert highest(bounds)[Method.GAUSSIAN] > 8
    assert max(bounds, key=lambda bound: bound.epsilon).score == "counts alone"


def test_a_score_that_is_not_finite_counts_as_not_included() -> None:
    rng = np.random.default_rng(17)
    included = rng.random(100) < 0.5
    score = np.where(included, 1.0, np.nan)
    assert right_guesses(np.where(np.isfinite(score), score, -np.inf), included, 20) == 20
    assert all(b.epsilon > 0 for b in lower_bounds(score, included, (0.5,), name="s", delta=1e-5, level=0.05))


def test_dependent_canaries_get_no_gaussian_bound() -> None:
    included = np.arange(100) % 2 == 0
    bounds = lower_bounds(included.astype(float), included, (), name="s", delta=1e-5, level=0.05, independent=False)
    assert [b.method for b in bounds] == [Method.ONE_RUN, Method.FDP_ONE_RUN]


def test_the_expected_bound_grows_with_canaries_and_stays_below_the_claim() -> None:
    mechanisms = (*MOMENTS, STEPS)
    few, many, most = (expected_bound(mechanisms, m, 1e-5) for m in (100, 1000, 5000))
    assert few < many < most < epsilon_of(mechanisms, 1e-5)
    assert 5.2 < many < 6.4
    assert expected_bound(mechanisms, 1000, 1e-5) == many


@pytest.mark.parametrize("counts", [(10, 20, 5), (10, 5, 6), (10, 5, -1)])
def test_impossible_counts_are_refused(counts: tuple[int, int, int]) -> None:
    canaries, guesses, correct = counts
    with pytest.raises(ValueError, match="guesses right"):
        one_run_p_value(1.0, 0.0, canaries=canaries, guesses=guesses, correct=correct)
    with pytest.raises(ValueError, match="guesses right"):
        rejected(np.array([1.0]), canaries=canaries, guesses=guesses, correct=correct, level=0.05)

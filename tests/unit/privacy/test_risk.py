"""What epsilon means for one person: never better than the truth, and close to it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.special import ndtr, ndtri

from synthrelease.privacy.accounting import COARSE, Mechanism, privacy_loss
from synthrelease.privacy.calibration import gaussian_delta
from synthrelease.privacy.risk import missed, posterior, profile, risk_of, strength

RATES = np.array([1e-4, 1e-3, 0.01, 0.1, 0.3, 0.5, 0.9, 0.99, 0.999])
GAUSSIANS = [0.1, 0.5, 1.0, 2.0, 4.0]


def gaussian_misses(rates: Any, mu: float) -> Any:
    """The trade-off curve of the Gaussian mechanism, Phi(Phi^-1(1 - a) - mu)."""
    return ndtr(ndtri(1 - rates) - mu)


def drawn_misses(rates: Any, sigma: float, q: float) -> Any:
    """Misses of the best test of N(0, s^2) against (1 - q) N(0, s^2) + q N(1, s^2): it accuses above a threshold."""
    threshold = sigma * ndtri(1 - rates)
    return (1 - q) * ndtr(threshold / sigma) + q * ndtr((threshold - 1) / sigma)


@pytest.mark.parametrize("mu", GAUSSIANS)
def test_misses_of_a_gaussian_are_its_closed_form_to_four_digits_and_never_above_it(mu: float) -> None:
    found = missed(privacy_loss([Mechanism("sums", 1 / mu)], COARSE), RATES)
    truth = gaussian_misses(RATES, mu)
    assert found == pytest.approx(truth, rel=1e-4)
    assert (found <= truth).all()


@pytest.mark.parametrize("mu", GAUSSIANS)
def test_the_profile_of_a_gaussian_is_its_closed_form_and_never_below_it(mu: float) -> None:
    grid, delta = profile(privacy_loss([Mechanism("sums", 1 / mu)], COARSE))
    truth = np.array([gaussian_delta(float(e), mu) for e in grid[::100]])
    assert delta[::100] == pytest.approx(truth, rel=1e-3, abs=1e-7)
    assert (delta[::100] >= truth).all()


@pytest.mark.parametrize("mu", [*GAUSSIANS, 8.0, 10.0])
def test_one_gaussian_has_its_own_mu_and_advantage(mu: float) -> None:
    risk = risk_of([Mechanism("sums", 1 / mu)])
    assert risk["mu"] == pytest.approx(mu, rel=1e-4)
    assert risk["mu"] >= mu - 1e-12
    assert risk["membership_advantage"] == pytest.approx(2 * ndtr(mu / 2) - 1, abs=1e-5)
    assert risk["true_positive_rate"]["0.01"] == pytest.approx(1 - gaussian_misses(0.01, mu), rel=1e-4)


@pytest.mark.parametrize(("sigma", "q"), [(1.0, 0.1), (0.5, 0.3), (2.0, 0.9)])
def test_one_drawn_step_is_never_better_than_the_best_test_in_closed_form(sigma: float, q: float) -> None:
    found = missed(privacy_loss([Mechanism("step", sigma, q)], COARSE), RATES)
    truth = drawn_misses(RATES, sigma, q)
    assert (found <= truth).all()
    # At low rates this direction is the worse of the two, so the bound has to meet it.
    assert found[RATES <= 0.01] == pytest.approx(truth[RATES <= 0.01], rel=1e-3)


@pytest.mark.parametrize(
    "mechanisms",
    [
        [Mechanism("steps", 1.735, 0.1, 1000)],
        [Mechanism("sums", 1.0), Mechanism("steps", 0.9, 0.05, 100)],
        [Mechanism("step", 0.6, 0.1)],
    ],
)
def test_the_mu_that_is_printed_bounds_the_curve_between_the_points_too(mechanisms: list[Mechanism]) -> None:
    rates = np.geomspace(1e-3, 0.999, 997)
    misses = missed(privacy_loss(mechanisms, COARSE), rates)
    risk = risk_of(mechanisms)
    assert risk["mu_false_positive_rates"] == [0.001, 0.999]
    assert (gaussian_misses(rates, risk["mu"]) <= misses + 1e-9).all()
    smaller = gaussian_misses(rates, risk["mu"] - 0.01)
    assert (smaller > misses).any()


@pytest.mark.parametrize(
    ("sigma", "advantage", "hits"),
    [
        (8.82, 0.143, (0.003, 0.025, 0.178)),
        (4.94, 0.253, (0.007, 0.047, 0.26)),
        (2.85, 0.430, (0.026, 0.119, 0.44)),
        (1.735, 0.665, (0.131, 0.355, 0.74)),
        (1.50, 0.743, (0.22, 0.49, 0.84)),
    ],
    ids=["epsilon 1", "epsilon 2", "epsilon 4", "epsilon 8", "epsilon 10"],
)
def test_the_published_figures_of_a_thousand_steps(
    sigma: float, advantage: float, hits: tuple[float, float, float]
) -> None:
    risk = risk_of([Mechanism("steps", sigma, 0.1, 1000)])
    assert risk["membership_advantage"] == pytest.approx(advantage, abs=0.0015)
    assert tuple(risk["true_positive_rate"].values()) == pytest.approx(hits, abs=0.006)


def test_the_published_reconstruction_bounds_at_epsilon_eight() -> None:
    risk = risk_of([Mechanism("steps", 1.735, 0.1, 1000)])
    assert risk["mu"] == pytest.approx(2.002, abs=0.001)
    assert risk["reconstruction"] == pytest.approx({"0.0001": 0.041, "0.001": 0.131, "0.01": 0.355}, abs=0.0006)


def test_a_coarser_grid_is_never_better() -> None:
    mechanisms = [Mechanism("sums", 1.0), Mechanism("steps", 1.1, 0.2, 50)]
    fine, coarse = risk_of(mechanisms, COARSE), risk_of(mechanisms, 10 * COARSE)
    assert coarse["membership_advantage"] >= fine["membership_advantage"]
    assert coarse["mu"] >= fine["mu"]


def test_nothing_run_leaves_a_blind_guess() -> None:
    risk = risk_of([])
    assert risk["mu"] == 0
    assert risk["membership_advantage"] == 0
    assert risk["true_positive_rate"]["0.01"] == 0.01
    assert risk["posterior"]["0.01"] == pytest.approx(risk["posterior"]["prior"])


def test_little_noise_is_reported_as_no_protection_with_a_finite_mu() -> None:
    risk = risk_of([Mechanism("sums", 0.11)])
    assert risk["membership_advantage"] > 0.99
    assert risk["true_positive_rate"]["0.001"] > 0.99
    assert risk["mu"] == pytest.approx(1 / 0.11)


def test_belief_after_an_accusation_is_that_of_bayes() -> None:
    assert posterior(0.5, 0.01, 0.1) == pytest.approx(0.05 / (0.05 + 0.009))
    risk = risk_of([Mechanism("sums", 1.0)])
    assert risk["posterior"]["0.01"] == pytest.approx(posterior(risk["true_positive_rate"]["0.01"], 0.01))


@pytest.mark.parametrize(
    ("mechanism", "epsilon", "words"),
    [
        (Mechanism("sums", 0.25), 25.0, "excludes hardly any attack"),
        (Mechanism("steps", 1.735, 0.1, 1000), 8.0, "not a strong guarantee"),
        (Mechanism("sums", 0.61), 7.85, "not a strong guarantee"),
        (Mechanism("steps", 4.94, 0.1, 1000), 2.0, "moderate guarantee"),
        (Mechanism("sums", 3.74), 1.0, "little better than blind guessing"),
    ],
)
def test_plain_words_follow_the_bounds_and_never_clear_anything(
    mechanism: Mechanism, epsilon: float, words: str
) -> None:
    said = strength(epsilon, risk_of([mechanism]))
    assert words in said
    assert "audit" in said

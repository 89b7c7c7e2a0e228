"""What epsilon means for one person."""

from __future__ import annotations

import pytest
from scipy.special import ndtr

from synthrelease.privacy.accounting import Mechanism
from synthrelease.privacy.risk import risk_of


def test_the_published_figures_at_epsilon_eight() -> None:
    risk = risk_of([Mechanism("steps", 1.735, 0.1, 1000)])
    assert risk["mu"] == pytest.approx(2.002, abs=0.01)
    assert risk["membership_advantage"] == pytest.approx(0.665, abs=0.003)
    assert risk["true_positive_rate"]["0.001"] == pytest.approx(0.131, abs=0.003)
    assert risk["true_positive_rate"]["0.01"] == pytest.approx(0.355, abs=0.003)
    assert risk["true_positive_rate"]["0.1"] == pytest.approx(0.74, abs=0.01)
    assert risk["reconstruction"]["0.0001"] == pytest.approx(0.041, abs=0.003)


def test_one_gaussian_has_its_own_mu_and_advantage() -> None:
    risk = risk_of([Mechanism("sums", 0.5)])
    assert risk["mu"] == pytest.approx(2.0, abs=0.01)
    assert risk["membership_advantage"] == pytest.approx(2 * ndtr(1.0) - 1, abs=1e-3)


def test_nothing_run_leaves_a_blind_guess() -> None:
    risk = risk_of([])
    assert risk["mu"] == 0
    assert risk["membership_advantage"] == 0
    assert risk["true_positive_rate"]["0.01"] == 0.01


def test_little_noise_is_reported_as_no_protection() -> None:
    risk = risk_of([Mechanism("sums", 0.15)])
    assert risk["membership_advantage"] > 0.99
    assert risk["true_positive_rate"]["0.001"] > 0.99
    assert risk["mu"] > 5

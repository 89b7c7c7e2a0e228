"""What a plan says of its own course, before anything is read."""

from __future__ import annotations

import pytest

from synthrelease.privacy.accounting import Mechanism, epsilon_of
from synthrelease.privacy.budget_split import epsilon_curve, shares_of_budget

SUMS = Mechanism("sums", 1.5)
CRITIC = Mechanism("gradient_steps.critic", 1.2, 0.1, 40)
ENCODER = Mechanism("gradient_steps.encoder", 2.0, 0.1, 40)


def test_shares_add_up_and_follow_the_noise() -> None:
    shares = shares_of_budget([SUMS, CRITIC, ENCODER])
    assert sum(shares.values()) == pytest.approx(1.0)
    assert shares["gradient_steps.critic"] > shares["gradient_steps.encoder"]


def test_full_batch_shares_are_those_of_squared_mu() -> None:
    assert shares_of_budget([Mechanism("a", 1.0), Mechanism("b", 2.0, 1.0, 4)]) == pytest.approx({"a": 0.5, "b": 0.5})


def test_the_curve_starts_with_what_is_released_first_and_ends_at_the_whole() -> None:
    curve = epsilon_curve([SUMS, CRITIC, ENCODER], (CRITIC.name, ENCODER.name), 1e-5)
    marks, epsilons = zip(*curve, strict=True)
    assert marks == (0.0, 0.1, 0.25, 0.5, 0.75, 1.0)
    assert epsilons[0] == pytest.approx(epsilon_of([SUMS], 1e-5), abs=0.01)
    assert epsilons[-1] == pytest.approx(epsilon_of([SUMS, CRITIC, ENCODER], 1e-5), abs=0.01)
    assert list(epsilons) == sorted(epsilons)


def test_the_curve_never_lies_below_the_figure_that_is_claimed() -> None:
    assert epsilon_curve([CRITIC], (CRITIC.name,), 1e-5)[-1][1] >= epsilon_of([CRITIC], 1e-5)


def test_a_plan_without_steps_has_no_curve() -> None:
    assert epsilon_curve([SUMS], (), 1e-5) == ()

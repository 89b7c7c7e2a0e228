"""The noise that a target asks for."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from synthrelease.errors import PolicyError
from synthrelease.privacy import calibration
from synthrelease.privacy.accounting import Mechanism, epsilon_of
from synthrelease.privacy.calibration import (
    GRADIENT_STEPS,
    calibrate,
    gaussian_delta,
    mu_of,
    mu_of_steps,
    multiplier_of_steps,
)

SHARES = {"class_counts": 0.1, "class_sums": 0.4, "second_moments": 0.5}


@pytest.mark.parametrize(
    ("epsilon", "delta", "share", "q", "steps"),
    [(1.0, 1e-5, 0.5, 0.1, 300), (4.0, 1e-4, 0.3, 1.0, 50), (8.0, 1e-5, 1.0, 1.0, 0)],
)
def test_total_epsilon_is_within_a_hundredth_below_the_target(
    epsilon: float, delta: float, share: float, q: float, steps: int
) -> None:
    mechanisms = calibrate(
        epsilon=epsilon, delta=delta, shares=SHARES, moments_share=share, sampling_probability=q, steps=steps
    )
    total = epsilon_of(mechanisms, delta)
    assert epsilon - 0.01 <= total <= epsilon


def test_the_budget_is_split_in_squared_mu_as_declared() -> None:
    mechanisms = calibrate(epsilon=8, delta=1e-5, shares=SHARES, moments_share=0.3, sampling_probability=0.1, steps=300)
    assert 7.99 <= epsilon_of(mechanisms, 1e-5) <= 8.0
    squares = {m.name: 1 / m.noise_multiplier**2 for m in mechanisms if m.name != GRADIENT_STEPS}
    moments = sum(squares.values())
    assert moments == pytest.approx(0.3 * mu_of(8, 1e-5) ** 2)
    for name, share in SHARES.items():
        assert squares[name] / moments == pytest.approx(share)
    gradient = next(m for m in mechanisms if m.name == GRADIENT_STEPS)
    assert mu_of_steps(gradient) ** 2 == pytest.approx(0.7 * mu_of(8, 1e-5) ** 2, rel=0.15)


def test_calibration_asks_the_accountant_a_few_times_only(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def counted(mechanisms: Iterable[Mechanism], delta: float, interval: float) -> float:
        asked.append(interval)
        return epsilon_of(mechanisms, delta, interval)

    monkeypatch.setattr(calibration, "epsilon_of", counted)
    calibrate(epsilon=7.3, delta=1e-5, shares=SHARES, moments_share=0.3, sampling_probability=0.1, steps=300)
    assert 0 < len(asked) <= 25
    assert asked.count(calibration.FINE) <= 5


@pytest.mark.parametrize(("q", "steps"), [(0.1, 200), (1.0, 30)])
def test_networks_that_are_stepped_together_share_the_budget_as_declared(q: float, steps: int) -> None:
    split = {"gradient_steps.critic": 3.0, "gradient_steps.guide": 1.0}
    mechanisms = calibrate(
        epsilon=4,
        delta=1e-5,
        shares={"class_sums": 1.0},
        moments_share=0.5,
        sampling_probability=q,
        steps=steps,
        step_shares=split,
    )
    assert 3.99 <= epsilon_of(mechanisms, 1e-5) <= 4.0
    assert [m.name for m in mechanisms] == ["class_sums", *split]
    critic, guide = mechanisms[1:]
    assert (critic.steps, critic.sampling_probability) == (guide.steps, guide.sampling_probability) == (steps, q)
    assert mu_of_steps(critic) ** 2 / mu_of_steps(guide) ** 2 == pytest.approx(3, rel=0.05)
    one = calibrate(
        epsilon=4, delta=1e-5, shares={"class_sums": 1.0}, moments_share=0.5, sampling_probability=q, steps=steps
    )[-1]
    assert guide.noise_multiplier > critic.noise_multiplier > one.noise_multiplier


def test_the_multiplier_of_steps_is_the_inverse_of_their_mu() -> None:
    for q in (0.02, 0.5, 1.0):
        sigma = multiplier_of_steps(2.5, q, 100)
        assert mu_of_steps(Mechanism("steps", sigma, q, 100)) ** 2 == pytest.approx(2.5)


def test_a_share_of_nothing_is_no_share() -> None:
    with pytest.raises(ValueError, match="above 0"):
        calibrate(epsilon=1, delta=1e-5, shares={"a": 0.0, "b": 1.0})
    with pytest.raises(ValueError, match="above 0"):
        calibrate(epsilon=1, delta=1e-5, shares={}, steps=5, step_shares={"a": -1.0})


def test_more_privacy_needs_more_noise() -> None:
    sigmas = [
        calibrate(epsilon=e, delta=1e-5, shares={}, sampling_probability=1.0, steps=10)[-1].noise_multiplier
        for e in (4.0, 2.0, 1.0)
    ]
    assert sigmas == sorted(sigmas)


def test_mu_is_the_inverse_of_the_gaussian_profile() -> None:
    assert gaussian_delta(8.0, mu_of(8.0, 1e-5)) == pytest.approx(1e-5, rel=1e-6)


@pytest.mark.parametrize(
    ("epsilon", "delta"), [(0.0, 1e-5), (-1.0, 1e-5), (8.0, 0.0), (8.0, 0.5), (float("nan"), 1e-5)]
)
def test_a_target_that_means_nothing_is_refused(epsilon: float, delta: float) -> None:
    with pytest.raises(PolicyError, match="not usable"):
        calibrate(epsilon=epsilon, delta=delta, shares=SHARES)


def test_a_budget_without_a_mechanism_and_steps_without_a_budget_are_refused() -> None:
    with pytest.raises(PolicyError, match="no mechanism"):
        calibrate(epsilon=1, delta=1e-5, shares={})
    with pytest.raises(PolicyError, match="leaves nothing"):
        calibrate(epsilon=1, delta=1e-5, shares=SHARES, moments_share=1.0, sampling_probability=0.1, steps=10)

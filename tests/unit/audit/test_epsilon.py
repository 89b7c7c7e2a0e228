"""Lower bounds on epsilon: never above the truth but rarely, within reach of it where attacks are perfect."""

from __future__ import annotations

import numpy as np
import pytest

from synthrelease.audit.epsilon import audited_epsilon, ceilings, coins, fair_coins


def randomised_response(rng, patients, epsilon):
    """Scores of a mechanism that tells each patient's membership truly with the odds e^epsilon: exactly epsilon-DP."""
    truth = rng.random(2 * patients) < np.exp(epsilon) / (1 + np.exp(epsilon))
    noise = 1e-3 * rng.random(2 * patients)
    return truth[:patients] + noise[:patients], (~truth[patients:]) + noise[patients:]


def test_no_bound_exceeds_the_truth_more_often_than_allowed():
    rng = np.random.default_rng(0)
    found = [audited_epsilon(*randomised_response(rng, 100, 1.0), 1.0, 0.0, 0.05, rng) for _ in range(25)]
    for name in ("one_run", "two_sided"):
        assert np.mean([getattr(bound, name) > 1.0 for bound in found]) <= 0.16, name
    assert np.median([bound.one_run for bound in found]) > 0.3
    assert np.mean([bound.p_of_claim <= 0.05 for bound in found]) <= 0.16


def test_a_perfect_attack_reaches_the_ceiling_and_refutes_a_small_claim():
    rng = np.random.default_rng(0)
    found = audited_epsilon(np.ones(300) + rng.random(300), rng.random(300), 1.0, 1e-5, 0.05, rng)
    assert 4.0 < found.one_run <= ceilings(300, 1e-5, 0.05)["one_run"]
    assert found.p_of_claim < 1e-3  # the delta of the claim leaves no less
    assert 3.0 < found.two_sided < 4.4


def test_a_claim_of_eight_cannot_be_refuted_by_a_thousand_patients():
    most = ceilings(1000, 1e-5, 0.05)
    assert max(most.values()) < 8.0
    assert most["two_sided"] == pytest.approx(5.60, abs=0.01)
    assert ceilings(100, 0.0, 0.05)["two_sided"] == pytest.approx(3.28, abs=0.01)


def test_an_attack_that_knows_nothing_proves_nothing():
    rng = np.random.default_rng(3)
    found = [audited_epsilon(rng.normal(size=80), rng.normal(size=80), 0.5, 1e-5, 0.05, rng) for _ in range(10)]
    assert np.mean([bound.one_run == 0.0 for bound in found]) > 0.8
    assert np.mean([bound.p_of_claim for bound in found]) > 0.9


def test_a_split_of_fixed_sizes_becomes_fair_coins():
    rng = np.random.default_rng(0)
    heads = [fair_coins(np.ones(100), np.zeros(60), rng)[1].sum() for _ in range(400)]
    total = coins(60)
    assert np.mean(heads) == pytest.approx(total / 2, abs=1.0)
    assert np.std(heads) == pytest.approx(np.sqrt(total) / 2, rel=0.15)
    score, included = fair_coins(np.ones(100), np.zeros(60), rng)
    np.testing.assert_array_equal(score > 0.5, included)

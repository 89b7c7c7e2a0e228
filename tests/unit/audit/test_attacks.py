"""Thresholds of membership attacks at the ends of what an attacker can do."""

from __future__ import annotations

import numpy as np
import pytest

from synthrelease.audit.attacks import threshold_at
from synthrelease.audit.checks.membership import _hits


@pytest.mark.parametrize("rate", [0.1, 0.01])
def test_no_more_non_members_than_allowed_lie_above_the_threshold(rate):
    scores = np.random.default_rng(0).normal(size=300)
    assert np.sum(scores > threshold_at(scores, rate)) <= rate * 301


def test_a_rate_that_cannot_be_resolved_accuses_nobody():
    assert threshold_at(np.arange(50.0), 0.01) == np.inf


def test_perfect_and_hopeless_attacks():
    low, high = np.arange(300.0), np.arange(300.0) + 1000
    assert _hits(high, low, 0.01) == 300
    assert _hits(low, high, 0.01) == 0


def test_false_positive_rate_holds_on_average_for_people_of_one_population():
    rng = np.random.default_rng(0)
    rates = [_hits(rng.normal(size=300), rng.normal(size=300), 0.01) / 300 for _ in range(300)]
    assert np.mean(rates) <= 0.0115


def test_ties_with_the_threshold_are_not_hits():
    assert _hits(np.zeros(100), np.zeros(300), 0.1) == 0

"""The same run under another adjacency."""

from __future__ import annotations

import pytest

from synthrelease.privacy.accounting import Mechanism, epsilon_of
from synthrelease.privacy.adjacency import replace_one_epsilon


def test_replacing_a_patient_moves_a_sum_twice_as_far_as_removing_one() -> None:
    twice = epsilon_of([Mechanism("sums", 0.5)], 1e-5)
    assert replace_one_epsilon([Mechanism("sums", 1.0)], 1e-5) == pytest.approx(twice, abs=1e-4)


def test_the_published_run_at_epsilon_eight_is_more_than_seventeen_when_patients_are_replaced() -> None:
    assert replace_one_epsilon([Mechanism("steps", 1.735, 0.1, 1000)], 5e-4) == pytest.approx(17.7, abs=0.1)


def test_nothing_run_costs_nothing() -> None:
    assert replace_one_epsilon([Mechanism("sums", 1.0, 1.0, 0)], 1e-5) == 0.0

"""Every shipped private policy: calibrated to its target, and two further accountants agree."""

from __future__ import annotations

from pathlib import Path

import pytest

from synthrelease.policy.loader import load_policy
from synthrelease.privacy.accounting import epsilon_of
from synthrelease.privacy.cross_check import prv_epsilon
from synthrelease.privacy.renyi import rdp_epsilon
from synthrelease.training.planning import plan_of

HOUSE = Path(__file__).parents[3]
FILES = sorted([*HOUSE.glob("policies/*.yaml"), *HOUSE.glob("benchmarks/policies/*.yaml")])
PRIVATE = [path for path in FILES if load_policy(path).privacy.mode == "private"]


def test_there_are_private_policies_at_epsilon_one_and_eight() -> None:
    assert {load_policy(path).privacy.epsilon for path in PRIVATE} >= {1, 8}


@pytest.mark.parametrize("path", PRIVATE, ids=lambda path: path.stem)
def test_three_accountants_agree_on_a_shipped_policy(path: Path) -> None:
    policy = load_policy(path)
    plan = plan_of(policy)
    assert plan is not None
    assert policy.privacy.epsilon is not None
    epsilon = epsilon_of(plan.mechanisms, plan.delta)
    assert epsilon == plan.epsilon
    assert policy.privacy.epsilon - 0.01 <= epsilon <= policy.privacy.epsilon
    assert abs(prv_epsilon(plan.mechanisms, plan.delta) - epsilon) <= 0.02
    assert epsilon <= rdp_epsilon(plan.mechanisms, plan.delta) <= 1.3 * epsilon + 0.2


@pytest.mark.parametrize("path", PRIVATE, ids=lambda path: path.stem)
def test_shipped_policies_are_strict(path: Path) -> None:
    assert load_policy(path).privacy.strict

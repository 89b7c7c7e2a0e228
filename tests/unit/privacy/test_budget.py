"""Every run is charged to its cohort before it starts."""

from __future__ import annotations

from dataclasses import replace
from math import inf
from pathlib import Path

import pytest

from synthrelease.errors import BudgetExceeded, IntegrityError
from synthrelease.privacy.accounting import Mechanism, composed_epsilon, epsilon_of, mechanisms_of
from synthrelease.privacy.budget import reserve, settle
from synthrelease.privacy.plan import PrivacyPlan
from synthrelease.records.ledger import Charge, Event, Ledger


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    """An empty ledger."""
    return Ledger(tmp_path / "cohort.jsonl")


def start(
    ledger: Ledger, plan: PrivacyPlan | None, *, run: str = "one", cap: float | None = None, enforce: bool = True
) -> Charge:
    """Reserve."""
    return reserve(
        ledger,
        plan,
        run=run,
        policy_digest="p",
        cohort_digest="c",
        who="Operator",
        lifetime_epsilon=cap,
        enforce=enforce,
    )


def test_a_reservation_counts_in_full_until_it_is_settled(ledger: Ledger, plan: PrivacyPlan) -> None:
    charge = start(ledger, plan)
    assert not charge.settled
    assert composed_epsilon(ledger, 1e-5) == pytest.approx(epsilon_of(plan.mechanisms, 1e-5))
    settle(ledger, charge.reservation, [replace(plan.mechanisms[0]), replace(plan.mechanisms[1], steps=2)])
    assert composed_epsilon(ledger, 1e-5) < epsilon_of(plan.mechanisms, 1e-5)
    assert [m.steps for m in mechanisms_of(ledger)] == [1, 2]


def test_a_second_run_adds_to_the_first(ledger: Ledger, plan: PrivacyPlan) -> None:
    start(ledger, plan, run="one")
    start(ledger, plan, run="two")
    assert composed_epsilon(ledger, 1e-5) == pytest.approx(epsilon_of([*plan.mechanisms, *plan.mechanisms], 1e-5))


def test_the_same_run_name_started_anew_is_charged_anew(ledger: Ledger, plan: PrivacyPlan) -> None:
    start(ledger, plan)
    start(ledger, plan)
    assert len(ledger.charges()) == 2


def test_two_ledgers_do_not_share_a_budget(tmp_path: Path, plan: PrivacyPlan) -> None:
    one, two = Ledger(tmp_path / "a.jsonl"), Ledger(tmp_path / "b.jsonl")
    start(one, plan)
    assert composed_epsilon(two, 1e-5) == 0.0
    start(two, plan)
    assert composed_epsilon(two, 1e-5) == composed_epsilon(one, 1e-5)


def test_the_lifetime_cap_refuses_a_run_and_leaves_the_ledger_alone(ledger: Ledger, plan: PrivacyPlan) -> None:
    start(ledger, plan, cap=100.0)
    head = ledger.head
    with pytest.raises(BudgetExceeded, match="lifetime cap") as refusal:
        start(ledger, plan, run="two", cap=epsilon_of(plan.mechanisms, 1e-5) + 0.01)
    assert refusal.value.exit_code == 5
    assert ledger.head == head


def test_simulated_patients_are_recorded_and_only_warned_of(ledger: Ledger, plan: PrivacyPlan) -> None:
    charge = start(ledger, plan, cap=0.05, enforce=False)
    assert "lifetime cap" in charge.body["over_cap"]
    assert len(ledger.charges()) == 1


def test_a_run_without_privacy_makes_the_cohort_unbounded_for_good(ledger: Ledger, plan: PrivacyPlan) -> None:
    charge = start(ledger, None)
    assert charge.unbounded
    settle(ledger, charge.reservation, [])
    assert composed_epsilon(ledger, 1e-5) == inf
    with pytest.raises(BudgetExceeded, match="without bound"):
        start(ledger, plan, run="two", cap=8.0)


def test_a_voided_run_costs_nothing(ledger: Ledger, plan: PrivacyPlan) -> None:
    charge = start(ledger, plan)
    ledger.void(charge.reservation, who="Custodian", statement="Outputs destroyed unseen.")
    assert composed_epsilon(ledger, 1e-5) == 0.0


@pytest.mark.parametrize("change", ["more steps", "less noise", "other mechanism", "more patients"])
def test_what_ran_outside_its_reservation_is_not_settled(ledger: Ledger, plan: PrivacyPlan, change: str) -> None:
    charge = start(ledger, plan)
    ran = {
        "more steps": replace(plan.mechanisms[1], steps=6),
        "less noise": replace(plan.mechanisms[1], noise_multiplier=14.0),
        "other mechanism": Mechanism("mean_image", 9.0),
        "more patients": replace(plan.mechanisms[1], sampling_probability=0.6),
    }[change]
    with pytest.raises(IntegrityError, match="outside its reservation"):
        settle(ledger, charge.reservation, [ran])
    assert not ledger.charge_of(charge.reservation).settled


def test_the_entry_says_under_which_policy_accountant_and_adjacency(ledger: Ledger, plan: PrivacyPlan) -> None:
    start(ledger, plan)
    entry = ledger.entries()[-1]
    assert entry.event is Event.RESERVED
    assert entry.body["policy_digest"] == "p"
    assert entry.body["unit"] == "patient"
    assert "add or remove" in entry.body["adjacency"]
    assert entry.body["accountant_version"]
    assert entry.body["composed_epsilon"] == pytest.approx(epsilon_of(plan.mechanisms, 1e-5))

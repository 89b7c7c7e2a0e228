"""Every run is charged to its cohort before it starts."""

from __future__ import annotations

from dataclasses import replace
from math import inf
from pathlib import Path

import pytest

from synthrelease.errors import BudgetExceeded, IntegrityError, UsageError
from synthrelease.privacy.accounting import Mechanism, composed_epsilon, epsilon_of, mechanisms_of
from synthrelease.privacy.budget import reserve, settle
from synthrelease.privacy.plan import PrivacyPlan
from synthrelease.records.ledger import Charge, Event, Ledger


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    """An empty ledger."""
    return Ledger(tmp_path / "cohort.jsonl")


def start(
    ledger: Ledger,
    plan: PrivacyPlan | None,
    *,
    run: str = "one",
    cap: float | None = None,
    enforce: bool = True,
    claim: str = "",
    policy_digest: str = "p",
) -> Charge:
    """Reserve."""
    return reserve(
        ledger,
        plan,
        run=run,
        policy_digest=policy_digest,
        cohort_digest="c",
        who="Operator",
        lifetime_epsilon=cap,
        enforce=enforce,
        claim=claim,
    )


def test_a_reservation_counts_in_full_until_it_is_settled(ledger: Ledger, plan: PrivacyPlan) -> None:
    charge = start(ledger, plan)
    assert not charge.settled
    assert composed_epsilon(ledger, 1e-5) == pytest.approx(epsilon_of(plan.mechanisms, 1e-5))
    settle(ledger, charge.reservation, [replace(plan.mechanisms[0]), replace(plan.mechanisms[1], steps=2)])
    assert composed_epsilon(ledger, 1e-5) < epsilon_of(plan.mechanisms, 1e-5)
    assert [m.steps for m in mechanisms_of(ledger.charges())] == [1, 2]


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


def test_what_is_listed_twice_would_be_run_twice_and_is_not_settled(ledger: Ledger, plan: PrivacyPlan) -> None:
    charge = start(ledger, plan)
    steps = replace(plan.mechanisms[1], steps=3)
    with pytest.raises(IntegrityError, match="outside its reservation"):
        settle(ledger, charge.reservation, [steps, steps])


def test_a_run_is_settled_once_and_never_after_it_was_voided(ledger: Ledger, plan: PrivacyPlan) -> None:
    one, two = start(ledger, plan, run="one"), start(ledger, plan, run="two")
    settle(ledger, one.reservation, plan.mechanisms)
    with pytest.raises(UsageError, match="settled already"):
        settle(ledger, one.reservation, plan.mechanisms)
    ledger.void(two.reservation, who="Custodian", statement="Outputs destroyed unseen.")
    with pytest.raises(IntegrityError, match="voided"):
        settle(ledger, two.reservation, plan.mechanisms)


def test_a_run_that_died_before_it_noted_its_reservation_finds_it_by_its_claim(
    ledger: Ledger, plan: PrivacyPlan
) -> None:
    one = start(ledger, plan, claim="word")
    assert start(ledger, plan, claim="word") == one
    assert start(ledger, plan, claim="word", cap=0.01) == one  # paid for already
    assert len(ledger.charges()) == 1


def test_a_claim_is_good_for_the_same_run_plan_and_policy_alone_and_only_while_it_is_open(
    ledger: Ledger, plan: PrivacyPlan
) -> None:
    first = start(ledger, plan, claim="word")
    others = [
        start(ledger, plan, claim="another word"),
        start(ledger, plan, claim="word", run="two"),
        start(ledger, plan, claim="word", policy_digest="other"),
        start(ledger, replace(plan, expected_patients=101), claim="word"),
        start(ledger, None, claim="word"),
        start(ledger, plan),
        start(ledger, plan),
    ]
    settle(ledger, first.reservation, plan.mechanisms)
    others.append(start(ledger, plan, claim="word"))
    assert len({charge.reservation for charge in (first, *others)}) == len(ledger.charges()) == 9


def test_the_entry_says_under_which_policy_accountant_and_adjacency(ledger: Ledger, plan: PrivacyPlan) -> None:
    start(ledger, plan)
    entry = ledger.entries()[-1]
    assert entry.event is Event.RESERVED
    assert entry.body["policy_digest"] == "p"
    assert entry.body["unit"] == "patient"
    assert "add or remove" in entry.body["adjacency"]
    assert entry.body["accountant_version"]
    assert entry.body["composed_epsilon"] == pytest.approx(epsilon_of(plan.mechanisms, 1e-5))

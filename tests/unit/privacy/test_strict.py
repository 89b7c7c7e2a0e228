"""The records of a finished run must agree before its epsilon may be printed."""

from __future__ import annotations

import copy
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from synthrelease.errors import IntegrityError
from synthrelease.privacy.plan import PrivacyPlan
from synthrelease.privacy.strict import RULES, assert_strict, seeds_of_noise, strict_problems
from synthrelease.records.digests import digest_of
from synthrelease.records.ledger_entry import Charge

Record = dict[str, Any]


@pytest.fixture
def record(plan: PrivacyPlan) -> Record:
    """training.json of a run that went to its end."""
    return {
        "privacy": {
            "mode": "private",
            "unit": "patient",
            "adjacency": "add or remove one patient with all images, masks and labels",
            "accountant": "PLD (dp-accounting), add or remove one patient, pessimistic",
            "epsilon": 0.4,
            "target_epsilon": 0.5,
            "mechanisms": [m.to_json() for m in plan.mechanisms],
            "plan_digest": plan.digest,
            "prv_cross_check": {"epsilon": 0.41, "agrees": True},
        },
        "steps": {"finished": 5},
        "seeds": {"weights_and_warm_up": 0, "privacy_noise": None},
    }


@pytest.fixture
def charge(plan: PrivacyPlan) -> Charge:
    """Its reservation in the ledger, still open."""
    mechanisms = tuple(m.to_json() for m in plan.mechanisms)
    return Charge(
        run="run",
        reservation="r" * 64,
        settled=False,
        unbounded=False,
        mechanisms=mechanisms,
        delta=plan.delta,
        body={"plan_digest": plan.digest},
        reserved=mechanisms,
    )


def settled(charge: Charge, record: Record) -> Charge:
    """The charge after settling by this record."""
    return replace(
        charge,
        settled=True,
        mechanisms=tuple(record["privacy"]["mechanisms"]),
        body={"training_digest": digest_of(record)},
    )


def rules_broken(record: Record, charge: Charge | None, plan: PrivacyPlan | None) -> set[str]:
    found = strict_problems(record, charge, plan=None if plan is None else plan.to_json())
    return {problem.rule for problem in found}


def test_a_sound_run_keeps_every_rule_before_and_after_it_is_settled(
    record: Record, charge: Charge, plan: PrivacyPlan
) -> None:
    assert strict_problems(record, charge, plan=plan.to_json()) == ()
    assert strict_problems(record, settled(charge, record), plan=plan.to_json()) == ()
    assert strict_problems(record, settled(charge, record)) == ()
    assert_strict(())


def mechanism(record: Record, index: int) -> Record:
    found: Record = record["privacy"]["mechanisms"][index]
    return found


BREAKS: list[tuple[str, Callable[[Record], object], set[str]]] = [
    (
        "a mechanism outside the plan",
        lambda r: r["privacy"]["mechanisms"].append({**mechanism(r, 0), "name": "class_counts"}),
        {"every_mechanism_is_planned", "ledger_charged_what_ran"},
    ),
    (
        "a mechanism listed twice",
        lambda r: r["privacy"]["mechanisms"].append(dict(mechanism(r, 0))),
        {"every_mechanism_is_planned"},
    ),
    ("less noise", lambda r: mechanism(r, 1).update(noise_multiplier=7.5), {"noise_is_as_planned"}),
    ("drawn more often", lambda r: mechanism(r, 1).update(sampling_probability=0.9), {"noise_is_as_planned"}),
    (
        "a step too many",
        lambda r: (mechanism(r, 1).update(steps=6), r["steps"].update(finished=6)),
        {"no_more_uses_than_planned", "ledger_charged_what_ran"},
    ),
    ("steps that were not counted", lambda r: r["steps"].update(finished=6), {"steps_are_those_counted"}),
    ("another plan", lambda r: r["privacy"].update(plan_digest="0" * 64), {"plan_is_the_one_reserved"}),
    ("per image", lambda r: r["privacy"].update(unit="image"), {"claim_is_per_patient_by_pld"}),
    ("replaced patients", lambda r: r["privacy"].update(adjacency="replace one"), {"claim_is_per_patient_by_pld"}),
    ("another accountant", lambda r: r["privacy"].update(accountant="GDP"), {"claim_is_per_patient_by_pld"}),
    ("over the target", lambda r: r["privacy"].update(epsilon=0.51), {"epsilon_is_within_its_target"}),
    ("not a number", lambda r: r["privacy"].update(epsilon=float("nan")), {"epsilon_is_within_its_target"}),
    (
        "accountants that differ",
        lambda r: r["privacy"]["prv_cross_check"].update(agrees=False),
        {"epsilon_is_within_its_target"},
    ),
    ("a seed of the noise", lambda r: r["seeds"].update(privacy_noise=7), {"noise_has_no_seed"}),
    ("a seed beside the claim", lambda r: r["privacy"].update(seed=7), {"noise_has_no_seed"}),
    ("a mechanism without its steps", lambda r: mechanism(r, 1).pop("steps"), {"records_are_whole"}),
]


@pytest.mark.parametrize(("what", "change", "rules"), BREAKS, ids=[case[0] for case in BREAKS])
def test_a_record_that_disagrees_is_refused_by_rule(
    what: str, change: Callable[[Record], object], rules: set[str], record: Record, charge: Charge, plan: PrivacyPlan
) -> None:
    change(record)
    assert rules_broken(record, charge, plan) == rules


def test_a_run_that_the_ledger_does_not_hold_is_refused(record: Record, charge: Charge, plan: PrivacyPlan) -> None:
    assert rules_broken(record, None, plan) == {"ledger_charged_what_ran"}
    assert rules_broken(record, replace(charge, unbounded=True, mechanisms=()), plan) == {"ledger_charged_what_ran"}
    assert rules_broken(record, replace(charge, voided={"who": "Carl"}), plan) == {"ledger_charged_what_ran"}


def test_a_ledger_that_was_charged_another_number_of_steps_is_refused(
    record: Record, charge: Charge, plan: PrivacyPlan
) -> None:
    spent = settled(charge, record)
    less = copy.deepcopy(spent.mechanisms)
    less[1]["steps"] = 4
    assert rules_broken(record, replace(spent, mechanisms=less), plan) == {"ledger_charged_what_ran"}
    assert rules_broken(record, replace(spent, mechanisms=spent.mechanisms[:1]), plan) == {"ledger_charged_what_ran"}
    hidden = {**mechanism(record, 0), "name": "extra"}
    assert rules_broken(record, replace(spent, mechanisms=(*spent.mechanisms, hidden)), plan) == {
        "ledger_charged_what_ran"
    }


def test_a_record_that_was_edited_after_it_settled_is_refused(record: Record, charge: Charge) -> None:
    spent = settled(charge, record)
    record["versions"] = {"python": "2.7"}
    assert rules_broken(record, spent, None) == {"record_is_the_one_settled"}


def test_a_reservation_of_another_plan_is_refused(record: Record, charge: Charge, plan: PrivacyPlan) -> None:
    assert rules_broken(record, replace(charge, body={"plan_digest": "0" * 64}), plan) == {"plan_is_the_one_reserved"}
    other = replace(plan, noise_draws=9)
    assert rules_broken(record, charge, other) == {"plan_is_the_one_reserved"}


def test_two_networks_stepped_together_are_counted_one_by_one(
    record: Record, charge: Charge, plan: PrivacyPlan
) -> None:
    critic, guide = ({**mechanism(record, 1), "name": f"gradient_steps.{name}"} for name in ("critic", "guide"))
    record["privacy"]["mechanisms"] = [mechanism(record, 0), critic, guide]
    both = replace(
        charge, mechanisms=(mechanism(record, 0), critic, guide), reserved=(mechanism(record, 0), critic, guide)
    )
    assert rules_broken(record, both, None) == set()
    guide["steps"] = 4
    assert rules_broken(record, both, None) == {"steps_are_those_counted"}
    record["steps"]["lost_to_interruptions"] = 1
    assert rules_broken(record, both, None) == set()


def test_a_run_without_a_claim_has_nothing_to_keep() -> None:
    assert strict_problems({"privacy": {"mode": "none", "mechanisms": []}}, None) == ()


def test_a_refusal_names_every_problem_and_the_rules(record: Record, charge: Charge, plan: PrivacyPlan) -> None:
    record["seeds"]["privacy_noise"] = 7
    record["privacy"]["unit"] = "image"
    with pytest.raises(IntegrityError, match=r"noise_has_no_seed") as refusal:
        assert_strict(strict_problems(record, charge, plan=plan.to_json()))
    assert "claim_is_per_patient_by_pld" in str(refusal.value)
    assert "ledger keeps" in refusal.value.fix


def test_public_seeds_are_no_seeds_of_noise() -> None:
    assert list(seeds_of_noise({"seeds": {"weights": 7, "privacy_noise": None}, "generator": {"seed": 1}})) == []
    assert list(seeds_of_noise({"a": [{"rng_state": "x"}], "privacy": {"steps": {"seed": 3}}})) == [
        "a.0.rng_state",
        "privacy.steps.seed",
    ]


def test_every_rule_says_why() -> None:
    assert all(rule.__doc__ for rule in RULES)


def test_the_comparison_needs_neither_torch_nor_an_accountant() -> None:
    code = (
        "import sys, synthrelease.privacy.strict, synthrelease.privacy.export\n"
        "sys.exit(any(name in sys.modules for name in ('torch', 'opacus', 'dp_accounting')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

"""The statement tells what the records bear out, in words that a privacy officer can use, and nothing more."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from synthrelease.errors import IntegrityError, UsageError
from synthrelease.privacy.accounting import Mechanism, epsilon_of
from synthrelease.privacy.overlap import Patients, digests_of, house_key, note_patients
from synthrelease.privacy.risk import risk_of
from synthrelease.records.files import atomic_write_json, canonical_json, read_json
from synthrelease.records.ledger import Event, Ledger
from synthrelease.release.statement.facts import Statement
from synthrelease.release.statement.registry import registry_yaml
from synthrelease.release.statement.stating import state
from synthrelease.release.statement.text import WIDTH, statement_text
from synthrelease.release.statement.words import percent_up, up

NOW = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
Charged = Callable[[Path], Ledger]


def change(run: Path, edit: Callable[[dict[str, Any]], object], record: str = "training.json") -> None:
    values = read_json(run / record)
    edit(values)
    atomic_write_json(run / record, values)


def flat(statement: Statement) -> str:
    """The text without its line breaks."""
    return " ".join(statement_text(statement).split())


def test_every_figure_of_the_text_follows_from_the_mechanisms(stepped: Path, charged: Charged) -> None:
    text = flat(state(stepped, charged(stepped), NOW))
    ran = [Mechanism("class_counts", 1.5), Mechanism("gradient_steps", 1.1, 0.2, 30)]
    risk = risk_of(ran)
    assert f"(epsilon {up(epsilon_of(ran, 1e-5), 3)}, delta 1e-05)-differentially private" in text
    assert f"at most {percent_up(risk['membership_advantage'])[:-2]} percentage points" in text
    for rate in ("0.001", "0.01"):
        assert f"at most {percent_up(risk['true_positive_rate'][rate])} of the members" in text
    assert f"with chance at most {percent_up(risk['reconstruction']['0.001'])}" in text
    assert f"mu = {up(risk['mu'], 3)}" in text
    assert "gradient steps 30 of 30" in text
    assert "each patient drawn with chance 0.2" in text


def test_the_text_tells_unit_scope_noise_floats_tuning_and_accountants(stepped: Path, charged: Charged) -> None:
    text = flat(state(stepped, charged(stepped), NOW))
    for words in (
        "addition or removal of all images, masks, labels and header fields of any one patient",
        "patients are told apart by Patient ID",
        "- the audit and its report",
        "relatives, and one person who is registered under two identities",
        "there is no seed",
        "not formally verified",
        "Hyper-parameters: the tool tuned nothing on this cohort",
        "known to the operator alone and not covered",
        "PLD (dp-accounting)",
        "agrees within 0.02",
        "Under replace-one adjacency",
        "Israeli Ministry of Health, 2024): epsilon 9.98",
    ):
        assert words in text


def test_near_epsilon_eight_the_text_says_that_it_is_not_strong(stepped: Path, charged: Charged) -> None:
    assert "In the worst case this is not a strong guarantee" in flat(state(stepped, charged(stepped), NOW))


def test_no_statement_clears_anybody(stepped: Path, plain: Path, charged: Charged) -> None:
    for run in (stepped, plain):
        said = statement_text(state(run, charged(run), NOW)) + json.dumps(state(run, None, NOW).to_json())
        assert not re.search(r"\bsafe|anonym", said, re.IGNORECASE)


def test_the_operator_and_the_cohorts_place_are_not_named(stepped: Path, charged: Charged) -> None:
    statement = state(stepped, charged(stepped), NOW)
    said = statement_text(statement) + json.dumps(statement.to_json())
    assert not [text for text in ("Olga Operator", "/data/wards", "ZX-4711", "gpu-node") if text in said]
    assert "Carl Custodian" in said


def test_lines_stay_readable(stepped: Path, charged: Charged) -> None:
    lines = statement_text(state(stepped, charged(stepped), NOW)).splitlines()
    assert max(map(len, lines)) <= WIDTH
    assert not [line for line in lines if line.lstrip().startswith("%")]


def test_json_holds_the_same_facts_in_full_precision(stepped: Path, charged: Charged) -> None:
    value = state(stepped, charged(stepped), NOW).to_json()
    assert json.loads(canonical_json(value)) == json.loads(json.dumps(value))
    recorded = read_json(stepped / "training.json")["privacy"]
    assert value["claimed"] is True
    assert value["guarantee"]["epsilon"] == recorded["epsilon"]
    assert [m["noise_multiplier"] for m in value["guarantee"]["mechanisms"]] == [1.5, 1.1]
    assert value["guarantee"]["risk"]["mu"] > 0
    assert value["spending"]["runs"] == 1
    assert value["stated_on"] == "2026-03-01"


def test_bounds_are_rounded_against_us() -> None:
    assert percent_up(0.66401) == "66.5 %"
    assert percent_up(0.00312) == "0.32 %"
    assert percent_up(0.0) == "0.0 %"
    assert up(7.9961, 2) == "8.00"


# The ledger


def test_all_runs_on_the_cohort_are_composed(stepped: Path, charged: Charged) -> None:
    ledger = charged(stepped)
    more = [Mechanism("moments", 1.0).to_json()]
    ledger.append(Event.RESERVED, "crashed", {"unbounded": False, "delta": 1e-5, "epsilon": 5.0, "mechanisms": more})
    statement = state(stepped, ledger, NOW)
    assert statement.spending is not None
    ran = [Mechanism("class_counts", 1.5), Mechanism("gradient_steps", 1.1, 0.2, 30), Mechanism("moments", 1.0)]
    assert statement.spending.epsilon == pytest.approx(epsilon_of(ran, 1e-5))
    text = flat(statement)
    assert "holds 2 runs (1 of them crashed or not finished, counted in full)" in text
    assert f"together: epsilon {up(epsilon_of(ran, 1e-5), 3)}" in text
    assert "faces that figure, not the one of this run alone" in text


def test_a_run_without_privacy_on_the_cohort_leaves_no_bound_together(stepped: Path, charged: Charged) -> None:
    ledger = charged(stepped)
    ledger.append(Event.RESERVED, "other", {"unbounded": True, "mechanisms": []})
    statement = state(stepped, ledger, NOW)
    assert statement.spending is not None
    assert statement.spending.epsilon is None
    assert "no bound, since a run without privacy is among them" in flat(statement)


def test_that_cohorts_share_patients_is_told_in_the_house_and_never_handed_on(stepped: Path, charged: Charged) -> None:
    ledger = charged(stepped)
    key = house_key(ledger.path.parent, make=True)
    assert key is not None
    shared = digests_of(Patients(["A|1", "A|2"]), key)
    other = Ledger(ledger.path.with_name("oncology.jsonl"))
    mechanisms = [Mechanism("moments", 1.0).to_json()]
    other.append(
        Event.RESERVED, "theirs", {"unbounded": False, "delta": 1e-5, "epsilon": 5.0, "mechanisms": mechanisms}
    )
    note_patients(ledger, shared, key)
    note_patients(other, shared, key)
    statement = state(stepped, ledger, NOW)
    assert statement.spending is not None
    assert statement.spending.together is not None
    assert statement.spending.epsilon is not None
    assert statement.spending.together > statement.spending.epsilon
    inside = flat(statement)
    assert f"shares patients with oncology; all together: epsilon {up(statement.spending.together, 3)}" in inside
    assert "For the house alone" in inside
    released = state(stepped, ledger, NOW, releasing=True)
    outside = flat(released) + json.dumps(released.to_json()) + registry_yaml(statement)
    assert not [text for text in ("oncology", up(statement.spending.together, 3)) if text in outside]
    assert "is not told here" in outside


def test_without_a_ledger_the_statement_says_so(stepped: Path) -> None:
    statement = state(stepped, None, NOW)
    assert statement.spending is None
    assert "ledger was not at hand" in flat(statement)


def test_a_ledger_that_does_not_hold_the_run_is_refused(stepped: Path, tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match="does not hold the run chest") as caught:
        state(stepped, Ledger(tmp_path / "elsewhere" / "chest.jsonl"), NOW)
    assert caught.value.exit_code == 6


def test_a_released_run_is_dated_by_its_release(stepped: Path, charged: Charged) -> None:
    ledger = charged(stepped)
    assert state(stepped, ledger, NOW).released_on is None
    entry = ledger.append(Event.RELEASED, "chest", {"release": "chest-2026"})
    assert state(stepped, ledger, NOW).released_on == entry.at[:10]


# Records that disagree


def _stronger(values: dict[str, Any]) -> None:
    values["privacy"]["epsilon"] = 1.0


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (_stronger, "states epsilon 1.000000 .* its own mechanisms cost 7"),
        (lambda v: v["privacy"].update(epsilon=v["privacy"]["epsilon"] - 2e-6), "its own mechanisms cost"),
        (lambda v: v["privacy"].update(epsilon=math.inf), "holds a figure that is not finite"),
        (lambda v: v["privacy"].update(epsilon="8"), "states epsilon '8'"),
        (lambda v: v["privacy"].update(delta=1e-3), "states delta 0.001, its policy 1e-05"),
        (lambda v: v["privacy"]["mechanisms"][1].update(noise_multiplier=2.0), "its own mechanisms cost"),
        (lambda v: v["privacy"]["mechanisms"][1].update(steps=31), "executed 31 times, planned 30"),
        (lambda v: v["privacy"]["mechanisms"].append(v["privacy"]["mechanisms"][0]), "lists a mechanism twice"),
        (lambda v: v["privacy"]["mechanisms"][0].pop("steps"), "privacy.mechanisms cannot be read"),
        (lambda v: v["privacy"].update(mode="none"), "says privacy mode 'none', its policy 'private'"),
        (lambda v: v["parents"].update(policy="0" * 64), "made under another policy"),
        (lambda v: v.pop("privacy"), "is not a training record"),
    ],
)
@pytest.mark.parametrize("with_ledger", [True, False])
def test_a_record_that_disagrees_with_itself_is_refused(
    stepped: Path, charged: Charged, edit: Callable[[dict[str, Any]], object], message: str, with_ledger: bool
) -> None:
    ledger = charged(stepped) if with_ledger else None
    values = read_json(stepped / "training.json")
    edit(values)
    (stepped / "training.json").write_text(json.dumps(values), encoding="utf-8")
    with pytest.raises(IntegrityError, match=message) as caught:
        state(stepped, ledger, NOW)
    assert caught.value.exit_code == 6


def test_fewer_mechanisms_with_their_own_epsilon_do_not_pass_the_ledger(stepped: Path, charged: Charged) -> None:
    ledger = charged(stepped)
    kept = [Mechanism("class_counts", 1.5)]

    def cheaper(values: dict[str, Any]) -> None:
        values["privacy"].update(mechanisms=[kept[0].to_json()], epsilon=epsilon_of(kept, 1e-5))

    change(stepped, cheaper)
    with pytest.raises(IntegrityError, match="ledger_charged_what_ran"):
        state(stepped, ledger, NOW)


def test_a_voided_run_is_not_stated(stepped: Path, charged: Charged) -> None:
    ledger = charged(stepped)
    reservation = ledger.charges()[0].reservation
    ledger.void(reservation, who="Carl Custodian", statement="Destroyed unseen on 1 March.")
    with pytest.raises(IntegrityError, match="voided"):
        state(stepped, ledger, NOW)


def test_a_second_accountant_that_disagrees_is_judged_by_its_figure_not_by_its_flag(stepped: Path) -> None:
    change(stepped, lambda v: v["privacy"]["prv_cross_check"].update(epsilon=9.0, agrees=True))
    statement = state(stepped, None, NOW)
    assert statement.guarantee is not None
    assert statement.guarantee.cross_check is not None
    assert not statement.guarantee.cross_check.agrees
    assert "DISAGREES by more than 0.02" in flat(statement)


def test_a_run_that_stopped_early_tells_executed_of_planned(stepped: Path) -> None:
    change(stepped, lambda v: v["privacy"]["planned"][1].update(steps=40))
    assert "gradient steps 30 of 40" in flat(state(stepped, None, NOW))


def test_an_older_record_takes_its_plan_from_the_ledger(stepped: Path, charged: Charged) -> None:
    ledger = charged(stepped)
    change(stepped, lambda v: v["privacy"].pop("planned"))
    with pytest.raises(IntegrityError, match="not the one that settled"):
        state(stepped, ledger, NOW)
    statement = state(stepped, None, NOW)
    assert statement.guarantee is not None
    assert statement.guarantee.mechanisms[1].planned_steps is None
    assert "gradient steps 30." in flat(statement)


def test_players_that_are_clipped_apart_are_told_apart(stepped: Path) -> None:
    ran = [Mechanism("gradient_steps.critic", 5.0, 1.0, 10), Mechanism("gradient_steps.encoder", 6.0, 1.0, 10)]
    told = [m.to_json() for m in ran]
    change(stepped, lambda v: v["privacy"].update(mechanisms=told, planned=told, epsilon=epsilon_of(ran, 1e-5)))
    text = flat(state(stepped, None, NOW))
    assert "gradient steps (critic) 10 of 10; gradient steps (encoder) 10 of 10" in text


def test_rules_that_the_policy_gave_up_are_named(stepped: Path) -> None:
    change(stepped, lambda v: v["cohort"].update(identity={"missing": "study"}), "policy.resolved.json")
    change(stepped, lambda v: v["privacy"].update(strict=False), "policy.resolved.json")
    from synthrelease.policy.loader import policy_digest, policy_from

    digest = policy_digest(policy_from(read_json(stepped / "policy.resolved.json")))
    change(stepped, lambda v: v["parents"].update(policy=digest))
    text = flat(state(stepped, None, NOW))
    assert "Rules that the policy gave up" in text
    assert "patient_key_is_known" in text
    assert "the study counts as the patient" in text


# Without privacy


def test_a_run_without_privacy_has_no_guarantee_in_plain_words(plain: Path, charged: Charged) -> None:
    statement = state(plain, charged(plain), NOW)
    text = flat(statement)
    assert statement.guarantee is None
    assert statement.to_json()["claimed"] is False
    assert "There is no guarantee" in text
    assert "no epsilon can be stated" in text
    assert "epsilon 9.98" not in text


def test_a_claim_in_a_record_without_privacy_is_refused(plain: Path) -> None:
    change(plain, lambda v: v["privacy"].update(epsilon=1.0))
    with pytest.raises(IntegrityError, match="claim without privacy"):
        state(plain, None, NOW)


def test_an_untrained_run_has_no_statement(plain: Path) -> None:
    (plain / "training.json").unlink()
    with pytest.raises(UsageError, match=r"has no training\.json"):
        state(plain, None, NOW)

"""What a cohort has cost counts what the cohorts have cost that it shares patients with."""

from __future__ import annotations

from dataclasses import replace
from math import inf
from pathlib import Path

import dp_accounting
import pytest

from synthrelease.errors import BudgetExceeded, IntegrityError
from synthrelease.privacy.accounting import Mechanism, epsilon_of
from synthrelease.privacy.budget import reserve
from synthrelease.privacy.forecast import forecast
from synthrelease.privacy.lifetime import LARGEST_STATED, standing
from synthrelease.privacy.overlap import KEY_FILE, Patients, patients_path
from synthrelease.privacy.plan import PrivacyPlan
from synthrelease.records.ledger import Charge, Ledger


def start(
    ledger: Ledger,
    plan: PrivacyPlan | None,
    *ids: str,
    cap: float | None = None,
    enforce: bool = True,
    seed: int | None = None,
) -> Charge:
    """Reserve for a run that can read these patients."""
    return reserve(
        ledger,
        plan,
        run="run",
        policy_digest="p",
        cohort_digest="c",
        who="Operator",
        lifetime_epsilon=cap,
        enforce=enforce,
        patients=Patients(ids, seed),
    )


@pytest.fixture
def chest(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "ledgers" / "chest.jsonl")


@pytest.fixture
def lung(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "ledgers" / "lung.jsonl")


@pytest.fixture
def knee(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "ledgers" / "knee.jsonl")


def once(plan: PrivacyPlan, times: int = 1) -> float:
    """Epsilon of a plan run so many times."""
    return epsilon_of(plan.mechanisms * times, 1e-5)


def test_one_shared_patient_composes_two_cohorts(chest: Ledger, lung: Ledger, knee: Ledger, plan: PrivacyPlan) -> None:
    start(chest, plan, "H|1", "H|2")
    start(knee, plan, "H|8", "H|9")
    charge = start(lung, plan, "H|2", "H|3")
    assert charge.body["overlapping"] == ["chest"]
    assert charge.body["composed_epsilon"] == pytest.approx(once(plan))
    assert charge.body["composed_with_overlapping"] == pytest.approx(once(plan, 2))
    for ledger, other in ((chest, "lung"), (lung, "chest")):
        now = standing(ledger)
        assert now.overlapping == (other,)
        assert now.epsilon == pytest.approx(once(plan))
        assert now.together == pytest.approx(once(plan, 2))
    assert standing(knee).overlapping == ()
    assert standing(knee).together == standing(knee).epsilon


def test_an_overlap_is_told_by_name_alone(chest: Ledger, lung: Ledger, plan: PrivacyPlan) -> None:
    start(chest, plan, "H|4711", "H|2")
    body = start(lung, plan, "H|4711", "H|3").body
    assert "4711" not in str(body)
    assert not any(isinstance(value, int) and not isinstance(value, bool) for value in body.values())


def test_a_cap_is_judged_over_the_cohorts_that_share_patients(chest: Ledger, lung: Ledger, plan: PrivacyPlan) -> None:
    cap = (once(plan) + once(plan, 2)) / 2
    start(chest, plan, "H|1", cap=cap)
    with pytest.raises(BudgetExceeded, match="shares patients with"):
        start(lung, plan, "H|1", cap=cap)
    assert not lung.path.exists()
    assert start(lung, plan, "H|2", cap=cap).body["patients_noted"]


def test_another_name_for_the_same_patients_does_not_get_around_the_custodians_cap(
    chest: Ledger, lung: Ledger, plan: PrivacyPlan
) -> None:
    start(chest, plan, "H|1")
    chest.set_cap((once(plan) + once(plan, 2)) / 2, 1e-5, by="Carl")
    with pytest.raises(BudgetExceeded, match="epsilon of chest and the cohorts"):
        start(lung, plan, "H|1")
    with pytest.raises(BudgetExceeded):
        start(lung, plan, "H|1", enforce=False)
    with pytest.raises(BudgetExceeded, match="without bound"):
        start(lung, None, "H|1")


def test_a_run_without_privacy_makes_the_overlapping_cohorts_unbounded_too(
    chest: Ledger, lung: Ledger, plan: PrivacyPlan
) -> None:
    start(chest, plan, "H|1")
    start(lung, None, "H|1")
    assert standing(chest).together == inf
    assert standing(chest).epsilon < inf
    with pytest.raises(BudgetExceeded, match="without bound"):
        start(chest, plan, "H|1", cap=50)


def test_chains_of_cohorts_are_not_followed(chest: Ledger, lung: Ledger, knee: Ledger, plan: PrivacyPlan) -> None:
    start(chest, plan, "H|1")
    start(lung, plan, "H|1", "H|2")
    start(knee, plan, "H|2")
    assert standing(knee).overlapping == ("lung",)
    assert standing(lung).overlapping == ("chest", "knee")
    assert standing(lung).together == pytest.approx(once(plan, 3))


def test_patients_are_noted_before_the_charge_and_not_by_a_refused_run(
    chest: Ledger, plan: PrivacyPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(BudgetExceeded):
        start(chest, plan, "H|1", cap=0.01)
    assert not patients_path(chest).exists()

    def dies(*_: object) -> None:
        assert patients_path(chest).exists()
        raise KeyboardInterrupt

    monkeypatch.setattr(Ledger, "append", dies)
    with pytest.raises(KeyboardInterrupt):
        start(chest, plan, "H|1")
    assert chest.entries() == ()


def test_runs_that_did_not_note_their_patients_are_said_to_be_unknown(
    chest: Ledger, lung: Ledger, plan: PrivacyPlan
) -> None:
    assert "overlap_unknown" not in start(chest, plan).body
    assert start(lung, plan, "H|1").body["overlap_unknown"] == ["chest"]
    assert standing(lung).unknown == ("chest",)
    assert standing(lung).together == standing(lung).epsilon


def test_a_broken_ledger_beside_it_stops_a_reservation(chest: Ledger, lung: Ledger, plan: PrivacyPlan) -> None:
    start(chest, plan, "H|1")
    chest.path.write_bytes(b"{}\n" + chest.path.read_bytes())
    with pytest.raises(IntegrityError, match=r"chest\.jsonl was changed"):
        start(lung, plan, "H|1")


def test_looking_writes_nothing(chest: Ledger, plan: PrivacyPlan) -> None:
    seen = forecast(chest, plan, lifetime_epsilon=8.0)
    assert (seen.epsilon, seen.refused, seen.over, seen.caps) == (
        pytest.approx(once(plan)),
        False,
        "",
        (("chest", 8.0, 1e-5),),
    )
    assert standing(chest).epsilon == 0
    assert not chest.path.parent.exists()


def test_what_is_forecast_is_what_is_reserved(chest: Ledger, lung: Ledger, plan: PrivacyPlan) -> None:
    start(chest, plan, "H|1")
    start(lung, plan, "H|1")
    seen = forecast(chest, plan, lifetime_epsilon=None)
    charge = start(chest, plan, "H|1")
    assert charge.body["composed_epsilon"] == seen.epsilon
    assert charge.body["composed_with_overlapping"] == seen.together
    assert seen.overlapping == ("lung",)


def test_the_custodians_cap_and_the_policys_are_both_kept(chest: Ledger, plan: PrivacyPlan) -> None:
    chest.set_cap(once(plan, 2) + 0.01, 1e-5, by="Carl")
    start(chest, plan, "H|1", cap=50)
    with pytest.raises(BudgetExceeded, match=f"cap is {once(plan) + 0.01:g}"):
        start(chest, plan, "H|1", cap=once(plan) + 0.01)
    start(chest, plan, "H|1", cap=50)
    with pytest.raises(BudgetExceeded, match=f"cap is {once(plan, 2) + 0.01:g}"):
        start(chest, plan, "H|1", cap=50)


def test_a_custodians_cap_is_enforced_on_simulated_patients_too(chest: Ledger, plan: PrivacyPlan) -> None:
    chest.set_cap(once(plan) + 0.01, 1e-5, by="Carl")
    start(chest, plan, "H|1", enforce=False, seed=7)
    with pytest.raises(BudgetExceeded, match="lifetime cap"):
        start(chest, plan, "H|1", enforce=False, seed=7)


def test_a_cap_is_judged_at_its_own_delta(chest: Ledger, plan: PrivacyPlan) -> None:
    strict = epsilon_of(plan.mechanisms, 1e-9)
    assert strict > once(plan)
    chest.set_cap((strict + once(plan)) / 2, 1e-9, by="Carl")
    with pytest.raises(BudgetExceeded):
        start(chest, plan, "H|1")


def test_a_cap_below_what_is_spent_refuses_every_run_and_undoes_none(chest: Ledger, plan: PrivacyPlan) -> None:
    start(chest, plan, "H|1")
    chest.set_cap(once(plan) / 2, 1e-5, by="Carl")
    with pytest.raises(BudgetExceeded):
        start(chest, replace(plan, releases=plan.releases[:1], step_groups={}), "H|1")
    assert standing(chest).epsilon == pytest.approx(once(plan))
    assert standing(chest).left == 0


def test_nothing_is_said_to_be_left_where_there_is_no_cap(chest: Ledger, plan: PrivacyPlan) -> None:
    start(chest, plan, "H|1")
    assert standing(chest).left is None


def test_what_is_left_fits_and_a_little_more_does_not(chest: Ledger, plan: PrivacyPlan) -> None:
    start(chest, plan, "H|1")
    chest.set_cap(3.0, 1e-5, by="Carl")
    left = standing(chest).left
    assert left is not None
    assert 3.0 - once(plan) < left < 3.0  # epsilons do not add up

    def together(stated: float) -> float:
        one = Mechanism("one", float(dp_accounting.get_sigma_gaussian(stated, 1e-5)))
        return epsilon_of([*plan.mechanisms, one], 1e-5)

    assert together(left) <= 3.0
    assert together(left + 0.02) > 3.0


def test_what_is_left_minds_the_cap_of_a_cohort_that_shares_patients(
    chest: Ledger, lung: Ledger, plan: PrivacyPlan
) -> None:
    start(chest, plan, "H|1")
    start(lung, plan, "H|1")
    chest.set_cap(2.0, 1e-5, by="Carl")
    left = standing(lung).left
    assert left == standing(chest).left
    assert left is not None
    assert 0 < left < 2.0


def test_what_is_left_is_bounded_by_what_a_policy_may_ask_for(chest: Ledger, plan: PrivacyPlan) -> None:
    start(chest, plan, "H|1")
    chest.set_cap(1e6, 1e-5, by="Carl")
    assert standing(chest).left == LARGEST_STATED


def test_nothing_is_left_after_a_run_without_privacy(chest: Ledger) -> None:
    start(chest, None, "H|1")
    chest.set_cap(10.0, 1e-5, by="Carl")
    assert standing(chest).left == 0


def test_figures_hold_at_the_delta_of_the_cap_or_of_the_runs(chest: Ledger, plan: PrivacyPlan) -> None:
    assert standing(chest).delta == 1e-5
    start(chest, replace(plan, delta=1e-3), "H|1")
    assert standing(chest).delta == 1e-3
    chest.set_cap(9, 1e-6, by="Carl")
    assert standing(chest).delta == 1e-6
    assert standing(chest, 1e-4).delta == 1e-4


def test_losing_the_key_is_an_integrity_error_and_never_a_missed_overlap(
    chest: Ledger, lung: Ledger, plan: PrivacyPlan
) -> None:
    start(chest, plan, "H|1")
    chest.path.with_name(KEY_FILE).unlink()
    with pytest.raises(IntegrityError, match="key"):
        start(lung, plan, "H|1")

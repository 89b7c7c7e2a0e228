"""``synthrelease ledger`` as a custodian and a privacy officer meet it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from synthrelease.privacy.accounting import Mechanism, epsilon_of
from synthrelease.privacy.budget import reserve, settle
from synthrelease.privacy.overlap import KEY_FILE, Patients
from synthrelease.privacy.plan import GaussianRelease, PrivacyPlan
from synthrelease.records.ledger import Event, Ledger

MECHANISMS = (Mechanism("class_sums", 12.0), Mechanism("second_moments", 20.0, 1.0, 4))
EPSILON = epsilon_of(MECHANISMS, 1e-5)
PLAN = PrivacyPlan(
    target_epsilon=1.0,
    epsilon=EPSILON,
    delta=1e-5,
    releases=tuple(GaussianRelease(m, 1.0) for m in MECHANISMS),
    expected_patients=100,
    images_per_visit=1,
    noise_draws=1,
)


Say = Callable[..., Any]


@pytest.fixture
def say(say: Say, tmp_path: Path) -> Say:
    """Runs ``synthrelease ledger`` on the ledgers of the test."""
    return lambda *words: say("ledger", *words, "--ledger", tmp_path)


def charge(folder: Path, name: str, cohort: str = "chest", plan: PrivacyPlan | None = PLAN, patient: int = 1) -> str:
    """Reserve for a run."""
    return reserve(
        Ledger(folder / f"{cohort}.jsonl", clock=lambda: "2026-01-02T03:04:05Z"),
        plan,
        run=name,
        policy_digest="p",
        cohort_digest="c",
        who="Olga Operator",
        lifetime_epsilon=None,
        patients=Patients((f"H|{patient}",)),
    ).reservation


@pytest.fixture
def chest(tmp_path: Path) -> Ledger:
    """One run that spent less than it reserved, one that crashed, one that was voided."""
    ledger = Ledger(tmp_path / "chest.jsonl", clock=lambda: "2026-01-02T03:04:05Z")
    settle(ledger, charge(tmp_path, "first"), [MECHANISMS[0], Mechanism("second_moments", 20.0, 1.0, 3)])
    charge(tmp_path, "crashed")
    ledger.void(charge(tmp_path, "unseen"), who="Carl Custodian", statement="Disk wiped unseen.")
    return ledger


def cap(say: Say, epsilon: float, *more: object, by: str = "Carl Custodian", cohort: str = "chest") -> Any:
    return say("cap", "--cohort", cohort, "--epsilon", epsilon, "--delta", "1e-5", "--by", by, *more)


def test_show_tells_every_run_by_mechanism_with_state_operator_and_time(chest: Ledger, say: Say) -> None:
    said = say("show")
    assert said.code == 0
    lines = [line.split() for line in said.out.splitlines()]
    assert ["first", "class_sums", "12", "1", "1"] in [line[:5] for line in lines]
    assert ["second_moments", "20", "1", "3", "of", "4"] in lines
    for name, state in (("first", "spent"), ("crashed", "reserved, counts in full"), ("unseen", "voided")):
        line = next(line for line in said.out.splitlines() if line.startswith(f"  {name} "))
        assert state in line
        assert "Olga Operator" in line
        assert "2026-01-02 03:04" in line
    assert "unseen was voided on 2026-01-02 by Carl Custodian: Disk wiped unseen." in said.out
    assert chest.head in said.out


def test_show_is_what_ledger_alone_does_and_the_same_as_json(chest: Ledger, say: Say) -> None:
    assert say().out == say("show").out
    (value,) = say("--json").json
    counted = [MECHANISMS[0], Mechanism("second_moments", 20.0, 1.0, 3), *MECHANISMS]
    assert value["epsilon"] == pytest.approx(epsilon_of(counted, 1e-5))
    assert (value["cohort"], value["delta"], value["cap"], value["left"]) == ("chest", 1e-5, None, None)
    assert [(r["run"], r["state"]) for r in value["runs"]] == [
        ("first", "spent"),
        ("crashed", "reserved"),
        ("unseen", "voided"),
    ]
    second = value["runs"][0]["mechanisms"][1]
    assert (second["name"], second["steps"], second["reserved_steps"]) == ("second_moments", 3, 4)
    assert value["runs"][2]["voided"]["who"] == "Carl Custodian"
    assert value["head"] == chest.head


def test_show_tells_cap_and_what_is_left(chest: Ledger, say: Say) -> None:
    cap(say, 3)
    said = say("show")
    assert "cap       epsilon 3 at delta 1e-05, set by Carl Custodian" in said.out
    (value,) = say("show", "--json").json
    assert value["cap"]["epsilon"] == 3
    assert f"left      about epsilon {value['left']['epsilon']:.3f} at delta 1e-05 for one more run" in said.out
    assert 3 - value["epsilon"] < value["left"]["epsilon"] < 3


def test_a_run_without_privacy_shows_as_unbounded(tmp_path: Path, chest: Ledger, say: Say) -> None:
    charge(tmp_path, "plain", plan=None)
    cap(say, 3)
    said = say("show")
    assert "together  unbounded, because of a run without privacy" in said.out
    assert "left      nothing: every further run is refused" in said.out
    assert "without privacy" in next(line for line in said.out.splitlines() if line.startswith("  plain "))
    (value,) = say("show", "--json").json
    assert (value["epsilon"], value["unbounded"], value["left"]["epsilon"]) == (None, True, 0)


def test_show_names_the_cohorts_that_share_patients_and_composes_them(tmp_path: Path, chest: Ledger, say: Say) -> None:
    charge(tmp_path, "lungs", cohort="lung")
    charge(tmp_path, "knees", cohort="knee", patient=2)
    said = say("show", "--cohort", "lung")
    (value,) = say("show", "--cohort", "lung", "--json").json
    assert "overlap   shares patients with chest: all together epsilon" in said.out
    assert value["overlapping"] == ["chest"]
    assert value["epsilon"] == pytest.approx(EPSILON)
    assert value["epsilon_with_overlapping"] > value["epsilon"]
    assert "overlap" not in say("show", "--cohort", "knee").out


def test_a_cap_is_set_lowered_and_raised_for_everybody_to_see(chest: Ledger, say: Say) -> None:
    assert "cap set: epsilon 3 at delta 1e-05, by Carl Custodian" in cap(say, 3).out
    assert "cap lowered: epsilon 2 at delta 1e-05 (was epsilon 3 at delta 1e-05)" in cap(say, 2).out
    refused = cap(say, 4)
    assert refused.code == 2
    assert "raising it needs a statement" in refused.err
    raised = cap(say, 4, "--statement", "Board of 3 May")
    assert raised.code == 0
    assert "cap raised: epsilon 4 at delta 1e-05 (was epsilon 2 at delta 1e-05), by Carl Custodian: Board" in raised.out
    shown = say("show").out
    for words in ("cap set: epsilon 3", "cap lowered: epsilon 2", "cap raised: epsilon 4"):
        assert words in shown
    (value,) = say("show", "--json").json
    assert [(c["epsilon"], c["raised"]) for c in value["caps"]] == [(3, False), (2, False), (4, True)]


def test_a_cap_below_what_is_spent_is_accepted_and_says_so(chest: Ledger, say: Say) -> None:
    said = cap(say, 0.1)
    assert said.code == 0
    assert "charged already: epsilon" in said.out
    assert "every further run is refused" in said.out
    assert cap(say, 0.05, "--json").json["already_over"] is True


@pytest.mark.parametrize("by", ["Olga Operator", "  olga   OPERATOR "])
def test_the_operator_may_lower_the_cap_and_neither_raise_it_nor_void_a_charge(
    chest: Ledger, say: Say, by: str
) -> None:
    assert cap(say, 3, by=by).code == 0
    raising = cap(say, 4, "--statement", "I need more", by=by)
    voiding = say("void", "--cohort", "chest", "--run", "first", "--by", by, "--statement", "Nobody saw it")
    assert (raising.code, voiding.code) == (7, 7)
    assert "is the operator of a run on chest" in raising.err
    assert chest.cap is not None
    assert chest.cap.epsilon == 3
    assert len(chest.charges()) == 2


@pytest.mark.parametrize(
    ("epsilon", "delta"), [("-1", "1e-5"), ("0", "1e-5"), ("nan", "1e-5"), ("3", "0.5"), ("3", "-1")]
)
def test_a_cap_that_means_nothing_is_a_usage_error(chest: Ledger, say: Say, epsilon: str, delta: str) -> None:
    head = chest.head
    said = say("cap", "--cohort", "chest", "--epsilon", epsilon, "--delta", delta, "--by", "Carl")
    assert said.code == 2
    assert "means nothing" in said.err
    assert chest.head == head


def test_a_cohort_that_nobody_knows_is_a_usage_error_with_a_hint(chest: Ledger, say: Say, tmp_path: Path) -> None:
    for words in (("show",), ("verify",), ("cap", "--epsilon", 1, "--delta", 1e-5, "--by", "Carl")):
        said = say(*words, "--cohort", "chets")
        assert said.code == 2
        assert "no ledger of chets" in said.err
        assert "Did you mean 'chest'?" in said.err
    assert sorted(path.name for path in tmp_path.glob("*.jsonl")) == ["chest.jsonl"]


@pytest.mark.parametrize("name", ["../chest", "Chest", "", "a/b", "chest.jsonl"])
def test_a_name_that_is_no_cohort_opens_no_file(say: Say, tmp_path: Path, name: str) -> None:
    said = cap(say, 3, "--new", cohort=name)
    assert said.code == 2
    assert "a cohort's name is a word" in said.err
    assert list(tmp_path.iterdir()) == []


def test_a_custodian_can_cap_a_cohort_before_its_first_run_by_saying_so(say: Say, tmp_path: Path) -> None:
    assert cap(say, 3).code == 2
    assert cap(say, 3, "--new").code == 0
    (value,) = say("show", "--json").json
    assert (value["runs"], value["epsilon"], value["cap"]["epsilon"]) == ([], 0, 3)
    assert 2.99 < value["left"]["epsilon"] <= 3


def test_voiding_takes_the_charge_away_and_keeps_the_run_in_sight(chest: Ledger, say: Say) -> None:
    words = ("void", "--cohort", "chest", "--run", "crashed", "--by", "Carl Custodian", "--statement", "Wiped unseen")
    assert say(*words).code == 0
    again = say(*words)
    assert again.code == 2
    assert "holds no charges of a run 'crashed' that count" in again.err
    assert "crashed was voided" in say("show").out


def test_of_two_charges_of_one_name_the_reservation_says_which_is_voided(
    tmp_path: Path, chest: Ledger, say: Say
) -> None:
    charge(tmp_path, "crashed")
    words = ("void", "--cohort", "chest", "--by", "Carl Custodian", "--statement", "Wiped unseen", "--run")
    assert "holds 2 charges" in say(*words, "crashed").err
    which = say("show", "--json").json[0]["runs"][-1]["reservation"]
    assert say(*words, which[:16]).code == 0
    assert [run["state"] for run in say("show", "--json").json[0]["runs"]] == ["spent", "reserved", "voided", "voided"]


def test_what_was_released_cannot_be_voided(chest: Ledger, say: Say) -> None:
    chest.append(Event.RELEASED, "first", {"release": "r"})
    said = say("void", "--cohort", "chest", "--run", "first", "--by", "Carl", "--statement", "Nobody saw it")
    assert said.code == 2
    assert "was released" in said.err


@pytest.mark.parametrize("delta", ["-1", "0", "1", "nan"])
def test_a_delta_outside_zero_and_one_is_a_usage_error(chest: Ledger, say: Say, delta: str) -> None:
    said = say("show", "--delta", delta)
    assert said.code == 2
    assert "is not between 0 and 1" in said.err


def test_figures_can_be_asked_for_at_another_delta(chest: Ledger, say: Say) -> None:
    (usual,), (strict,) = say("show", "--json").json, say("show", "--json", "--delta", "1e-8").json
    assert strict["delta"] == 1e-8
    assert strict["epsilon"] > usual["epsilon"]


@pytest.mark.parametrize("what", ["chain", "digests", "key"])
def test_damage_is_an_integrity_error_to_every_verb(chest: Ledger, say: Say, tmp_path: Path, what: str) -> None:
    if what == "chain":
        chest.path.write_bytes(chest.path.read_bytes().replace(b"Olga", b"Olaf"))
    elif what == "digests":
        (tmp_path / "chest.patients.private").write_bytes(b"")
    else:
        (tmp_path / KEY_FILE).unlink()
    for words in (("show",), ("verify",)):
        said = say(*words)
        assert said.code == 6
        assert str(tmp_path) not in said.err
    if what == "chain":
        assert cap(say, 3).code == 6


def test_verify_finds_a_deposited_head_and_misses_one_that_was_cut_off(chest: Ledger, say: Say) -> None:
    head = chest.head
    assert head in say("verify").out
    assert say("verify", "--cohort", "chest", "--expect", head).code == 0
    chest.path.write_bytes(b"".join(chest.path.read_bytes().splitlines(keepends=True)[:-1]))
    assert say("verify", "--cohort", "chest", "--expect", head).code == 6


def test_an_expected_head_goes_with_one_cohort(chest: Ledger, say: Say, tmp_path: Path) -> None:
    charge(tmp_path, "lungs", cohort="lung")
    assert say("verify", "--expect", "0" * 64).code == 2


def test_an_empty_folder_has_nothing_to_show(say: Say) -> None:
    said = say("show")
    assert said.code == 2
    assert "no ledger in" in said.err

"""``synthrelease plan``: what a run would cost and promise, from the policy and the ledger alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from synthrelease.privacy.accounting import Mechanism, composed_epsilon, epsilon_of
from synthrelease.records.ledger import Ledger

Say = Callable[..., Any]
POLICY = """\
schema: 1
purpose: rehearse
sharing: {tier: registered}
roles: {operator: Olga Operator, custodian: Carl Custodian}
cohort: {name: chest, source: SOURCE, classes: [normal, nodule], resolution: 16}
privacy: {mode: private, epsilon: EPSILON, delta: 1e-5, expected_patients: 1000, lifetime_epsilon: 10, steps: 20,
  moments_share: 0.5, sampling_probability: 0.2}
generator: {name: GENERATOR, image_frequencies: 4}
"""


@pytest.fixture
def policy(tmp_path: Path) -> Callable[..., Path]:
    """Writes a policy; the cohort's folder need not exist, since plan opens none."""

    def write(*, epsilon: float = 2, generator: str = "diffusion", source: str = "/nowhere/cohort") -> Path:
        text = POLICY.replace("EPSILON", str(epsilon)).replace("GENERATOR", generator).replace("SOURCE", source)
        path = tmp_path / "policy.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_the_plan_tells_split_noise_curve_meaning_and_ledger(
    say: Say, policy: Callable[..., Path], tmp_path: Path
) -> None:
    said = say("plan", policy(), "--out", tmp_path / "runs")
    assert said.code == 0
    for words in ("Budget", "class_sums", "gradient_steps", "20 x, sampling 0.2, sigma", "shares of squared mu"):
        assert words in said.out
    for words in ("Epsilon", "at 0%", "at 10%", "at 25%", "at 50%", "at 75%", "at 100%", "moderate guarantee"):
        assert words in said.out
    assert "members at 0.1 % false accusations" in said.out
    assert "membership advantage at most" in said.out
    assert "guessed with 1 in 1,000 is rebuilt with at most" in said.out
    assert "chest: epsilon 0.00 before this run, 2.00 together with it" in said.out
    assert "cap 10: fine, 8.00 below it" in said.out
    assert max(map(len, said.out.splitlines())) <= 150
    assert not (tmp_path / "runs").exists()


def test_the_same_as_values(say: Say, policy: Callable[..., Path], tmp_path: Path) -> None:
    value = say("plan", policy(), "--out", tmp_path / "runs", "--json").json
    privacy = value["privacy"]
    mechanisms = [Mechanism.from_json(release) for release in privacy["releases"]]
    assert privacy["epsilon"] == pytest.approx(epsilon_of(mechanisms, 1e-5))
    assert sum(privacy["shares_of_budget"].values()) == pytest.approx(1)
    assert privacy["shares_of_budget"]["gradient_steps"] == pytest.approx(0.5, abs=0.05)
    curve = [point["epsilon"] for point in privacy["epsilon_curve"]]
    assert curve == sorted(curve)
    assert curve[-1] == pytest.approx(privacy["epsilon"], abs=0.01)
    assert privacy["risk"]["mu"] > 0
    assert value["ledger"]["before"] == 0
    assert value["would_refuse"] is False


def test_earlier_runs_are_composed_and_the_cap_is_told(say: Say, policy: Callable[..., Path], home: Path) -> None:
    ledger = Ledger(home / "ledgers" / "chest.jsonl")
    value = say("plan", policy(epsilon=1, generator="moments"), "--out", home, "--json").json
    mechanisms = [Mechanism.from_json(release) for release in value["privacy"]["releases"]]
    assert value["ledger"]["before"] == pytest.approx(composed_epsilon(ledger, 1e-5))
    assert value["ledger"]["after"] == pytest.approx(composed_epsilon(ledger, 1e-5, further=mechanisms))
    assert value["ledger"]["after"] < 9
    assert say("plan", policy(epsilon=1, generator="moments"), "--out", home).code == 0
    refused = say("plan", policy(epsilon=8, generator="moments"), "--out", home)
    assert refused.code == 5
    assert "cap 10: over the cap: refused" in refused.out


def test_simulated_patients_are_over_the_cap_without_being_refused(
    say: Say, policy: Callable[..., Path], home: Path
) -> None:
    said = say("plan", policy(epsilon=8, generator="moments", source="phantom"), "--out", home)
    assert said.code == 0
    assert "over the cap, but nobody is real" in said.out


def test_a_closed_form_has_no_curve(say: Say, policy: Callable[..., Path], tmp_path: Path) -> None:
    said = say("plan", policy(generator="moments"), "--out", tmp_path / "runs")
    assert "on the way" not in said.out
    assert say("plan", policy(generator="moments"), "--out", tmp_path, "--json").json["privacy"]["epsilon_curve"] == []


def test_the_second_accountant_is_asked_when_wanted(say: Say, policy: Callable[..., Path], tmp_path: Path) -> None:
    value = say("plan", policy(generator="moments"), "--out", tmp_path, "--json", "--cross-check").json
    assert value["privacy"]["cross_check"]["agrees"] is True


def test_a_second_accountant_that_fails_is_told_and_blocks_nothing(
    say: Say, policy: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> float:
        raise MemoryError

    monkeypatch.setattr("synthrelease.privacy.cross_check.prv_epsilon", broken)
    said = say("plan", policy(generator="moments"), "--out", tmp_path, "--cross-check")
    assert said.code == 0
    assert "cross-check by PRV could not be computed (MemoryError)" in said.out


def test_a_policy_without_privacy_says_what_becomes_of_the_ledger(say: Say, tmp_path: Path, home: Path) -> None:
    text = (
        POLICY.replace("SOURCE", "phantom")
        .replace("GENERATOR", "diffusion")
        .replace("tier: registered", "tier: internal")
    )
    head, _, rest = text.partition("privacy:")
    path = tmp_path / "plain.yaml"
    path.write_text(head + "privacy: {mode: none}\n" + rest[rest.index("generator:") :], encoding="utf-8")
    said = say("plan", path, "--out", home)
    assert said.code == 0
    assert "no bound on what the archive tells of a patient" in said.out
    assert "unbounded after this run" in said.out
    assert json.loads(say("plan", path, "--out", home, "--json").out)["ledger"]["after"] is None


def test_the_fine_grid_is_composed_for_the_calibration_alone(
    say: Say, policy: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from synthrelease.privacy import accounting

    fine: set[Any] = set()
    original = accounting._loss_of

    def counted(groups: Any, interval: float) -> Any:
        if interval == accounting.FINE:
            fine.add(groups)
        return original(groups, interval)

    monkeypatch.setattr(accounting, "_loss_of", counted)
    said = say("plan", policy(epsilon=2.5), "--out", tmp_path / "runs", "--json")
    assert said.code == 0
    planned = [Mechanism.from_json(release) for release in said.json["privacy"]["releases"]]
    by_calibration = len(fine)
    epsilon_of(planned, 1e-5)
    assert len(fine) == by_calibration <= 2

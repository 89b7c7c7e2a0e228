"""The verb that audits the mechanism: its table, its JSON, its exit code."""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import CliRunner

from synthrelease.cli.audit_mechanism import command, text_of
from synthrelease.errors import PolicyError
from synthrelease.privacy.empirical.bounds import LowerBound, Method
from synthrelease.training import canary_audit
from synthrelease.training.canary_audit import DIRAC, IMAGE, Finding, MechanismAudit


def audit_of(gaussian: float) -> MechanismAudit:
    """An audit with that Gaussian bound."""
    return MechanismAudit(
        8.0,
        1e-5,
        (
            Finding(DIRAC, 1000, LowerBound(Method.ONE_RUN, "likelihood", 2.5), 8.0),
            Finding(DIRAC, 1000, LowerBound(Method.FDP_ONE_RUN, "likelihood", 3.7, 0.9), 8.0),
            Finding(DIRAC, 1000, LowerBound(Method.GAUSSIAN, "likelihood", gaussian, 1.3), 8.0),
            Finding(IMAGE, 99, LowerBound(Method.ONE_RUN, "loss", 0.0), 8.0),
        ),
        expected=5.7,
    )


@pytest.fixture
def audited(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The audit replaced by one with the bound in ``gaussian``; notes what it was asked for."""
    asked: dict[str, Any] = {"gaussian": 5.8}

    def audit(policy: Any, **wanted: Any) -> MechanismAudit:
        asked.update(wanted, policy=policy)
        return audit_of(asked["gaussian"])

    monkeypatch.setattr(canary_audit, "audit_mechanism", audit)
    return asked


def test_a_bound_below_the_claim_ends_with_zero(audited: dict[str, Any]) -> None:
    shown = CliRunner().invoke(command, ["--policy", "dp_eps8", "--quiet"], standalone_mode=False)
    assert shown.return_value == 0
    assert "Epsilon is at least 5.80: below the claim" in shown.output
    assert "an exact mechanism is expected to show 5.70" in shown.output
    assert "does not prove" in shown.output
    assert (audited["canaries"], audited["image_canaries"]) == (1000, 99)


def test_a_bound_above_the_claim_ends_with_three_and_says_what_it_means(audited: dict[str, Any]) -> None:
    audited["gaussian"] = 14.0
    shown = CliRunner().invoke(command, ["--policy", "dp_eps8", "--quiet"], standalone_mode=False)
    assert shown.return_value == 3
    assert "ABOVE the claim: the implementation does not keep it" in shown.output


def test_json_holds_every_bound(audited: dict[str, Any]) -> None:
    shown = CliRunner().invoke(
        command, ["--policy", "dp_eps8", "--json", "--canaries", "500", "--image-canaries", "0"], standalone_mode=False
    )
    record = json.loads(shown.stdout)
    assert record["policy"] == "dp_eps8.yaml"
    assert record["verdict"] == "below the claim"
    assert len(record["findings"]) == 4
    assert audited["canaries"] == 500


def test_the_table_has_a_row_for_each_score_and_a_column_for_each_bound() -> None:
    lines = text_of(audit_of(5.8), "p.yaml").splitlines()
    (row,) = [line for line in lines if "likelihood" in line]
    assert row.split() == ["1000", "Dirac", "gradient", "likelihood", "2.50", "3.70", "5.80", "below", "the", "claim"]
    (row,) = [line for line in lines if "loss" in line]
    assert row.split()[3:6] == ["0.00", "-", "-"]


def test_no_seed_is_offered() -> None:
    names = {option for parameter in command.params for option in parameter.opts}
    assert not any("seed" in name for name in names)


def test_a_policy_without_a_claim_is_refused() -> None:
    with pytest.raises(PolicyError, match="nothing to audit"):
        CliRunner().invoke(command, ["--policy", "nonprivate_internal"], standalone_mode=False, catch_exceptions=False)


def test_a_shipped_policy_is_audited_for_real() -> None:
    arguments = ["--policy", "dp_eps1", "--canaries", "40", "--image-canaries", "0", "--json", "--quiet"]
    shown = CliRunner().invoke(command, arguments, standalone_mode=False, catch_exceptions=False)
    record = json.loads(shown.stdout)
    assert shown.return_value == 0
    assert 0.99 < record["epsilon"] <= 1
    assert {f["kind"] for f in record["findings"]} == {DIRAC}

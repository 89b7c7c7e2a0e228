"""Whole jobs in UM's record: what their goals ask, what the page tells, and that they stay until measured again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import real
from benchmarks.um import __main__ as command
from benchmarks.um import jobs, reference
from synthrelease.policy.loader import load_policy


def finding(verdict: str = "pass", low: float | None = 0.1) -> dict[str, Any]:
    high = None if low is None else low + 0.2
    value = None if low is None else low + 0.1
    statistic = {"statistic": "Dice lost", "value": value, "low": low, "high": high, "direction": "lower is better"}
    return {**statistic, "holdout": 0.0, "random": None, "verdict": verdict, "required": low is not None}


def figures(fit: str = "pass", verdict: str = "pass", fidelity: str = "pass", epsilon: float = 7.99) -> dict[str, Any]:
    return {
        name: {
            "findings": {"mask_consistency": finding(fit)},
            "verdict": verdict,
            "fidelity": fidelity,
            "epsilon": spent,
        }
        for name, spent in (("plain", None), ("private steps", epsilon))
    }


def test_a_goal_asks_that_masks_fit_that_no_audit_fails_and_that_the_budget_is_kept() -> None:
    met = {name: goal["met"] for name, goal in jobs.goals(figures()).items()}
    assert set(met) == {
        "job_plain_masks_fit_images",
        "job_plain_privacy_and_conformance",
        "job_plain_fidelity",
        "job_private_steps_privacy_and_conformance",
        "job_private_steps_fidelity",
        "job_private_steps_epsilon",
    }
    assert all(met.values())
    for worse, name in (
        (figures(fit="inconclusive"), "job_plain_masks_fit_images"),
        (figures(verdict="fail"), "job_private_steps_privacy_and_conformance"),
        (figures(verdict="inconclusive"), "job_plain_privacy_and_conformance"),
        (figures(fidelity="fail"), "job_private_steps_fidelity"),
        (figures(epsilon=8.01), "job_private_steps_epsilon"),
    ):
        assert not jobs.goals(worse)[name]["met"]


def test_the_page_tells_each_check_with_its_interval_and_a_check_that_was_not_asked() -> None:
    told = figures()
    told["plain"]["findings"]["novelty"] = finding("inconclusive", None)
    lines = jobs.lines(told, "2026-01-02")
    assert "| **mask_consistency**: Dice lost (lower) | 0.2 (0.1 to 0.3) pass | 0.2 (0.1 to 0.3) pass | 0 |" in lines
    assert "| novelty: Dice lost (lower) | - inconclusive | - | 0 |" in lines
    assert any("2026-01-02" in line for line in lines)


def test_jobs_stay_as_recorded_until_they_are_measured_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reference, "ROOT", tmp_path)
    first = reference.result({}, {}, {}, "c", None, figures(fit="fail"))
    (tmp_path / "audits" / "reference").mkdir(parents=True)
    (tmp_path / "audits" / "reference" / "um.json").write_text(json.dumps(first))
    kept = reference.result({}, {}, {}, "c", reference.recorded())
    assert kept["figures"]["jobs"] == first["figures"]["jobs"]
    assert not kept["goals"]["job_plain_masks_fit_images"]["met"]
    again = reference.result({}, {}, {}, "c", reference.recorded(), figures())
    assert again["goals"]["job_plain_masks_fit_images"]["met"]
    assert "| **verdict: privacy and conformance** | pass | pass | - |" in reference.page(again)
    assert "| **verdict: fidelity** | pass | pass | - |" in reference.page(again)
    assert "**verdict:" not in reference.page(reference.result({}, {}, {}, "c"))


def test_jobs_are_measured_alone_and_all_else_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(reference, "ROOT", tmp_path)
    folder = tmp_path / "audits" / "reference"
    folder.mkdir(parents=True)
    bounds = {"chests": dict.fromkeys(("32", "64", "128", "256"), 0.5)}
    reference.write(reference.result({}, bounds, {}, "c", None, figures(fit="fail")), {})
    monkeypatch.setattr(jobs, "measured", lambda note: (figures(), b"a picture"))
    before = (folder / "um.json").read_bytes()
    command.main(["--jobs"])
    assert (folder / "um.json").read_bytes() == before
    command.main(["--jobs", "--write"])
    told = json.loads((folder / "um.json").read_text())
    assert told["goals"]["job_plain_masks_fit_images"]["met"]
    assert told["figures"]["bounds"] == bounds
    assert (folder / "um_jobs.png").read_bytes() == b"a picture"
    with pytest.raises(SystemExit):
        command.main(["--jobs", "--quick"])
    assert "whole jobs alone" in capsys.readouterr().err


def test_every_job_is_a_policy_that_uses_the_masks_of_some_and_they_differ_in_where_the_budget_goes() -> None:
    found = {}
    for name, file in jobs.POLICIES.items():
        policy = load_policy(real.HOME / "benchmarks" / "policies" / f"{file}.yaml")
        assert policy.generator.name == "um"
        assert policy.generator.labelled_share < 1
        steps = policy.privacy.steps if policy.privacy.mode == "private" else None
        found[name] = (policy.privacy.mode, policy.generator.guidance, steps)
    assert list(found.values()) == [
        ("none", "generated", None),
        ("private", "generated", 0),
        ("private", "generated", 100),
        ("private", "procedural", 100),
    ]

"""Every seeded bug is found by the canaries, through the code that trains."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "training"))

from discs_archive import policy

from benchmarks.mechanism_audit.__main__ import goals_of, row_of
from benchmarks.mechanism_audit.faults import FAULTS, Fault
from benchmarks.mechanism_audit.pages import page
from synthrelease.records.progress import Silent
from synthrelease.training.canary_audit import audit_dirac, claimed_plan

SUMS = policy("moments", "private", epsilon=8.0)
STEPS = policy(
    "diffusion",
    "private",
    epsilon=8.0,
    noise_draws=1,
    images_per_visit=1,
    steps=24,
    sampling_probability=0.1,
    moments_share=0.5,
)
IN_STEPS_ALONE = {"noise_reused", "minibatch_stddev", "loose_clipping", "everybody_sampled"}


@pytest.fixture(autouse=True)
def _repeatable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Coins and noise repeat, so that no run of these tests fails by chance."""
    monkeypatch.setattr(os, "urandom", np.random.default_rng(21).bytes)


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault.found], ids=lambda fault: fault.name)
def test_a_seeded_bug_pushes_the_bound_above_the_claim(fault: Fault) -> None:
    rules = STEPS if fault.name in IN_STEPS_ALONE else SUMS
    plan = claimed_plan(rules)
    with fault.around():
        found = row_of(audit_dirac(rules, plan, 200, Silent(), fault.parts()))
    assert found["above_the_claim"], found


def test_the_page_shows_every_goal_and_a_missed_one_as_missed() -> None:
    plan = claimed_plan(SUMS)
    row = {"what": "w", "one-run": 2.0, "f-DP one-run": 3.5, "Gaussian": 4.0, "score": "s", "above_the_claim": False}
    row |= {"seconds": 1.0, "canaries": 10}
    figures = {
        "policy": "p",
        "claim": {"epsilon": plan.epsilon, "delta": plan.delta},
        "canaries": 10,
        "correct": [row],
        "faults": {"noise_off": {**row, "Gaussian": 20.0, "above_the_claim": True}, "shuffled_batches": row},
        "images": {"canaries": 9, **row},
        "whole_audit_seconds": 400.0,
        "simulated": {"runs": 100, "above_the_claim": 1, "median_bound_by_canaries": {"200": row}},
    }
    goals = goals_of(figures, plan)
    met = {name for name, each in goals.items() if each["met"]}
    assert met == {
        "correct_runs_above_the_claim",
        "simulated_false_alarm_rate",
        "fdp_one_run_bound_median",
        "one_run_bound_median",
        "found_noise_off",
    }
    shown = page({"command": "c", "date": "d", "hardware": "h", "figures": figures, "goals": goals})
    assert all(name in shown for name in goals)
    assert shown.count("**no**") == len(goals) - len(met)

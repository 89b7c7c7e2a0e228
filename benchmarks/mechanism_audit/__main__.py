"""The audit of the mechanism on correct code and on seeded bugs.

    python -m benchmarks.mechanism_audit [--quick] [--runs N]

Writes ``audits/reference/mechanism_audit.json`` and ``.md``. ``--quick`` takes few steps and canaries of a small network,
to see that the command works, and writes nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.mechanism_audit.faults import FAULTS, Fault
from benchmarks.mechanism_audit.pages import page, table
from synthrelease.cli.console import Console
from synthrelease.policy.loader import load_policy
from synthrelease.policy.schema import Policy
from synthrelease.policy.shipped import shipped_file
from synthrelease.privacy.accounting import Mechanism
from synthrelease.privacy.empirical.bounds import LEVEL, Method, lower_bounds
from synthrelease.privacy.empirical.scores import statistics
from synthrelease.privacy.empirical.simulation import exact_outcomes
from synthrelease.privacy.plan import PrivacyPlan
from synthrelease.records.files import atomic_write_json, atomic_write_text
from synthrelease.training.canary_audit import Finding, audit_dirac, audit_images, claimed_plan, highest

REFERENCE = Path(__file__).resolve().parents[2] / "audits" / "reference"
CANARIES, IMAGE_CANARIES = 1000, 99
SIMULATED = 200
POWER = (200, 1000, 5000)
QUICK = ("noise_off", "noise_reused", "image_level")
CORRECT = Fault("correct", "the code as it is")


def quick_policy(policy: Policy) -> Policy:
    """The same claim with few steps of a small network."""
    return policy.model_copy(
        update={
            "cohort": policy.cohort.model_copy(update={"resolution": 16, "segments": policy.cohort.segments[:1]}),
            "privacy": policy.privacy.model_copy(update={"steps": 30, "noise_draws": 1}),
            "generator": policy.generator.model_copy(
                update={"width": 8, "image_frequencies": 4, "mask_frequencies": 3}
            ),
        }
    )


def tried(policy: Policy, plan: PrivacyPlan, fault: Fault, canaries: int, console: Console) -> dict[str, Any]:
    """One audit with Dirac canaries under one fault."""
    console.note(f"{fault.name}: {fault.what}")
    canaries = fault.canaries or canaries
    began = time.perf_counter()
    with fault.around():
        findings = audit_dirac(policy, plan, canaries, console, fault.parts())
    return {"what": fault.what, "canaries": canaries, **row_of(findings), "seconds": time.perf_counter() - began}


def row_of(findings: Sequence[Finding]) -> dict[str, Any]:
    """The highest bound of each method and where the highest of all comes from."""
    best = max(findings, key=lambda finding: finding.bound.epsilon)
    return {
        **{str(method): highest(findings, method, best.kind) for method in Method},
        "score": best.bound.score,
        "above_the_claim": any(finding.above for finding in findings),
    }


def simulated(
    mechanisms: Sequence[Mechanism], canaries: int, delta: float, rng: np.random.Generator
) -> dict[str, float]:
    """Highest bounds of one audit of mechanisms that do exactly what they claim."""
    included, outcomes = exact_outcomes(mechanisms, canaries, rng)
    found = dict.fromkeys(map(str, Method), 0.0)
    for s in statistics(mechanisms):
        level = LEVEL * s.share
        for bound in lower_bounds(s.score(outcomes), included, s.thresholds, name=s.name, delta=delta, level=level):
            found[str(bound.method)] = max(found[str(bound.method)], bound.epsilon)
    return found


def simulations(plan: PrivacyPlan, console: Console) -> dict[str, Any]:
    """How often the bounds are above the truth, and how high they reach, where the mechanism is exact."""
    rng = np.random.default_rng(0)
    console.stage("simulated runs", SIMULATED)
    alarms = 0
    for done in range(SIMULATED):
        found = simulated(plan.mechanisms, CANARIES, plan.delta, rng)
        alarms += max(found.values()) > plan.epsilon
        console.step(done + 1)
    power = {}
    for canaries in POWER:
        runs = [simulated(plan.mechanisms, canaries, plan.delta, rng) for _ in range(10)]
        power[str(canaries)] = {name: float(np.median([run[name] for run in runs])) for name in runs[0]}
    return {"runs": SIMULATED, "above_the_claim": alarms, "median_bound_by_canaries": power}


def goal(wanted: float, value: float, *, above: bool) -> dict[str, Any]:
    """A goal with what was measured."""
    return {"goal": wanted, "value": value, "met": value >= wanted if above else value <= wanted}


def goals_of(figures: dict[str, Any], plan: PrivacyPlan) -> dict[str, Any]:
    """What the audit must do: stay silent on correct code, come near, and speak on every bug."""
    correct = figures["correct"]
    medians = {str(method): float(np.median([run[str(method)] for run in correct])) for method in Method}
    goals = {
        "correct_runs_above_the_claim": goal(0, sum(run["above_the_claim"] for run in correct), above=False),
        "simulated_false_alarm_rate": goal(
            LEVEL, figures["simulated"]["above_the_claim"] / figures["simulated"]["runs"], above=False
        ),
        "gaussian_bound_median": goal(5.0, medians["Gaussian"], above=True),
        "fdp_one_run_bound_median": goal(3.0, medians["f-DP one-run"], above=True),
        "one_run_bound_median": goal(1.7, medians["one-run"], above=True),
        "seconds_of_one_audit": goal(300.0, figures["whole_audit_seconds"], above=False),
    }
    for name, run in figures["faults"].items():
        goals[f"found_{name}"] = goal(plan.epsilon, max(run[str(method)] for method in Method), above=True)
    return goals


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="few steps and canaries; writes nothing")
    parser.add_argument("--runs", type=int, default=5, help="runs of correct code")
    parser.add_argument("--policy", default="dp_eps8", help="policy that makes the claim")
    wanted = parser.parse_args()
    torch.set_num_threads(1)  # so small a network gains nothing by more, and loses much on a shared machine
    console = Console()
    policy = load_policy(shipped_file("policies", wanted.policy))
    if wanted.quick:
        policy = quick_policy(policy)
    plan = claimed_plan(policy)
    canaries = 200 if wanted.quick else CANARIES
    correct = [tried(policy, plan, CORRECT, canaries, console) for _ in range(1 if wanted.quick else wanted.runs)]
    chosen = [fault for fault in FAULTS if not wanted.quick or fault.name in QUICK]
    faults = {fault.name: tried(policy, plan, fault, canaries, console) for fault in chosen}
    if wanted.quick:
        print("\n".join(table(plan.epsilon, correct, faults)))
        found = {name: run["above_the_claim"] for name, run in faults.items()}
        print(json.dumps({"correct_above": correct[0]["above_the_claim"], "found": found}))
        return
    began = time.perf_counter()
    images = audit_images(policy, plan, IMAGE_CANARIES, console)
    image_seconds = time.perf_counter() - began
    figures: dict[str, Any] = {
        "policy": wanted.policy,
        "claim": {"epsilon": plan.epsilon, "delta": plan.delta},
        "canaries": CANARIES,
        "correct": correct,
        "faults": faults,
        "images": {"canaries": IMAGE_CANARIES, **row_of(images), "seconds": image_seconds},
        "whole_audit_seconds": float(np.median([run["seconds"] for run in correct])) + image_seconds,
        "simulated": simulations(plan, console),
    }
    goals = goals_of(figures, plan)
    result = {
        "command": "python -m benchmarks.mechanism_audit",
        "versions": {name: version(name) for name in ("synthrelease", "torch", "numpy", "scipy", "dp-accounting")},
        "hardware": f"{os.cpu_count()} cores, {platform.machine()}, no GPU used",
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "figures": figures,
        "goals": goals,
    }
    atomic_write_json(REFERENCE / "mechanism_audit.json", result)
    atomic_write_text(REFERENCE / "mechanism_audit.md", page(result))
    print(page(result))
    print(json.dumps({name: each["met"] for name, each in goals.items()}))


if __name__ == "__main__":
    main()

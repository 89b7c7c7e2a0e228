"""The audit's figures for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from synthrelease.privacy.empirical.bounds import Method


def table(claim: float, correct: Sequence[Mapping[str, Any]], faults: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """One row for each run: the highest bound of each method, and whether one is above the claim."""
    lines = [
        f"| mechanism | canaries | one-run | f-DP one-run | Gaussian | highest by | above {claim:.2f} | seconds |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for run in (*correct, *faults.values()):
        above = "**yes**" if run["above_the_claim"] else "no"
        lines.append(
            f"| {run['what']} | {run['canaries']} | {_bounds(run)} | {run['score']} | {above} | {run['seconds']:.0f} |"
        )
    return lines


def _bounds(run: Mapping[str, Any]) -> str:
    return " | ".join(f"{run[str(method)]:.2f}" for method in Method)


def page(result: Mapping[str, Any]) -> str:
    """The record as a page."""
    figures = result["figures"]
    claim, images, simulated = figures["claim"], figures["images"], figures["simulated"]
    return f"""# The privacy mechanism, audited by experiment

Written by `{result["command"]}` on {result["date"]}; {result["hardware"]}.

Policy `{figures["policy"]}` claims epsilon {claim["epsilon"]:.3f} at delta {claim["delta"]:g} per patient.
{figures["canaries"]} Dirac canaries stand among simulated patients, each in or out by a fair coin, and go through the
sampler, the clipping, the noise and the account of training. The columns are lower bounds on epsilon at 95 % for each
method, over all its scores and thresholds, which the plan fixes beforehand.

{_lines(table(claim["epsilon"], figures["correct"], figures["faults"]))}

With a thousand canaries the one-run bounds cannot pass about 5 (any mechanism) and 10 (f-DP) whatever happens, so that
bugs show in the Gaussian bound. That one takes canaries for independent; they share no coordinate. A bound below the
claim does not prove that the claim is kept.

{images["canaries"]} image canaries (blank, checkered and noisy pictures in one whole training; the score is the finished
generator's loss over 64 noise levels): one-run {images["one-run"]:.2f}, f-DP one-run {images["f-DP one-run"]:.2f}.
So few canaries, seen through one finished generator, show nothing; that does not bound other attackers.

Mechanisms that are exact by simulation: {simulated["above_the_claim"]} of {simulated["runs"]} runs above the claim. Median bounds:

| canaries | one-run | f-DP one-run | Gaussian |
|---|---|---|---|
{_lines(f"| {canaries} | {_bounds(run)} |" for canaries, run in simulated["median_bound_by_canaries"].items())}

| goal | wanted | measured | met |
|---|---|---|---|
{_lines(f"| {n} | {g['goal']:.3g} | {g['value']:.3g} | {'yes' if g['met'] else '**no**'} |" for n, g in result["goals"].items())}

Shuffled batches of one size are a known limit: what they leak beyond independent draws shows in rare events, which a
thousand canaries of one run do not see. The sampler is held to independent draws by its own tests.
"""


def _lines(rows: Any) -> str:
    return "\n".join(rows)

"""Under patient-level privacy, at 32 px."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from benchmarks.pggan_lco.before import NAMES
from benchmarks.pggan_lco.measuring import measured
from benchmarks.pggan_lco.reference import goal
from benchmarks.pggan_lco.runs import trained
from benchmarks.pggan_lco.tables import lines, measured_words, number_words, steering_goals, utility_goals

POLICY = "pediatric_pggan_eps8"
FRECHET = 19.8
"""Relative Fréchet distance of the archive, at most: that of moments alone that are given the whole budget."""


def measure(*, quick: bool, note: Callable[[str], None]) -> dict[str, Any]:
    """See :class:`benchmarks.pggan_lco.reference.Part`."""
    figures, sheets = measured(trained(POLICY, quick=quick, note=note), quick=quick, note=note)
    return figures | {"sheets": sheets}


def goals(figures: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """See :class:`benchmarks.pggan_lco.reference.Part`."""
    return (
        steering_goals("private", figures)
        | utility_goals("private", figures, FRECHET)
        | {
            f"private_frechet_beside_{stage}": goal(
                found["frechet"]["value"], figures["archive"]["lco"]["frechet"]["value"], "at most"
            )
            for stage, found in figures["before"].items()
        }
    )


def page(figures: Mapping[str, Any]) -> list[str]:
    """See :class:`benchmarks.pggan_lco.reference.Part`."""
    out = lines("Private", figures)
    out += [
        "",
        "What the private steps add to what they start from, with the same released sums, seed and classes; moments that are "
        f"given the whole budget reach a relative Fréchet distance of {FRECHET} (private_quality.md):",
        "",
        "| check | " + " | ".join([*NAMES.values(), "after the private steps"]) + " |",
        "|---|" + "---|" * (len(NAMES) + 1),
    ]
    columns = [*(figures["before"][stage] for stage in NAMES), figures["archive"]["lco"]]
    for check in figures["archive"]["lco"]:
        out.append(f"| {check} | " + " | ".join(measured_words(column.get(check, {})) for column in columns) + " |")
    aurocs = [number_words(column["tstr_labels"]["details"].get("auroc_synthetic_trained")) for column in columns]
    return [*out, "| AUROC, trained on it | " + " | ".join(aurocs) + " |"]

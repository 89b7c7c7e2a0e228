"""Under patient-level privacy, at 32 px, as ``policies/pggan_eps8.yaml`` has it: the whole budget in the moments."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from benchmarks.pggan_lco.measuring import measured_policy
from benchmarks.pggan_lco.tables import before_goals, before_lines, lines, steering_goals, utility_goals

POLICY = "pediatric_pggan_eps8"


def measure(*, quick: bool, note: Callable[[str], None]) -> dict[str, Any]:
    """See :class:`benchmarks.pggan_lco.reference.Part`."""
    return measured_policy(POLICY, quick=quick, note=note)


def goals(figures: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """See :class:`benchmarks.pggan_lco.reference.Part`."""
    return (
        steering_goals("private", figures) | utility_goals("private", figures, None) | before_goals("private", figures)
    )


def page(figures: Mapping[str, Any]) -> list[str]:
    """See :class:`benchmarks.pggan_lco.reference.Part`."""
    return lines("Private, no private steps", figures) + before_lines(figures)

"""Under patient-level privacy, at 32 px, with private steps of critic and guide after the warm-up: what they add to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from benchmarks.pggan_lco.measuring import measured_policy
from benchmarks.pggan_lco.tables import before_goals, before_lines, lines, steering_goals, utility_goals

POLICY = "pediatric_pggan_steps_eps8"


def measure(*, quick: bool, note: Callable[[str], None]) -> dict[str, Any]:
    """See :class:`benchmarks.pggan_lco.reference.Part`."""
    return measured_policy(POLICY, quick=quick, note=note)


def goals(figures: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """See :class:`benchmarks.pggan_lco.reference.Part`."""
    found = steering_goals("private_steps", figures) | utility_goals("private_steps", figures, None)
    return found | before_goals("private_steps", figures)


def page(figures: Mapping[str, Any]) -> list[str]:
    """See :class:`benchmarks.pggan_lco.reference.Part`."""
    return lines("Private, with private steps", figures) + before_lines(figures)

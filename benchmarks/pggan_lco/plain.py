"""Without privacy, at 64 px."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from benchmarks.pggan_lco.measuring import measured_policy
from benchmarks.pggan_lco.tables import lines, steering_goals, utility_goals

POLICY = "pediatric_pggan_plain"
FRECHET = 10.0
"""Relative Fréchet distance of the archive, at most; closed-form moments at 32 px reach 19.8."""


def measure(*, quick: bool, note: Callable[[str], None]) -> dict[str, Any]:
    """See :class:`benchmarks.pggan_lco.reference.Part`."""
    return measured_policy(POLICY, quick=quick, note=note)


def goals(figures: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """See :class:`benchmarks.pggan_lco.reference.Part`."""
    return steering_goals("plain", figures) | utility_goals("plain", figures, FRECHET)


def page(figures: Mapping[str, Any]) -> list[str]:
    """See :class:`benchmarks.pggan_lco.reference.Part`."""
    return lines("Without privacy", figures)

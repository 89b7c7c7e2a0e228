"""Innocent worlds judged again after a change that only one check can notice: that check anew, the others as they were.

A world takes ten seconds, of which one check has two. What the others said of a world is the same to the last bit as
long as nothing that they read has changed; worlds that were judged in full before and after show whether that is so.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from benchmarks.audit_power.gate import Unplanted, judged_checks, profile, style_of
from benchmarks.audit_power.worlds import SMALL, source
from synthrelease.audit.case import AuditCase
from synthrelease.audit.checks import CHECKS
from synthrelease.audit.duplicates import set_aside_duplicates
from synthrelease.audit.intervals import holm
from synthrelease.audit.measurement import Measurement, stream

Result = Mapping[str, Any]


def same_but(check: str, before: Mapping[str, Result], now: Mapping[str, Result]) -> int:
    """Worlds that both runs judged in full; by task, as :class:`benchmarks.audit_power.tasks.Kept` has them.

    Raises:
        ValueError: Another check than ``check`` said something else of one of them, or there are none.
    """
    both = [task for task in now if task.startswith("alarm/") and task in before and "anew" not in now[task]]
    if not both:
        raise ValueError("no world was judged in full by both runs")
    for task in both:
        old, new = (_without(check, results[task]) for results in (before, now))
        if old != new:
            raise ValueError(f"{task}: other checks than {check} said {new}, before {old}")
    return len(both)


def _without(check: str, result: Result) -> tuple[Any, ...]:
    p = {name: value for name, value in result["p"].items() if name != check}
    return p, [name for name in result["unable"] if name != check], result["style"], result["size"]


def alarm_again(name: str, number: int, check: str, before: Result) -> dict[str, Any]:
    """Does the gate fail an innocent world, if the other checks say what they said?

    Args:
        name: Source. number: Of the world. check: The one that is measured anew.
        before: What :func:`benchmarks.audit_power.gate.alarm` returned of this world.

    Returns:
        The same, and under ``anew`` the check.
    """
    began = time.process_time()
    measured = measured_alone(name, number, check)
    p_value = None if measured.unable else measured.p_value
    seconds = time.process_time() - began
    return joined(before, check, p_value, able=measured.statistic.value is not None) | {"seconds": seconds}


def measured_alone(name: str, number: int, check: str) -> Measurement:
    """What one check says of an innocent world of a source."""
    case = source(name).world(SMALL, number, style_of(number))
    made = {f.name: getattr(case, f.name) for f in fields(AuditCase) if f.init}
    asked = next(each for each in CHECKS if each.id == check)
    return asked.measure(set_aside_duplicates(Unplanted(**made | {"measures_power": False})), stream(asked, number))


def joined(before: Result, check: str, p_value: float | None, *, able: bool) -> dict[str, Any]:
    """What is said of a world with another p-value of one check; None: it can say nothing.

    Args:
        before: As for :func:`alarm_again`. able: Whether the check came to a number.
    """
    p = {name: value for name, value in before["p"].items() if name != check}
    if p_value is not None:
        p[check] = p_value
    settings = profile()
    family = [name for name in judged_checks(settings) if name in p]
    adjusted = holm([p[name] for name in family])
    failed = [name for name, value in zip(family, adjusted, strict=True) if value <= settings.significance.value]
    # What fails without a p-value is nothing that the check could change.
    failed += [name for name in before["failed"] if name not in before["p"]]
    unable = [name for name in before["unable"] if name != check] + [check] * (not able)
    return {**before, "failed": failed, "p": p, "unable": unable, "anew": check}

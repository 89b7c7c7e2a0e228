"""How often the search for local copies accuses an archive in which nothing leaks.

Strangers in three roles, as `benchmarks.audit_power` makes them: every other world as it is, the others in the styles
that innocent archives have (blurred, sharpened, of other greys). Radiographs resample one pool, so that their worlds
overlap and tell less than their number.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from benchmarks.audit_power.again import measured_alone
from benchmarks.audit_power.gate import style_of
from benchmarks.audit_power.worlds import SMALL
from benchmarks.uld.reference import goal
from synthrelease.errors import UnsuitableData
from synthrelease.records.proportions import wilson

NAME = "innocent"
CHECK = "local_copies"
SOURCES = ("phantom", "pediatric")
WORLDS, SHORT, QUICK = 60, 20, 2
LEVEL = 0.05
"""An archive with a p-value of so much or less is accused; beside other checks it needs less."""


def measure(*, quick: bool, short: bool, note: Callable[[str], None]) -> dict[str, Any]:
    """P-values of the check, world by world, and how many accuse."""
    worlds = QUICK if quick else SHORT if short else WORLDS
    found: dict[str, Any] = {"level": LEVEL, "size": str(SMALL), "sources": {}, "left_out": {}}
    for name in SOURCES[: 1 if quick else None]:
        told = []
        try:
            for number in range(worlds):
                told.append(p_of(name, number))
                if number % 10 == 9:
                    note(f"innocent: {name}: {number + 1} of {worlds} worlds, {accused(told)} accused")
        except UnsuitableData as missing:
            found["left_out"][name] = str(missing)
            continue
        low, high = wilson(accused(told), worlds)
        found["sources"][name] = {
            "worlds": worlds,
            "accused": accused(told),
            "rate": accused(told) / worlds,
            "low": low,
            "high": high,
            "styles": [style_of(number) for number in range(worlds)],
            "p": told,
        }
    return found


def p_of(name: str, number: int) -> float | None:
    """The check's p-value of one world; None: it could say nothing."""
    measured = measured_alone(name, number, CHECK)
    return None if measured.unable else measured.p_value


def accused(told: list[float | None]) -> int:
    """How many p-values accuse."""
    return sum(p is not None and p <= LEVEL for p in told)


def goals(figures: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """No more archives are accused than the level allows; a source that is missing is missed."""
    return {
        f"innocent_archives_accused_{name}": goal(LEVEL, figures["sources"].get(name, {}).get("rate"), "at most")
        for name in SOURCES
    }


def page(figures: Mapping[str, Any]) -> list[str]:
    """The table."""
    lines = [
        "## Archives in which nothing leaks",
        "",
        f"Accused by {CHECK} alone at {figures['level']:g}: strangers' images ({figures['size']}), every other archive in "
        "another style; interval of Wilson, 95 %. Could say nothing: with too few pieces to compare.",
        "",
        "| source | archives | accused | rate | could say nothing |",
        "|---|---|---|---|---|",
    ]
    for name, row in figures["sources"].items():
        silent = sum(p is None for p in row["p"])
        rate = f"{row['rate']:.3f} ({row['low']:.3f} to {row['high']:.3f})"
        lines.append(f"| {name} | {row['worlds']} | {row['accused']} | {rate} | {silent} |")
    return lines + [f"\n{name}: {why}" for name, why in figures["left_out"].items()]

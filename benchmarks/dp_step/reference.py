"""The recorded run behind the README's figures."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.dp_step import tables
from benchmarks.dp_step.rows import Row, figures
from synthrelease.records.files import atomic_write_json, atomic_write_text

HOME = Path(__file__).resolve().parents[2] / "audits" / "reference"

MOST_OVERHEAD = 1.5
LEAST_SPEEDUP = 2.5


def result(rows: Sequence[Row], *, command: str, threads: int) -> dict[str, Any]:
    """Everything that was measured, with what is needed to judge it."""
    return {
        "command": command,
        "versions": {name: version(name) for name in ("synthrelease", "torch", "opacus", "numpy", "scipy")},
        "hardware": f"{os.cpu_count()} cores, {processor()}, no GPU used",
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "threads": threads,
        "clock": rows[0].clock if rows else None,
        "figures": figures(rows) | {"rows": [row.to_json() for row in rows]},
        "goals": goals(rows),
    }


def processor() -> str:
    """Architecture, and the processor's name and vector instructions as far as the system tells."""
    import torch

    name, info = platform.machine(), Path("/proc/cpuinfo")
    if info.exists():
        models = [
            line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")
        ]
        name = f"{name} {models[0]}" if models else name
    return f"{name}, {torch.backends.cpu.get_cpu_capability()}"


def goals(rows: Sequence[Row]) -> dict[str, Any]:
    """Both goals with what was reached; one that could not be measured is not met."""
    found = figures(rows)
    overhead, speedup = found["overhead_vs_plain"], found["speedup_vs_opacus"]
    return {
        "overhead_vs_plain": {
            "goal": MOST_OVERHEAD,
            "direction": "at most",
            "value": overhead,
            "met": overhead is not None and overhead <= MOST_OVERHEAD,
        },
        "speedup_vs_opacus": {
            "goal": LEAST_SPEEDUP,
            "direction": "at least",
            "value": speedup,
            "met": speedup is not None and speedup >= LEAST_SPEEDUP,
        },
    }


def page(rows: Sequence[Row], result: dict[str, Any]) -> str:
    """The tables for people."""
    lines = [
        "# What a private training step costs",
        "",
        f"Written by `{result['command']}` on {result['hardware']}, {result['threads']} thread(s); figures stand in "
        "dp_step.json.",
        "",
        f"Every contender makes the same step on the same patients; times are {result['clock']} time as a multiple of the "
        "plain step in the same round, median over rounds. Our noise comes from the operating system's cryptographic "
        "generator, Opacus's from an ordinary one.",
        "",
        *tables.markdown(tables.times(rows)),
        "",
        tables.MEMORY + ":",
        "",
        *tables.markdown(tables.memory(rows)),
        "",
        *(f"- {line}" for line in tables.skips(rows)),
        "",
        "| goal | wanted | reached | met |",
        "|---|---|---|---|",
    ]
    for name, goal in result["goals"].items():
        lines.append(
            f"| {name}, median over configurations | {goal['direction']} {goal['goal']} | "
            f"{tables.shown(goal['value'])} | {'yes' if goal['met'] else 'no'} |"
        )
    return "\n".join(lines) + "\n"


def write(rows: Sequence[Row], result: dict[str, Any], home: Path = HOME) -> None:
    """Write dp_step.json and dp_step.md."""
    home.mkdir(parents=True, exist_ok=True)
    atomic_write_json(home / "dp_step.json", result)
    atomic_write_text(home / "dp_step.md", page(rows, result))

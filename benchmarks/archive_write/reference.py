"""Goals, the page for people, and the recorded run."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.archive_write.measuring import Duel, Rate
from synthrelease.records.files import atomic_write_json, atomic_write_text

HOME = Path(__file__).resolve().parents[2] / "audits" / "reference"

LEAST_RATE, LEAST_SPEEDUP, MOST_GROWTH = 1000.0, 20.0, 1.05
HEADLINE = 128


@dataclass(frozen=True)
class Found:
    """Everything that was measured.

    Attributes:
        duels: Both contenders, by image size; the headline's size is among them.
        processes: Our rate by number of processes.
        identity: (same files, files) by form.
        memory: Peak MB by number of images, fewest first.
    """

    duels: Sequence[Duel]
    processes: Mapping[int, Rate]
    identity: Mapping[str, tuple[int, int]]
    memory: Mapping[int, float]

    @property
    def headline(self) -> Duel:
        """The size that the goals are about."""
        return next(duel for duel in self.duels if duel.side == HEADLINE)

    @property
    def byte_identical(self) -> float:
        """Share of files that are highdicom's byte for byte."""
        return sum(same for same, _ in self.identity.values()) / sum(files for _, files in self.identity.values())

    @property
    def memory_growth(self) -> float:
        """Peak memory at the most images over that at the fewest."""
        peaks = list(self.memory.values())
        return peaks[-1] / peaks[0]


def result(found: Found, *, command: str) -> dict[str, Any]:
    """Everything that was measured, with what is needed to judge it."""
    head = found.headline
    return {
        "command": command,
        "versions": {name: version(name) for name in ("synthrelease", "highdicom", "pydicom", "numpy")},
        "hardware": f"{os.cpu_count()} cores, {_processor()}, no GPU used",
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "clock": "cpu",
        "figures": {
            "pairs_per_second_core": head.ours.cpu,
            "speedup_vs_highdicom": head.speedup,
            "byte_identical": found.byte_identical,
            "memory_growth": found.memory_growth,
            "duels": [asdict(duel) | {"speedup": duel.speedup} for duel in found.duels],
            "processes": {str(count): rate.to_json() for count, rate in found.processes.items()},
            "identity": {name: {"same": same, "files": files} for name, (same, files) in found.identity.items()},
            "peak_mb": {str(images): peak for images, peak in found.memory.items()},
        },
        "goals": goals(found),
    }


def goals(found: Found) -> dict[str, Any]:
    """The four goals with what was reached."""
    head = found.headline
    wanted = (
        ("pairs_per_second_core", LEAST_RATE, "at least", head.ours.cpu),
        ("speedup_vs_highdicom", LEAST_SPEEDUP, "at least", head.speedup),
        ("byte_identical", 1.0, "at least", found.byte_identical),
        ("memory_growth", MOST_GROWTH, "at most", found.memory_growth),
    )
    return {
        name: {
            "goal": goal,
            "direction": direction,
            "value": value,
            "met": value >= goal if direction == "at least" else value <= goal,
        }
        for name, goal, direction, value in wanted
    }


def page(found: Found, result: dict[str, Any]) -> str:
    """The tables for people."""
    lines = [
        "# What writing an archive costs",
        "",
        f"Written by `{result['command']}` on {result['hardware']}; figures stand in archive_write.json.",
        "",
        "A pair is a DX image of 12 bits and a segmentation of four masks. Ours goes from samples to the finished folder: "
        "stored values, UIDs, files, SHA-256 of each, manifest, labels.csv. Plain builds and saves the same two objects by "
        "pydicom and highdicom, without digests. Rates are pairs a second of CPU time (of the clock in brackets), median "
        "over rounds in turns; the network's forward pass is no part of it.",
        "",
        *markdown(duel_rows(found)),
        "",
        *markdown(process_rows(found)),
        "",
        *markdown(memory_rows(found)),
        "",
        "Files equal to highdicom's, byte for byte, over random contents:",
        "",
        *markdown([("form", "same", "files"), *((n, str(s), str(f)) for n, (s, f) in found.identity.items())]),
        "",
        "| goal | wanted | reached | met |",
        "|---|---|---|---|",
    ]
    for name, goal in result["goals"].items():
        met = "yes" if goal["met"] else "no"
        lines.append(f"| {name} | {goal['direction']} {goal['goal']:g} | {goal['value']:.4g} | {met} |")
    return "\n".join(lines) + "\n"


def duel_rows(found: Found) -> list[tuple[str, ...]]:
    """Both contenders by image size."""
    rows: list[tuple[str, ...]] = [("px", "ours", "plain highdicom", "ours / plain", "templates, once")]
    for duel in found.duels:
        ours, plain = (f"{rate.cpu:.0f} ({rate.wall:.0f})" for rate in (duel.ours, duel.plain))
        rows.append((str(duel.side), ours, plain, f"{duel.speedup:.0f}", f"{duel.templates_s:.2f} s"))
    return rows


def process_rows(found: Found) -> list[tuple[str, ...]]:
    """Ours by number of processes."""
    rows: list[tuple[str, ...]] = [("processes", "pairs a CPU second", "pairs a second of the clock")]
    return rows + [(str(n), f"{rate.cpu:.0f}", f"{rate.wall:.0f}") for n, rate in found.processes.items()]


def memory_rows(found: Found) -> list[tuple[str, ...]]:
    """Peak memory by number of images."""
    return [("images", "peak MB"), *((str(n), f"{peak:.0f}") for n, peak in found.memory.items())]


def markdown(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """A table; the first row is its head."""
    head, *body = ["| " + " | ".join(row) + " |" for row in rows]
    return [head, "|" + "---|" * len(rows[0]), *body]


def write(found: Found, result: dict[str, Any], home: Path = HOME) -> None:
    """Write archive_write.json and archive_write.md."""
    home.mkdir(parents=True, exist_ok=True)
    atomic_write_json(home / "archive_write.json", result)
    atomic_write_text(home / "archive_write.md", page(found, result))


def _processor() -> str:
    name, info = platform.machine(), Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{name} {models[0]}" if models else name

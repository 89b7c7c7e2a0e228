"""Read cohorts in, beside a plain pydicom loop.

    python -m benchmarks.ingest [--quick] [--write] [--folder DIR]

One thread a process. The plain loop (dcmread, pixel_array, window, resize, masks by reference) and ours run in turns on
the same files and must come to the same images; ours also refuses, finds copies, tells patients apart, takes digests and
writes the store. The files have just been written, so a disk is hardly read. ``--write`` keeps the result in
``audits/reference/``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.ingest.cohorts import Cohort
from benchmarks.ingest.measuring import masks, memory, one_core, several
from synthrelease.records.files import atomic_write_json, atomic_write_text

REFERENCE = Path(__file__).resolve().parents[2] / "audits" / "reference"
LEAST_SPEEDUP = 1.5
MOST_GROWTH_MIB = 30.0

COHORTS = (
    Cohort(128, 32, 400),
    Cohort(128, 128, 400),
    Cohort(512, 64, 160, masked=False),
    Cohort(512, 64, 160),
    Cohort(512, 128, 160),
    Cohort(2048, 128, 20),
    Cohort(512, 128, 80, coding="rle"),
    Cohort(512, 128, 40, coding="jpeg-2000"),
)
QUICK = (Cohort(128, 32, 60), Cohort(512, 128, 30))


def measured(folder: Path, *, quick: bool) -> dict[str, Any]:
    """Every figure."""
    rounds = 2 if quick else 5
    rows = [
        one_core(cohort, folder / f"cohort{number}", rounds)
        for number, cohort in enumerate(QUICK if quick else COHORTS)
    ]
    many = several(Cohort(256, 64, 600 if quick else 4000), folder / "several", 1 if quick else 3)
    plain = [row for row in rows if row["uncompressed"]]
    peaks = memory(folder / "memory", 450 if quick else 2000)
    return {
        "images_per_second_core": statistics.median(row["images_per_second_core"] for row in plain),
        "speedup_vs_pydicom": statistics.median(row["speedup"] for row in plain),
        "least_speedup_vs_pydicom": min(row["speedup"] for row in plain),
        "parallel_speedup": many["parallel_speedup"],
        "rows": rows,
        "several": many,
        "peak_mib": peaks,
        "peak_growth_mib": max(
            after - before for before, after in zip(list(peaks.values())[:2], list(peaks.values())[2:], strict=True)
        ),
        "masks_ms": masks(folder / "masks", 3 if quick else 9),
    }


def goals(figures: dict[str, Any]) -> dict[str, Any]:
    """At least 1.5 times the plain loop on every uncompressed cohort; memory that does not grow with the images."""
    speedup, growth = figures["least_speedup_vs_pydicom"], figures["peak_growth_mib"]
    return {
        "least_speedup_vs_pydicom": {"goal": LEAST_SPEEDUP, "value": speedup, "met": speedup >= LEAST_SPEEDUP},
        "peak_growth_mib": {"goal": MOST_GROWTH_MIB, "value": growth, "met": growth <= MOST_GROWTH_MIB},
    }


def table(figures: dict[str, Any]) -> str:
    """Markdown, for people."""
    many = figures["several"]
    lines = [
        "| images | plain pydicom loop, ms | ours, ms | times faster | images a second and core |",
        "|---|---|---|---|---|",
        *(
            f"| {row['cohort']} | {row['plain_ms']:.2f} | {row['ours_ms']:.2f} | {row['speedup']:.1f} | "
            f"{row['images_per_second_core']:.0f} |"
            for row in figures["rows"]
        ),
        "",
        f"{many['images']:,} images of {many['cohort']}: {many['one_process_seconds']:.1f} s on the clock with one process, "
        f"{many['all_processors_seconds']:.1f} s with {many['processors']} ({many['parallel_speedup']:.2f} times faster, their "
        f"start included); the stores are {'equal to the byte' if many['stores_alike'] else 'NOT EQUAL'}.",
        "",
        "| masks of one image, 512 px, 3 segments | ms of work |",
        "|---|---|",
        *(f"| {name} | {value:.2f} |" for name, value in figures["masks_ms"].items()),
        "",
        "| most memory of any process | MiB |",
        "|---|---|",
        *(f"| {name} | {value:.0f} |" for name, value in figures["peak_mib"].items()),
    ]
    return "\n".join(lines)


def page(result: dict[str, Any]) -> str:
    """The page beside the recorded figures."""
    figures, goal = result["figures"], result["goals"]["least_speedup_vs_pydicom"]
    return (
        f"# Reading a cohort in\n\n`{result['command']}`, {result['date']}, {result['hardware']}, load when it began "
        f"{result['load']:.1f}\n\n{table(figures)}\n\nGoal: on uncompressed images at least {goal['goal']} times the plain "
        f"loop on one core; {figures['speedup_vs_pydicom']:.1f} (median), {goal['value']:.1f} (least), "
        f"{'met' if goal['met'] else 'missed'}. Milliseconds are of one core's work, median over rounds in turns. The plain "
        "loop is dcmread, pixel_array, window, resize and masks by reference, and trusts every file; ours looks at all "
        "headers first, refuses with reasons, finds copies and shared images, and writes the store.\n"
    )


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="two small cohorts, under a minute")
    parser.add_argument("--write", action="store_true", help="keep the result in audits/reference/")
    parser.add_argument("--folder", type=Path, help="where to work; default: a temporary folder")
    wanted = parser.parse_args()
    if wanted.write and wanted.quick:
        parser.error("--write records the whole run: leave out --quick")
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(dir=wanted.folder) as place:
        figures = measured(Path(place), quick=wanted.quick)
    reached = goals(figures)
    print(table(figures))
    if wanted.write:
        result = {
            "command": "python -m benchmarks.ingest --write",
            "versions": {name: version(name) for name in ("synthrelease", "pydicom", "highdicom", "numpy", "pillow")},
            "hardware": f"{os.cpu_count()} cores, {platform.machine()}",
            "load": load,
            "date": datetime.now(UTC).strftime("%Y-%m-%d"),
            "figures": figures,
            "goals": reached,
        }
        atomic_write_json(REFERENCE / "ingest.json", result)
        atomic_write_text(REFERENCE / "ingest.md", page(result))
    named = ("images_per_second_core", "speedup_vs_pydicom", "least_speedup_vs_pydicom", "parallel_speedup")
    print(
        json.dumps(
            {
                **{name: figures[name] for name in named},
                "peak_growth_mib": figures["peak_growth_mib"],
                "goals": {name: goal["met"] for name, goal in reached.items()},
            }
        )
    )


if __name__ == "__main__":
    main()

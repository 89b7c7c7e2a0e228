"""``python -m benchmarks.header_scan [--quick]``: what both header gates cost and find; the last line is JSON."""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.header_scan.folders import RELEASE_DATE, settings, write_foreign, write_hospital, write_ours
from synthrelease.audit.checks.header_leak import Scan, files_below
from synthrelease.audit.closed_world import compared_at, entries_below, listing_problems
from synthrelease.audit.expectation import Expectation
from synthrelease.audit.headers.material import said_in
from synthrelease.records.manifest import MANIFEST

FORMS = {
    "v": "whole values",
    "w": "words",
    "f": "pairs of words",
    "c": "other scripts",
    "n": "numbers",
    "d": "dates",
    "u": "UIDs",
    "p": "parents of UIDs",
    "h": "unsalted digests",
    "r": "inside words, backwards",
}
SCAN_GOAL_MS, CLOSED_GOAL_MS = 5.0, 1.0

Answer = TypeVar("Answer")


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the folders, measure, print."""
    options = argparse.ArgumentParser(prog="python -m benchmarks.header_scan", description="Cost of the header gates.")
    options.add_argument("--quick", action="store_true", help="100 images instead of 500, a hospital of 200 files")
    quick = options.parse_args(arguments).quick
    images, headers = (100, 200) if quick else (500, 1000)
    console = Console()
    with tempfile.TemporaryDirectory() as made:
        home = Path(made)
        write_hospital(home / "real", headers)
        write_foreign(home / "foreign", 2 * images)
        expectation = write_ours(home / "ours", settings(images))
        told = {
            **closed_world(home / "ours", expectation),
            "with_templates": scanned(home / "real", home / "ours", expectation),
            "without_policy": scanned(home / "real", home / "ours", None),
            "another_tool": scanned(home / "real", home / "foreign", None),
        }
    console.print(_table(told))
    told["release_date_is_a_study_date"] = RELEASE_DATE
    told["goals"] = {
        "closed_world_ms": {"goal": CLOSED_GOAL_MS, "value": told["closed_world_ms"]},
        "scan_ms": {"goal": SCAN_GOAL_MS, "value": told["with_templates"]["scan_ms"]},
        "false_alarms": {"goal": 0, "value": told["with_templates"]["false_alarms"]},
        "least_recall": {"goal": 1.0, "value": min(told["with_templates"]["recall"].values())},
    }
    for name, goal in told["goals"].items():
        goal["met"] = goal["value"] >= goal["goal"] if name == "least_recall" else goal["value"] <= goal["goal"]
    print(json.dumps(told))


def closed_world(folder: Path, expectation: Expectation) -> dict[str, float]:
    """CPU milliseconds a file of the first gate, and clean files that it accuses."""
    paths = [path for path, _ in entries_below(folder)]
    compared, seconds = _timed(lambda: [compared_at(folder / path, folder, expectation) for path in paths])
    listed, more = _timed(
        lambda: listing_problems(paths, [c.digest for c in compared], (folder / MANIFEST).read_bytes(), expectation)
    )
    alarms = sum(bool(c.problems) for c in compared) + listed.total()
    return {"closed_world_ms": _each(seconds + more, paths), "closed_world_false_alarms": alarms, "files": len(paths)}


def scanned(real: Path, folder: Path, expectation: Expectation | None) -> dict[str, object]:
    """CPU milliseconds a file of the second gate on both sides, clean files that it accuses, and its recall."""
    scan = Scan(expectation)
    sources, learning = _timed(lambda: scan.learn(real, processes=1))
    files = files_below(folder)
    said, reading = _timed(lambda: [said_in(path, folder, expectation) for path in files])
    judged, judging = _timed(lambda: scan.judge(files, said))
    met = Counter(token[0] for each in said for token in scan.hits(each))
    recall = scan.recall(judged.clean, folder, np.random.default_rng(0)) if judged.clean else {}
    return {
        "scan_ms": _each(reading + judging, files),
        "source_ms": round(1e3 * learning / max(1, sources), 3),
        "files": len(files),
        "fingerprints": len(scan.prints),
        "false_alarms": judged.leaking,
        "forms_met": {name: met[kind] for kind, name in FORMS.items()},
        "excused": judged.told,
        "recall": recall,
    }


def _timed(work: Callable[[], Answer]) -> tuple[Answer, float]:
    """What a piece of work gives, and the CPU seconds it took."""
    start = time.process_time()
    return work(), time.process_time() - start


def _each(seconds: float, files: Sequence[object]) -> float:
    return round(1e3 * seconds / max(1, len(files)), 3)


def _table(told: dict[str, object]) -> Table:
    table = Table(title="header gates, CPU on one core")
    for heading in ("gate", "ms a file", "files", "false alarms", "recall over plants"):
        table.add_column(heading)
    table.add_row(
        "closed world", f"{told['closed_world_ms']}", f"{told['files']}", f"{told['closed_world_false_alarms']}", "-"
    )
    rows: Iterable[str] = ("with_templates", "without_policy", "another_tool")
    for name in rows:
        row = told[name]
        assert isinstance(row, dict)
        least = min(row["recall"].values(), default=float("nan"))
        table.add_row(
            f"scan, {name.replace('_', ' ')}",
            f"{row['scan_ms']}",
            f"{row['files']}",
            f"{row['false_alarms']}",
            f"{least:.2f} at least, {len(row['recall'])} kinds",
        )
    return table


if __name__ == "__main__":
    main()

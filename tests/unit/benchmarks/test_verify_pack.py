"""The benchmark of a pack runs, and its goals judge what it measured."""

from __future__ import annotations

from pathlib import Path

from benchmarks.verify_pack.__main__ import goals, measured, page, table


def test_a_small_pack_is_measured_and_judged(tmp_path: Path) -> None:
    figures = measured(tmp_path, 20, 1)
    assert figures["files"] == 20
    assert figures["verify"]["wall_seconds"] > 0
    assert set(figures["peak_mib_by_files"]) == {"2", "80"}
    assert goals(figures)["peak_growth_mib"]["met"]
    result = {"command": "c", "date": "d", "hardware": "h", "figures": figures, "goals": goals(figures)}
    assert table(figures) in page(result)


def test_a_slow_verify_misses_the_goal() -> None:
    figures = {"files": 1000, "verify": {"wall_seconds": 2.0}, "peak_growth_mib": 100.0}
    assert not any(goal["met"] for goal in goals(figures).values())

"""The benchmark of reading in: both loops come to one answer, and its goals are judged."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.ingest.__main__ import goals, page, table
from benchmarks.ingest.cohorts import Cohort, write
from benchmarks.ingest.contenders import apart, ours, plain
from benchmarks.ingest.measuring import MOST_APART, masks, one_core, several

SMALL = Cohort(48, 16, 24)


@pytest.mark.parametrize("coding", ["none", "rle", "jpeg-2000"])
def test_both_loops_come_to_the_same_images_and_masks(coding: str, tmp_path: Path) -> None:
    cohort = Cohort(48, 16, 24, coding=coding)
    write(cohort, tmp_path / "cohort")
    store = ours(tmp_path / "cohort", cohort, tmp_path / "store", processes=1)
    found = plain(tmp_path / "cohort", cohort)
    assert store.manifest.images == store.manifest.patients == len(found) == 24
    assert apart(store, found) < MOST_APART
    assert not store.manifest.refused


def test_figures_become_a_table_and_a_page(tmp_path: Path) -> None:
    row = one_core(SMALL, tmp_path / "one", 1)
    figures = {
        "rows": [row],
        "several": several(SMALL, tmp_path / "several", 1),
        "masks_ms": masks(tmp_path / "masks", 1),
        "peak_mib": {"24 images, 1 process": 100.0},
        "speedup_vs_pydicom": row["speedup"],
        "least_speedup_vs_pydicom": row["speedup"],
        "peak_growth_mib": 0.0,
    }
    assert figures["several"]["stores_alike"]
    assert "48 to 16 px, 3 masks" in table(figures)
    result = {"command": "x", "date": "y", "hardware": "z", "load": 1.0, "figures": figures, "goals": goals(figures)}
    assert "Goal: on uncompressed images" in page(result)


def test_goals_are_met_at_their_borders_and_missed_beyond() -> None:
    met = goals({"least_speedup_vs_pydicom": 1.5, "peak_growth_mib": 30.0})
    missed = goals({"least_speedup_vs_pydicom": 1.49, "peak_growth_mib": 30.1})
    assert all(goal["met"] for goal in met.values())
    assert not any(goal["met"] for goal in missed.values())

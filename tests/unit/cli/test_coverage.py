"""`sample` tells what the guide accepted, and warns where that is little."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from synthrelease.archive.notes import coverage
from synthrelease.cli.console import Console
from synthrelease.cli.coverage import coverage_text, coverage_warnings
from synthrelease.cli.sample import archive_answer
from synthrelease.records.runs import Run

TOLD = coverage(["no_finding", "nodule", "mass"], {"no_finding": 50, "nodule": 50}, {"no_finding": 50, "nodule": 20})


def run_of(folder: Path, **more: Any) -> Run:
    record = {"images": 100, "class_counts": {"no_finding": 50, "nodule": 50, "mass": 0}, "segmentations": 0}
    (folder / "archive.json").write_text(json.dumps(record | more))
    return Run(folder)


def test_the_table_has_a_row_a_class() -> None:
    head, *rows = coverage_text(TOLD).splitlines()
    assert head.split() == ["class", "asked", "accepted", "share", "95", "%", "interval"]
    assert [row.split()[:4] for row in rows] == [
        ["no_finding", "50", "50", "1.000"],
        ["nodule", "50", "20", "0.400"],
        ["mass", "0", "0", "-"],
    ]
    assert len({len(row) for row in rows[:2]}) == 1


def test_a_class_of_which_little_was_accepted_is_warned_of() -> None:
    (warning,) = coverage_warnings(TOLD)
    assert "'nodule' in 30 of the 50 images" in warning


def test_sample_prints_both(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert archive_answer(Console(), run_of(tmp_path, coverage=TOLD)) == 0
    shown = capsys.readouterr().out
    assert coverage_text(TOLD) in shown
    assert "warning: the guide did not see 'nodule'" in shown
    archive_answer(Console(as_json=True), run_of(tmp_path, coverage=TOLD))
    told = json.loads(capsys.readouterr().out)
    assert told["coverage"] == TOLD
    assert len(told["warnings"]) == 1


def test_without_a_guide_nothing_is_said_of_coverage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    archive_answer(Console(as_json=True), run_of(tmp_path))
    assert "coverage" not in json.loads(capsys.readouterr().out)

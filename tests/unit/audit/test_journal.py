"""Measurements survive a kill: read back equal, stale ones ignored, gone when the audit is complete."""

from __future__ import annotations

import json
import stat

import numpy as np
import pytest

from synthrelease.audit.journal import Journal, Measured, measurement_of, plain
from synthrelease.audit.measurement import Excess, Measurement
from synthrelease.records.findings import Baseline, Direction, Power, Statistic

FULL = Measurement(
    Statistic("rate", 0.1, 0.05, 1 / 3, 0.95, Direction.HIGHER),
    Baseline(0.01, None),
    Power(0.02, "of patients", {"exact": 1.0}),
    {"train": 3},
    p_value=0.25,
    excess=Excess(3, 10, 2),
    controls_missed=("gain",),
    fallback=True,
    note="seen",
    details={"rows": [1, 2.5, None], "deep": {"a": True}},
    private={"patients": [{"train_row": 4}]},
)
BARE = Measurement(Statistic("rate", None, None, None, 0.95, Direction.LOWER), unable="too few")


@pytest.mark.parametrize("measurement", [FULL, BARE])
def test_a_measurement_comes_back_equal(tmp_path, measurement):
    journal = Journal(tmp_path / "kept", "a" * 64)
    journal.write("membership", Measured(measurement, 1.5))
    assert journal.read("membership") == Measured(measurement, 1.5)
    assert measurement_of(plain(measurement)) == measurement


def test_nothing_is_read_for_another_question_or_from_a_broken_file(tmp_path):
    journal = Journal(tmp_path / "kept", "a" * 64)
    journal.write("membership", Measured(BARE, 1.0))
    assert Journal(tmp_path / "kept", "b" * 64).read("membership") is None
    assert journal.read("other") is None
    path = tmp_path / "kept" / "membership.json"
    whole = json.loads(path.read_text())
    for broken in ("", "[]", "{", json.dumps({**whole, "measurement": {}}), json.dumps({**whole, "seconds": "soon"})):
        path.write_text(broken)
        assert journal.read("membership") is None


def test_what_is_kept_is_for_its_owner_and_goes_at_the_end(tmp_path):
    journal = Journal(tmp_path / "kept", "a" * 64)
    journal.write("membership", Measured(FULL, 1.0))
    assert stat.S_IMODE((tmp_path / "kept").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "kept" / "membership.json").stat().st_mode) == 0o600
    journal.remove()
    assert not (tmp_path / "kept").exists()
    journal.remove()


@pytest.mark.parametrize("value", [float("nan"), np.zeros(3)])
def test_what_json_cannot_say_is_a_bug_of_the_check(value):
    with pytest.raises((TypeError, ValueError)):
        plain(Measurement(BARE.statistic, details={"x": value}))

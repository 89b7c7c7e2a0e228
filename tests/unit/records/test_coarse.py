"""What of an audit may leave: verdicts and bounds to two digits, nothing measured on one patient, no small count."""

from __future__ import annotations

import json
from typing import Any

import pytest

from synthrelease.records.coarse import coarse_audit, coarse_count

FINDING: dict[str, Any] = {
    "id": "vulnerability",
    "question": "Is anybody exposed?",
    "criterion": "singling_out",
    "verdict": "fail",
    "required": True,
    "statistic": {"name": "patients", "value": 0.0123456, "low": 0.00456789, "high": 0.0345678, "confidence": 0.95,
                  "direction": "lower is better"},
    "baseline": {"holdout": 0.0987654, "random": 0.01},
    "threshold": {"value": 0.0125, "because": "of a reason"},
    "power": {"smallest_detectable": 0.0456, "unit": "of patients", "planted": {"exact": 0.9876}},
    "n": {"train_patients": 1234, "holdout_patients": 73, "synthetic_images": 81},
    "seed": 0,
    "seconds": 3.25,
    "reason": "17 of 1234 patients, the most exposed with p = 3.3e-9",
    "p_value": 0.00123,
    "p_adjusted": 0.00456,
    "details": {"rows": [4711]},
}  # fmt: skip
AUDIT: dict[str, Any] = {
    "schema": "synthrelease.audit/1",
    "verdict": "fail",
    "reason": "failed: vulnerability",
    "fidelity": "pass",
    "findings": [FINDING],
    "profile": "standard",
    "seed": 0,
    "digests": {"archive": "a", "real_files": "b", "holdout_store": "c", "cohort": "d"},
    "counts": {"train_patients": 1234, "holdout_patients": 73, "synthetic_images": 81},
    "versions": {},
    "power": {"largest_epsilon": {"provable": 3.0541}, "add": ["226 more held-out patients"]},
}


def test_no_measured_value_leaves() -> None:
    text = json.dumps(coarse_audit(AUDIT))
    for secret in ("0.0123456", "0.00456", "0.0345678", "0.0987654", "0.9876", "3.3e-9", "0.00123", "4711", "226",
                   "1234", "73", "3.0541", "3.25", '"b"', '"c"', '"d"'):  # fmt: skip
        assert secret not in text, secret
    assert "outside of the differential privacy guarantee" in text


MANY = AUDIT | {"counts": AUDIT["counts"] | {"holdout_patients": 730}}


def test_bounds_threshold_and_verdict_do() -> None:
    told = coarse_audit(MANY)
    finding = told["findings"][0]
    assert (finding["verdict"], finding["threshold"]) == ("fail", FINDING["threshold"])
    assert (finding["statistic"]["low"], finding["statistic"]["high"]) == (0.0046, 0.035)
    assert told["counts"] == {"train_patients": 1200, "holdout_patients": 730, "synthetic_images": 81}
    assert told["power"] == {"largest_epsilon": {"provable": 3.1}}
    assert told["digests"] == {"archive": "a"}


def test_bounds_that_would_give_back_a_small_number_of_patients_stay_home() -> None:
    told = coarse_audit(AUDIT)
    assert told["counts"]["holdout_patients"] == "fewer than 100"
    assert "power" not in told
    finding = told["findings"][0]
    assert (finding["statistic"]["high"], finding["power"]["smallest_detectable"]) == (None, None)
    copies = {**FINDING, "power": {**FINDING["power"], "unit": "share of synthetic images"}}
    assert coarse_audit({**AUDIT, "findings": [copies]})["findings"][0]["statistic"]["high"] == 0.035


def test_an_exact_count_is_no_bound() -> None:
    counted = {**FINDING, "statistic": {**FINDING["statistic"], "value": 7.0, "low": 7.0, "high": 7.0}}
    told = coarse_audit({**AUDIT, "findings": [counted]})["findings"][0]["statistic"]
    assert (told["value"], told["low"], told["high"]) == (None, None, None)
    none = {**FINDING, "statistic": {**FINDING["statistic"], "value": 0.0, "low": 0.0, "high": 0.0}}
    assert coarse_audit({**AUDIT, "findings": [none]})["findings"][0]["statistic"]["high"] == 0.0


def test_coarse_twice_is_coarse_once() -> None:
    once = coarse_audit(AUDIT)
    assert coarse_audit(once) == once


@pytest.mark.parametrize(
    ("count", "told"), [(0, 0), (1, "fewer than 100"), (99, "fewer than 100"), (100, 100), (1249, 1200)]
)
def test_counts_of_real_patients_are_few_or_rounded(count: int, told: int | str) -> None:
    assert coarse_count(count) == told

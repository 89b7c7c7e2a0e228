"""The audit for a terminal and for a build server; numbers as text."""

from __future__ import annotations

import copy
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from synthrelease.report import Edition, audit_text, junit_xml
from synthrelease.report.figures import Figures, plain
from synthrelease.report.privacy_claim import advantage_bound, rate_bound, suspicion


def test_a_terminal_shows_the_recommendation_and_a_line_per_finding(inputs: Any) -> None:
    text = audit_text(inputs.external.audit)
    assert text.startswith("No objection found\n")
    for name in ("exact_copy", "target_decoy", "membership", "attribute (not required)", "dice", "headers"):
        assert name in text
    assert "? Inconclusive" in text
    assert max(map(len, text.splitlines())) <= 110
    assert "\x1b" not in text


def test_colour_comes_only_when_asked_for(inputs: Any) -> None:
    assert "\x1b[" in audit_text(inputs.external.audit, colour=True)


def test_a_narrow_terminal_still_reads(inputs: Any) -> None:
    assert max(map(len, audit_text(inputs.external.audit, width=80).splitlines())) <= 80


def test_control_characters_and_markup_do_not_reach_the_terminal(inputs: Any) -> None:
    audit = copy.deepcopy(inputs.external.audit)
    audit["findings"][0]["question"] = "\x1b[2J[red]gone[/red]\u202e"
    text = audit_text(audit)
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "[red]gone[/red]" in text


def test_junit_counts_failures_errors_and_skips(inputs: Any) -> None:
    audit = copy.deepcopy(inputs.external.audit)
    audit["findings"][0]["verdict"] = "fail"
    audit["findings"][1]["verdict"] = "inconclusive"
    suite = ET.fromstring(junit_xml(audit))
    assert {key: suite.get(key) for key in ("tests", "failures", "errors", "skipped")} == {
        "tests": "6",
        "failures": "1",
        "errors": "1",
        "skipped": "1",
    }
    kinds = [child.tag for case in suite for child in case]
    assert kinds == ["failure", "error", "skipped"]


def test_junit_survives_characters_that_xml_forbids(inputs: Any) -> None:
    audit = copy.deepcopy(inputs.external.audit)
    audit["findings"][0].update(verdict="fail", reason="a\x00b<&\x1b", id="x\ud800")
    failure = next(ET.fromstring(junit_xml(audit)).iter("failure"))
    assert failure.get("message") == "a\ufffdb<&\ufffd"


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (0.0, 3, "0"),
        (-0.0, 3, "0"),
        (0.000123456, 3, "0.000123"),
        (1e-5, 3, "1e-5"),
        (123456.0, 3, "123\u202f000"),
        (999.9, 3, "1\u202f000"),
        (2.0, 3, "2"),
        (float("inf"), 3, "not finite"),
        (None, 3, "–"),
        (True, 3, "–"),
    ],
)
def test_numbers_read_as_a_person_would_write_them(value: Any, digits: int, text: str) -> None:
    assert plain(value, digits) == text


def test_counts_of_synthetic_images_are_exact_in_both_editions() -> None:
    for edition in Edition:
        assert Figures(edition).count(3001, real=False) == "3\u202f001"
    assert Figures(Edition.EXTERNAL).count(57) == "fewer than 100"


@pytest.mark.parametrize(
    ("epsilon", "rate", "expected"), [(1.0, 0.001, 0.0027), (2.0, 0.001, 0.0074), (4.0, 0.001, 0.0546)]
)
def test_the_bound_from_epsilon_agrees_with_the_published_table(epsilon: float, rate: float, expected: float) -> None:
    assert rate_bound(epsilon, 1e-5, rate) == pytest.approx(expected, abs=1e-4)


def test_bounds_are_ordered_and_never_leave_the_unit_interval() -> None:
    for epsilon in (0.0, 0.5, 1.0, 4.0, 8.0, 20.0):
        for rate in (0.0, 0.001, 0.1, 0.9, 1.0):
            assert rate <= rate_bound(epsilon, 1e-5, rate) <= 1
    assert advantage_bound(0.0, 0.0) == 0
    assert advantage_bound(1.0, 1e-5) == pytest.approx(2 * 0.731 - 1, abs=1e-3)
    assert suspicion(8.0, 0.1) == pytest.approx(0.997, abs=1e-3)

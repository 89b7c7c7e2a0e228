"""`synthrelease explain`: every check in plain words, with its threshold and the reason for it."""

from __future__ import annotations

import pytest

from synthrelease.audit.checks import CHECKS
from synthrelease.audit.profile import load_profile


def test_without_a_name_all_checks_are_listed_with_their_questions(say):
    told = say("explain")
    assert told.code == 0
    flat = " ".join(told.out.split())
    for check in CHECKS:
        assert check.id in told.out
        assert check.question in flat
    listed = say("explain", "--json").json["checks"]
    assert [entry["id"] for entry in listed] == [check.id for check in CHECKS]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.id)
def test_a_check_tells_question_method_weakness_source_and_threshold(say, check):
    flat = " ".join(say("explain", check.id).out.split())
    settings = load_profile("standard", [each.id for each in CHECKS]).checks[check.id]
    told = check.explanation
    for text in (check.question, told.how, told.good, told.weakness, told.source, settings.threshold.because):
        assert " ".join(text.split()) in flat
    value = say("explain", check.id, "--json").json
    assert value["threshold"]["value"] == settings.threshold.value
    assert value["required"] == settings.required


def test_the_profile_asked_for_decides_the_threshold(say):
    quick, standard = (say("explain", "membership", "--profile", name, "--json").json for name in ("quick", "standard"))
    assert quick["fallback"] is not None
    assert standard["fallback"] is None


def test_a_misspelt_check_gets_a_hint_and_exit_code_2(say):
    told = say("explain", "near_copy")
    assert told.code == 2
    assert "Did you mean near_copies?" in told.err
    assert say("explain", "near-copies").code == 0
    assert say("explain", "membership", "--profile", "strict").code == 2

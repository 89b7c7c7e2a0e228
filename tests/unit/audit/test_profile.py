"""Profiles are read strictly, say why, and report every problem at its place."""

from __future__ import annotations

import pytest

from synthrelease.audit.profile import load_profile, parse_profile
from synthrelease.audit.runner import check_ids
from synthrelease.errors import PolicyError, UsageError

GOOD = """\
schema: 1
name: mine
purpose: judge an archive in the tests
significance: {value: 5e-2, because: the usual level of tests}
checks:
  a:
    required: true
    threshold: {value: 1e-5, because: very little is tolerated}
"""


@pytest.mark.parametrize("name", ["standard", "quick"])
def test_shipped_profiles_name_every_check_and_reason(name):
    profile = load_profile(name, check_ids())
    assert profile.name == name
    assert set(profile.checks) == set(check_ids())
    assert profile.checks["exact_copies"].threshold.value == 0


def test_only_the_quick_profile_takes_the_coarse_membership_row():
    assert load_profile("standard", check_ids()).checks["membership"].fallback is None
    assert load_profile("quick", check_ids()).checks["membership"].fallback is not None


def test_numbers_with_an_exponent_are_numbers():
    assert parse_profile(GOOD, "f.yaml", ["a"]).checks["a"].threshold.value == 1e-5


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("required: true", "required: true\n    required: false", "given twice"),
        ("required: true", "require: true", "unknown setting"),
        ("required: true", "required: yes", "checks.a.required"),
        ("because: very little is tolerated", "because: so", "checks.a.threshold.because"),
        (", because: very little is tolerated", "", "required setting is missing"),
        ("  a:", "  b:", "no such check"),
        ("5e-2", "0.5", "must lie in (0, 0.1]"),
        ("schema: 1", "schema: 2", "schema"),
    ],
)
def test_every_mistake_is_refused_with_its_place(old, new, problem):
    with pytest.raises(PolicyError) as caught:
        parse_profile(GOOD.replace(old, new), "f.yaml", ["a"])
    assert problem in str(caught.value)
    assert "f.yaml:" in str(caught.value)


def test_all_problems_are_told_at_once_and_misspelt_checks_get_a_hint():
    text = GOOD.replace("  a:", "  near_copy:").replace("5e-2", "7")
    with pytest.raises(PolicyError) as caught:
        parse_profile(text, "f.yaml", ["near_copies"])
    assert "did you mean near_copies?" in str(caught.value)
    assert "3 problem(s)" in str(caught.value)


def test_an_unknown_profile_lists_the_shipped_ones():
    with pytest.raises(UsageError) as caught:
        load_profile("strict", check_ids())
    assert "quick, standard" in str(caught.value)

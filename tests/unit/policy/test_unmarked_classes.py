"""Unmarked classes are classes of the cohort, belong to segments, and leave policies without them as they were."""

from __future__ import annotations

import pytest

from synthrelease.policy.loader import policy_digest, policy_from, problems_of, resolved
from synthrelease.policy.schema import Policy

TEXT = """\
schema: 1
purpose: test
sharing: {tier: internal}
roles: {operator: Olga, custodian: Carl}
cohort:
  name: breast
  source: folder
  classes: [normal, benign, malignant]
  segments: [lesion]
  unmarked_classes: [normal]
privacy: {mode: none}
generator: {name: moments}
"""
WORD = "  unmarked_classes: [normal]\n"


def good(text: str) -> Policy:
    policy, problems = problems_of(text)
    assert policy is not None, problems
    return policy


def problems(old: str, new: str) -> list[str]:
    return [str(each) for each in problems_of(TEXT.replace(old, new))[1]]


def test_unknown_classes_are_refused_each_at_its_place_with_what_was_meant() -> None:
    assert problems("[normal]", "[norml, benign, cyst]") == [
        "10:22: cohort.unmarked_classes[0]: expected 'normal' or 'benign' or 'malignant', got 'norml'; did you mean 'normal'?",
        "10:37: cohort.unmarked_classes[2]: expected 'normal' or 'benign' or 'malignant', got 'cyst'",
    ]


@pytest.mark.parametrize("segments", ["", "  segments: []\n", "  masks: optional\n"])
def test_they_are_refused_where_masks_are_not_read(segments: str) -> None:
    (problem,) = problems("  segments: [lesion]\n", segments)
    assert "cohort.unmarked_classes: should be left out: cohort.segments is empty, so there are no masks" in problem


def test_wrong_classes_or_segments_are_told_once() -> None:
    assert len(problems("[lesion]", "[Lesion]")) == 1
    assert len(problems("[normal, benign, malignant]", "[]")) == 1
    assert len(problems("[normal]", "normal")) == 1


def test_they_enter_the_resolved_policy_and_its_digest() -> None:
    with_word, without = good(TEXT), good(TEXT.replace(WORD, ""))
    assert resolved(with_word)["cohort"]["unmarked_classes"] == ["normal"]
    assert policy_from(resolved(with_word)) == with_word
    assert policy_digest(with_word) != policy_digest(without)


def test_a_policy_without_them_keeps_the_digest_it_had_before_they_were_known() -> None:
    plain = good(TEXT.replace(WORD, ""))
    assert "unmarked_classes" not in resolved(plain)["cohort"]
    assert policy_digest(good(TEXT.replace("[normal]\n", "[]\n"))) == policy_digest(plain)
    assert policy_from(resolved(plain)) == plain

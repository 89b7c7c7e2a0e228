"""A policy whose classes are sets of findings says each thing once and contradicts itself nowhere."""

from __future__ import annotations

from itertools import chain, combinations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthrelease.cohort.naming import Naming
from synthrelease.policy.findings import target_table
from synthrelease.policy.findings_rules import RULES
from synthrelease.policy.schema import Policy

GOOD: dict[str, Any] = {
    "normal": {},
    "nodule": {"present": ["nodule"]},
    "effusion": {"present": ["effusion"]},
    "nodule_and_effusion": {"present": ["nodule", "effusion"]},
}


def policy(
    findings: dict[str, Any] | None = GOOD, classes: list[str] | None = None, source: str = "x", **label: Any
) -> Policy:
    return Policy.model_validate(
        {
            "schema": 1,
            "purpose": "test",
            "sharing": {"tier": "internal"},
            "roles": {"operator": "Olga", "custodian": "Carl"},
            "cohort": {
                "name": "chest",
                "source": source,
                "classes": list(findings or GOOD) if classes is None else classes,
                "findings": findings,
                "label": label,
            },
            "privacy": {"mode": "none"},
            "generator": {"name": "moments"},
        },
        strict=False,
    )


def broken(given: Policy) -> list[str]:
    return [f"{'.'.join(map(str, path))}: {what} [{rule.__name__}]" for rule in RULES for path, what in rule(given)]


def test_four_classes_of_two_findings_are_good() -> None:
    assert broken(policy(source="phantom", separator="|", others="ignore")) == []
    assert target_table(policy().cohort) == ((0, 0), (1, 0), (0, 1), (1, 1))


def test_without_findings_nothing_is_asked() -> None:
    assert broken(policy(None)) == []


@pytest.mark.parametrize(
    ("findings", "classes", "said"),
    [
        ({**GOOD, "mass": {"present": ["mass"]}}, list(GOOD), "cohort.findings.mass: not a class"),
        ({"normal": {}, "nodule": {"present": ["nodule"]}}, ["normal", "nodule", "mass"], "class 'mass' is not listed"),
        ({"normal": {}}, None, "no class asks for a finding"),
        ({"a": {"present": ["x"], "either": ["x"]}, "b": {}}, None, "'x' is both present and either"),
        ({"a": {"present": ["x", "x"]}, "b": {}}, None, "'x' is listed twice"),
        ({"a": {"present": ["x"]}, "b": {"present": ["x"]}}, None, "an image with x would be of 'b' and of 'a'"),
        ({"a": {"either": ["x"]}, "b": {"present": ["x"]}}, None, "an image with x would be of 'b' and of 'a'"),
        ({"a": {"either": ["x"]}, "b": {"either": ["y"]}}, None, "an image with no finding would be of 'b'"),
        (
            {"a": {"present": ["x"], "either": ["y"]}, "b": {"present": ["y"], "either": ["x"]}},
            None,
            "an image with x, y would be of 'b' and of 'a'",
        ),
        ({"x": {"present": ["x", "y"]}, "b": {}}, None, "an image with x alone is not of the class of that name"),
        ({"x": {}, "b": {"present": ["x"]}}, None, "an image with x alone is not of the class of that name"),
        ({"a": {"present": ["lung_mass"]}, "b": {"present": ["lungmass"]}}, None, "are one name"),
    ],
)
def test_what_contradicts_itself_is_refused(findings: dict[str, Any], classes: list[str] | None, said: str) -> None:
    assert any(said in problem for problem in broken(policy(findings, classes))), broken(policy(findings, classes))


@pytest.mark.parametrize("separator", ["a", " ", "-", "_", "| "])
def test_a_separator_that_names_hold_is_refused(separator: str) -> None:
    assert "would cut names" in broken(policy(separator=separator))[0]


@pytest.mark.parametrize("label", [{"separator": "|"}, {"others": "ignore"}])
def test_settings_of_findings_need_findings(label: dict[str, Any]) -> None:
    assert "belongs to cohort.findings" in broken(policy(None, **label))[0]


def test_the_phantom_has_two_findings() -> None:
    assert (
        "the phantom has no 'mass'"
        in broken(policy({"normal": {}, "mass": {"present": ["mass"]}}, source="phantom"))[0]
    )


NAMES = ("x", "y", "z")
ASKED = st.tuples(st.sets(st.sampled_from(NAMES)), st.sets(st.sampled_from(NAMES))).map(
    lambda two: {"present": sorted(two[0]), "either": sorted(two[1] - two[0])}
)


@given(st.lists(ASKED, min_size=2, max_size=4))
def test_where_the_rules_are_kept_every_set_of_findings_has_one_class_at_most(asked: list[dict[str, Any]]) -> None:
    """And where the rule on disjointness is broken, some set has two."""
    given = policy({f"class_{index}": each for index, each in enumerate(asked)}, separator="|")
    sets = list(chain.from_iterable(combinations(NAMES, size) for size in range(len(NAMES) + 1)))
    takers = [
        [
            name
            for name, each in (given.cohort.findings or {}).items()
            if set(each.present) <= set(found) <= {*each.present, *each.either}
        ]
        for found in sets
    ]
    twice = any(len(names) > 1 for names in takers)
    assert twice == any("[classes_are_disjoint]" in problem for problem in broken(given))
    if not broken(given):
        naming = Naming.of(given.cohort)
        known = {finding for each in asked for finding in (*each["present"], *each["either"])}
        for found, names in zip(sets, takers, strict=True):
            if found and set(found) <= known:
                assert naming.class_of("|".join(found)) == (names[0] if names else naming.class_of("|".join(found)))

"""A transform that changes what a class tells is refused, and so is what a private step would pay for twice."""

from __future__ import annotations

from typing import Any

import pytest

from synthrelease.policy import drai_rules, transform_rules
from synthrelease.policy.schema import Policy

RULES = (*transform_rules.RULES, *drai_rules.RULES)
PRIVATE = {"mode": "private", "epsilon": 8, "delta": 1e-5, "expected_patients": 500}


def policy(
    cohort: dict[str, Any] | None = None,
    privacy: dict[str, Any] | None = None,
    archive: dict[str, Any] | None = None,
    **generator: Any,
) -> Policy:
    return Policy.model_validate(
        {
            "schema": 1,
            "purpose": "test",
            "sharing": {"tier": "internal"},
            "roles": {"operator": "Olga", "custodian": "Carl"},
            "cohort": {"name": "a", "source": "x", "classes": ["one", "other"], **(cohort or {})},
            "privacy": privacy or {"mode": "none"},
            "generator": {"name": "drai", **generator},
            "archive": archive or {},
        },
        strict=False,
    )


def broken(given: Policy) -> list[str]:
    return [f"{'.'.join(map(str, path))}: {what}" for rule in RULES for path, what in rule(given)]


def test_small_changes_of_pose_and_exposure_keep_what_a_chest_radiograph_shows() -> None:
    assert broken(policy()) == []


@pytest.mark.parametrize(
    ("transform", "why"),
    [
        ("mirror", "changes the side, which classes or masks tell of: the sides of the chest are not alike"),
        ("upside_down", "changes the side"),
        ("quarter_turn", "changes the upright, which classes or masks tell of: the chest has an upper and a lower end"),
    ],
)
def test_a_chest_is_neither_mirrored_nor_turned_over(transform: str, why: str) -> None:
    found = broken(policy(transforms=["shift", transform]))
    assert found
    assert found[0].startswith(f"generator.transforms.1: '{transform}'")
    assert why in found[0]


def test_skin_has_no_sides_unless_the_classes_tell_of_them() -> None:
    skin = {"body_part": "SKIN"}
    assert broken(policy(skin, transforms=["mirror", "upside_down", "quarter_turn"])) == []
    told = broken(policy(skin, transforms=["mirror"], label_tells=["side"]))
    assert told == [
        "generator.transforms.0: 'mirror' changes the side, which classes or masks tell of: generator.label_tells names it; "
        "leave it out"
    ]


@pytest.mark.parametrize("part", ["THORAX", "LUNG", "HEART", "CHESTABDOMEN", "CHESTABDPELVIS", "ABDOMENPELVIS"])
def test_a_part_of_the_trunk_counts_however_its_term_is_put_together(part: str) -> None:
    for transform in ("mirror", "upside_down", "quarter_turn"):
        assert broken(policy({"body_part": part}, transforms=[transform])), transform


@pytest.mark.parametrize("part", ["HEAD", "BRAIN", "BREAST"])
def test_nothing_is_known_of_other_parts_but_what_the_policy_says(part: str) -> None:
    assert broken(policy({"body_part": part}, transforms=["mirror", "upside_down", "quarter_turn"])) == []
    assert broken(policy({"body_part": part}, transforms=["quarter_turn"], label_tells=["upright"]))


@pytest.mark.parametrize(("aspect", "transform"), [("size", "zoom"), ("grey", "exposure"), ("position", "shift")])
def test_what_the_classes_tell_is_not_changed(aspect: str, transform: str) -> None:
    assert len(broken(policy(label_tells=[aspect]))) == 1
    assert broken(policy(label_tells=[aspect], transforms=["rotate"])) == []
    assert f"'{transform}'" in broken(policy(label_tells=[aspect]))[0]


def test_a_transform_is_listed_once() -> None:
    assert broken(policy(transforms=["shift", "shift"])) == ["generator.transforms.1: 'shift' is listed twice"]


def test_self_supervision_without_a_transform_is_refused() -> None:
    assert broken(policy(transforms=[]))[0].startswith("generator.transforms: self-supervision needs one")
    assert broken(policy(transforms=[], self_supervision_weight=0)) == []


def test_a_penalty_of_real_rows_is_refused_where_privacy_is_claimed() -> None:
    found = broken(policy(privacy=PRIVATE))
    assert [line.split(":")[0] for line in found] == ["generator.penalty_on"]
    assert broken(policy(privacy=PRIVATE, penalty_on="generated")) == []
    assert broken(policy(privacy=PRIVATE, penalty_weight=0)) == []


def test_an_archive_that_is_too_small_for_its_styles_is_refused() -> None:
    data = {"styles_per_finding": 20}
    assert broken(policy(**data, archive={"images": 40})) == []
    (found,) = broken(policy(**data, archive={"images": 39}))
    assert found.startswith("generator.styles_per_finding: 2 classes in 20 styles are 40 synthetic patients")
    (again,) = broken(policy(**data, archive={"images": 60, "images_per_patient": 2}))
    assert "the archive has 30" in again

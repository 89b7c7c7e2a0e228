"""Which settings name a place, and that every free text of a policy was judged."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from synthrelease.policy.places import places
from synthrelease.policy.schema import Policy

NAMES_A_PLACE = {
    *("cohort.source", "cohort.label.csv", "audit.profile"),
    *("UmGenerator.public_images", "PgganGenerator.guide"),
}
WORDS_OF_PEOPLE = {
    *("purpose", "sharing.recipients", "sharing.agreement", "archive.license", "release.contact"),
    *("cohort.label.column", "cohort.label.attribute", "cohort.label.separator"),
}
"""Texts that are no place, and of which the extract withholds what looks like one."""


def policy(*, source: str = "phantom", audit: dict[str, Any] | None = None, **generator: Any) -> Policy:
    return Policy.model_validate(
        {
            "schema": 1,
            "purpose": "test",
            "sharing": {"tier": "internal"},
            "roles": {"operator": "Olga", "custodian": "Carl"},
            "cohort": {"name": "a", "source": source, "classes": ["one"], "segments": ["lung"]},
            "privacy": {"mode": "none"},
            "generator": {"name": "moments", **generator},
            "audit": audit or {},
        },
        strict=False,
    )


def free_texts(schema: dict[str, Any], at: dict[str, Any], path: str = "") -> Iterator[str]:
    """Settings that hold any text at all: neither words of a list nor of a pattern."""
    if "$ref" in at:
        name = at["$ref"].rsplit("/", 1)[-1]
        yield from free_texts(schema, schema["$defs"][name], name if name.endswith("Generator") else path)
    for part in (*at.get("anyOf", ()), *at.get("oneOf", ()), *([at["items"]] if "items" in at else [])):
        yield from free_texts(schema, part, path)
    for name, part in at.get("properties", {}).items():
        yield from free_texts(schema, part, f"{path}.{name}".lstrip("."))
    if at.get("type") == "string" and not {"enum", "const", "pattern"} & at.keys():
        yield path


def test_every_free_text_of_a_policy_is_known_to_be_a_place_or_none() -> None:
    schema = Policy.model_json_schema()
    assert set(free_texts(schema, schema)) == NAMES_A_PLACE | WORDS_OF_PEOPLE


@pytest.mark.parametrize(
    ("profile", "is_place"),
    [("standard", False), ("standard.yaml", True), ("audits/own", True), (r"C:\own", True), ("https://a/b", True)],
)
def test_only_a_bare_name_is_a_profile_that_was_shipped(profile: str, is_place: bool) -> None:
    assert (("audit", "profile") in places(policy(audit={"profile": profile}))) is is_place


def test_a_setting_that_takes_things_from_elsewhere_is_a_place_and_its_words_are_none() -> None:
    assert places(policy(source="/a")) == {("cohort", "source"): "/a"}
    assert places(policy(name="um", guidance="public", public_images="b.npy")) == {
        ("generator", "public_images"): "b.npy"
    }
    assert places(policy(name="pggan", guide="runs/c")) == {("generator", "guide"): "runs/c"}
    for given in (policy(), policy(name="um"), policy(name="pggan"), policy(name="pggan", guide="moments")):
        assert places(given) == {}

"""Which settings name a place on somebody's machine: none of them leaves the house."""

from __future__ import annotations

from typing import Any

from synthrelease.policy.generators import PgganGenerator, UmGenerator
from synthrelease.policy.schema import Policy

Setting = tuple[str, ...]

OWN_GUIDES = ("trained", "moments")
"""The guides that a run makes itself; anything else is the folder of a run whose guide is taken."""


def places(policy: Policy) -> dict[Setting, str]:
    """Every place that the policy names, by its setting.

    Only a bare name is an audit profile that was shipped; all else may be a file.
    """
    generator, profile = policy.generator, policy.audit.profile
    found: dict[Setting, str | None] = {("cohort", "label", "csv"): policy.cohort.label.csv}
    if policy.cohort.source != "phantom":
        found["cohort", "source"] = policy.cohort.source
    if isinstance(generator, UmGenerator):
        found["generator", "public_images"] = generator.public_images
    if isinstance(generator, PgganGenerator) and generator.guide not in OWN_GUIDES:
        found["generator", "guide"] = generator.guide
    if any(mark in profile for mark in "/\\.:"):
        found["audit", "profile"] = profile
    return {setting: place for setting, place in found.items() if place is not None}


def replaced(values: dict[str, Any], setting: Setting, word: str) -> dict[str, Any]:
    """A copy of nested values with a word at one setting; the rest is shared with the original."""
    name, *rest = setting
    return {**values, name: replaced(values[name], tuple(rest), word) if rest else word}

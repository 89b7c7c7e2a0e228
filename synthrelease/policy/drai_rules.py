"""Rules of the generator that parts content from style, each a named function with its reason."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType

from synthrelease.policy.generators import Aspect, DraiGenerator, Transform
from synthrelease.policy.schema import Policy
from synthrelease.policy.strict_yaml import Path

Breach = tuple[Path, str]
Rule = Callable[[Policy], Iterator[Breach]]

CHANGES: Mapping[Transform, tuple[Aspect, ...]] = MappingProxyType(
    {
        "rotate": ("angle",),
        "shift": ("position",),
        "zoom": ("size",),
        "exposure": ("grey",),
        "mirror": ("side",),
        "upside_down": ("side", "upright"),
        "quarter_turn": ("upright", "angle"),
    }
)
"""What a transform changes. Turned upside down without being turned, a picture is also mirrored."""

WITH_SIDES = ("CHEST", "ABDOMEN", "HEART")
"""Body parts whose two sides and two ends differ inside: mirrored, they show another person's anatomy."""


def told_by(policy: Policy) -> Mapping[Aspect, str]:
    """What content tells of in this cohort, and why: as the policy says, and as the body part implies."""
    generator = policy.generator
    assert isinstance(generator, DraiGenerator)
    told: dict[Aspect, str] = dict.fromkeys(generator.label_tells, "generator.label_tells names it")
    part = next((part for part in WITH_SIDES if part in policy.cohort.body_part.split()), None)
    if part is not None:
        told.setdefault("side", f"the sides of the {part.lower()} are not alike")
        told.setdefault("upright", f"the {part.lower()} has an upper and a lower end")
    return told


def transforms_keep_the_label(policy: Policy) -> Iterator[Breach]:
    """Self-supervision calls content whatever the transforms leave as it is: what changes the label would be style then."""
    generator = policy.generator
    if not isinstance(generator, DraiGenerator):
        return
    told = told_by(policy)
    for index, name in enumerate(generator.transforms):
        path = ("generator", "transforms", index)
        if name in generator.transforms[:index]:
            yield path, f"'{name}' is listed twice"
        for aspect in CHANGES[name]:
            if aspect in told:
                yield path, f"'{name}' changes the {aspect}, which is content here: {told[aspect]}; leave it out"


def self_supervision_has_a_transform(policy: Policy) -> Iterator[Breach]:
    """Under no transform nothing could be unlike."""
    generator = policy.generator
    if isinstance(generator, DraiGenerator) and generator.self_supervision_weight and not generator.transforms:
        yield (
            ("generator", "transforms"),
            "self-supervision needs one at least; or set generator.self_supervision_weight: 0",
        )


def the_penalty_is_no_part_of_a_patients_loss(policy: Policy) -> Iterator[Breach]:
    """Of real images the penalty is taken on the first rows of a batch, for all of it: rows are then treated unlike."""
    generator = policy.generator
    if policy.privacy.mode != "private" or not isinstance(generator, DraiGenerator):
        return
    if generator.penalty_weight and generator.penalty_on == "real":
        yield (
            ("generator", "penalty_on"),
            "must be generated when privacy.mode is private: of real images the penalty is taken on some of a batch only",
        )


RULES: tuple[Rule, ...] = (
    transforms_keep_the_label,
    self_supervision_has_a_transform,
    the_penalty_is_no_part_of_a_patients_loss,
)

"""Rules of transforms in training, each a named function with its reason."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType

from synthrelease.policy.generators import Aspect, DraiGenerator, Transform, UmGenerator
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

WITH_SIDES = ("CHEST", "THORAX", "LUNG", "HEART", "ABDOMEN")
"""Body parts whose two sides and two ends differ inside: mirrored, they show another person's anatomy.

Terms of several parts are written without a space (CHESTABDOMEN), so these are looked for within a term. Of others nothing
is known here: a policy says it under ``label_tells``.
"""
SIDES = ("left", "right")


def told_by(policy: Policy) -> Mapping[Aspect, str]:
    """What classes and masks tell of in this cohort, and why: as the policy says, and as segments and body part imply."""
    generator = policy.generator
    assert isinstance(generator, DraiGenerator | UmGenerator)
    told: dict[Aspect, str] = dict.fromkeys(generator.label_tells, "generator.label_tells names it")
    sided = next((name for name in policy.cohort.segments if not set(SIDES).isdisjoint(name.split("_"))), None)
    if sided is not None:
        told.setdefault("side", f"the segment '{sided}' is of one side")
    part = next((part for part in WITH_SIDES if part in policy.cohort.body_part), None)
    if part is not None:
        told.setdefault("side", f"the sides of the {part.lower()} are not alike")
        told.setdefault("upright", f"the {part.lower()} has an upper and a lower end")
    return told


def transforms_keep_the_label(policy: Policy) -> Iterator[Breach]:
    """A transformed picture is taken for one of its class: what changes the class would be unlearned, or called style."""
    generator = policy.generator
    if not isinstance(generator, DraiGenerator | UmGenerator):
        return
    told = told_by(policy)
    for index, name in enumerate(generator.transforms):
        path = ("generator", "transforms", index)
        if name in generator.transforms[:index]:
            yield path, f"'{name}' is listed twice"
        for aspect in CHANGES[name]:
            if aspect in told:
                what = f"'{name}' changes the {aspect}, which classes or masks tell of"
                yield path, f"{what}: {told[aspect]}; leave it out"


RULES: tuple[Rule, ...] = (transforms_keep_the_label,)

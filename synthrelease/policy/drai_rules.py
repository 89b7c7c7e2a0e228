"""Rules of the generator that parts content from style, each a named function with its reason."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from synthrelease.policy.generators import DraiGenerator
from synthrelease.policy.schema import Policy
from synthrelease.policy.strict_yaml import Path

Breach = tuple[Path, str]
Rule = Callable[[Policy], Iterator[Breach]]


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
    self_supervision_has_a_transform,
    the_penalty_is_no_part_of_a_patients_loss,
)

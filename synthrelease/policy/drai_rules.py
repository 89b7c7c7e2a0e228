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


def every_class_is_drawn_in_every_style(policy: Policy) -> Iterator[Breach]:
    """What is promised of the archive's styles must fit into it."""
    generator = policy.generator
    if not isinstance(generator, DraiGenerator) or generator.styles_per_finding is None:
        return
    wanted, archive = len(policy.cohort.classes) * generator.styles_per_finding, policy.archive
    patients = archive.images // archive.images_per_patient
    if patients < wanted:
        yield (
            ("generator", "styles_per_finding"),
            f"{len(policy.cohort.classes)} classes in {generator.styles_per_finding} styles are {wanted} synthetic patients, and "
            f"the archive has {patients}; raise archive.images or ask for fewer styles",
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
    every_class_is_drawn_in_every_style,
    the_penalty_is_no_part_of_a_patients_loss,
)

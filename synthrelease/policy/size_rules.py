"""Rules of the size of images, each a named function with its reason."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from synthrelease.policy.generators import PgganGenerator
from synthrelease.policy.schema import Policy
from synthrelease.policy.strict_yaml import Path

Breach = tuple[Path, str]
Rule = Callable[[Policy], Iterator[Breach]]

LARGEST = 128
"""Pixels a side that every generator takes."""


def large_images_are_grown(policy: Policy) -> Iterator[Breach]:
    """Other generators paint at full size from the first step on, and were neither built nor measured for large images."""
    resolution, name = policy.cohort.resolution, policy.generator.name
    if resolution > LARGEST and not isinstance(policy.generator, PgganGenerator):
        yield (
            ("cohort", "resolution"),
            f"{resolution} px need a generator that grows to them, and '{name}' does not: use generator.name: pggan, or "
            f"at most {LARGEST} px",
        )


RULES: tuple[Rule, ...] = (large_images_are_grown,)

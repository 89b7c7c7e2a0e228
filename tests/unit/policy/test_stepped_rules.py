"""A generator that takes gradient steps takes some, learns its guide from something, and reads one patient at a time."""

from __future__ import annotations

from typing import Any

import pytest

from synthrelease.policy.rules import breaches
from synthrelease.policy.schema import Policy

PRIVATE = {"mode": "private", "epsilon": 8, "delta": 1e-5, "expected_patients": 500}
PLAIN = {"mode": "none"}
ALONE = {"steps": 0, "moments_share": 1}
"""Of privacy: the moments get all of the budget."""


def broken(privacy: dict[str, Any], **generator: Any) -> list[str]:
    """What the rules say of a policy that is good but for these settings."""
    given = Policy.model_validate(
        {
            "schema": 1,
            "purpose": "test",
            "sharing": {"tier": "internal"},
            "roles": {"operator": "Olga", "custodian": "Carl"},
            "cohort": {"name": "a", "source": "x", "classes": ["one", "other"]},
            "privacy": privacy,
            "generator": generator,
        },
        strict=False,
    )
    return [f"{'.'.join(map(str, path))}: {what}" for path, what in breaches(given)]


def test_a_private_critic_does_not_see_how_much_a_batch_varies() -> None:
    (found,) = broken(PRIVATE, name="pggan", minibatch_stddev=True)
    assert found.startswith("generator.minibatch_stddev: must be false when privacy.mode is private: it mixes")
    assert broken(PRIVATE, name="pggan", minibatch_stddev=False) == []
    assert broken(PLAIN, name="pggan", minibatch_stddev=True) == []


def test_a_guide_of_moments_needs_a_claim_whose_moments_are_sampled() -> None:
    assert broken(PLAIN, name="pggan", guide="moments") == [
        "generator.guide: moments belongs to privacy.mode: private; use trained"
    ]
    assert broken(PRIVATE, name="pggan", guide="moments", minibatch_stddev=False) == []
    assert broken(PLAIN, name="pggan", guide="trained") == []


STEPPED = [
    {"name": "diffusion"},
    {"name": "pggan", "minibatch_stddev": False},
    {"name": "drai", "penalty_on": "generated"},
    {"name": "um"},
]


@pytest.mark.parametrize("generator", STEPPED, ids=lambda generator: str(generator["name"]))
def test_a_generator_that_would_take_no_step_is_refused(generator: dict[str, Any]) -> None:
    (found,) = broken(PLAIN, **generator, steps=0)
    assert found.startswith("generator.steps: must be above 0: nothing else trains this generator")
    assert "generator.name: moments" in found
    (found,) = broken({**PRIVATE, **ALONE}, **generator, warmup_steps=0)
    assert found.startswith("generator.warmup_steps: must be above 0")


@pytest.mark.parametrize("generator", STEPPED, ids=lambda generator: str(generator["name"]))
def test_one_step_of_any_kind_is_enough_and_the_moments_need_none(generator: dict[str, Any]) -> None:
    assert broken(PLAIN, **generator, steps=1) == []
    assert broken({**PRIVATE, **ALONE}, **generator, warmup_steps=1, steps=0) == []
    assert broken(PRIVATE, **generator, warmup_steps=0, steps=0) == []
    assert broken(PLAIN, name="moments") == []
    assert broken({**PRIVATE, **ALONE}, name="moments") == []

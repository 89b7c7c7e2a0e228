"""Maps of real images stay in the house, and maps are taken of something."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from synthrelease.policy import transform_rules
from synthrelease.policy.schema import Policy
from synthrelease.policy.um_rules import RULES

PRIVATE = {"mode": "private", "epsilon": 8, "delta": 1e-5, "expected_patients": 500}


def policy(
    *, tier: str = "internal", private: bool = False, cohort: dict[str, Any] | None = None, **generator: Any
) -> Policy:
    return Policy.model_validate(
        {
            "schema": 1,
            "purpose": "test",
            "sharing": {"tier": tier},
            "roles": {"operator": "Olga", "custodian": "Carl"},
            "cohort": {"name": "a", "source": "x", "classes": ["one"], "segments": ["lung"], **(cohort or {})},
            "privacy": PRIVATE if private else {"mode": "none"},
            "generator": {"name": "um", **generator},
        },
        strict=False,
    )


def broken(given: Policy) -> list[str]:
    return [f"{'.'.join(map(str, path))}: {what}" for rule in RULES for path, what in rule(given)]


@pytest.mark.parametrize("private", [True, False])
@pytest.mark.parametrize("guidance", ["generated", "procedural"])
def test_maps_that_hold_nothing_real_may_leave(guidance: str, private: bool) -> None:
    assert broken(policy(tier="registered", private=private, guidance=guidance)) == []


def test_a_chest_is_not_mirrored_in_its_lessons_and_a_brain_may_be() -> None:
    (found,) = [
        f"{'.'.join(map(str, path))}: {what}"
        for rule in transform_rules.RULES
        for path, what in rule(policy(transforms=["shift", "mirror"], cohort={"body_part": "CHEST"}))
    ]
    assert found.startswith("generator.transforms.1: 'mirror' changes the side")
    allowed = policy(transforms=["mirror"], cohort={"body_part": "BRAIN"})
    assert not [breach for rule in transform_rules.RULES for breach in rule(allowed)]


def moved(transforms: list[str], body_part: str, segments: list[str]) -> list[str]:
    given = policy(transforms=transforms, cohort={"body_part": body_part, "segments": segments})
    return [what for rule in transform_rules.RULES for _, what in rule(given)]


@pytest.mark.parametrize("transform", ["mirror", "upside_down"])
@pytest.mark.parametrize("segment", ["left_hand", "kidney_right", "right"])
def test_a_mask_of_one_side_would_become_that_of_the_other(segment: str, transform: str) -> None:
    (found,) = moved([transform], "HAND", ["bone", segment])
    assert found.startswith(f"'{transform}' changes the side")
    assert f"the segment '{segment}' is of one side" in found


def test_a_mask_of_one_side_may_be_moved_and_a_name_that_holds_a_side_in_a_word_has_none() -> None:
    assert moved(["shift", "rotate"], "HAND", ["left_hand"]) == []
    assert moved(["mirror"], "HAND", ["cleft", "bright_spot", "leftover"]) == []


def test_real_maps_void_a_claim() -> None:
    (found,) = broken(policy(private=True, guidance="real"))
    assert found.startswith("generator.guidance: real maps void the claim")


@pytest.mark.parametrize("tier", ["open", "registered", "controlled"])
def test_real_maps_stay_in_the_house_even_without_a_claim(tier: str) -> None:
    (found,) = broken(policy(tier=tier, guidance="real"))
    assert "real maps need sharing.tier: internal" in found


def test_real_maps_may_be_looked_at_in_the_house() -> None:
    assert broken(policy(guidance="real")) == []


def test_public_maps_need_images_and_others_take_none() -> None:
    assert "needed when generator.guidance is public" in broken(policy(guidance="public"))[0]
    assert broken(policy(guidance="public", public_images="atlas.npy")) == []
    assert "belongs to guidance: public" in broken(policy(public_images="atlas.npy"))[0]


def test_a_share_of_masks_needs_masks() -> None:
    assert broken(policy(labelled_share=0.1)) == []
    assert "names no segments" in broken(policy(labelled_share=0.1, cohort={"segments": []}))[0]


def test_superpixels_of_a_pixel_or_two_are_refused() -> None:
    assert broken(policy(superpixels=256, cohort={"resolution": 32})) == []
    assert "at most a fourth of the pixels (64)" in broken(policy(cohort={"resolution": 16}))[0]


def test_a_share_of_none_or_more_than_all_is_no_share() -> None:
    for share in (0.0, 1.1):
        with pytest.raises(ValidationError):
            policy(labelled_share=share)

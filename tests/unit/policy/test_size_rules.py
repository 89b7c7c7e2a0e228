"""Images above 128 pixels a side: for the generator that grows to them, and for no other."""

from __future__ import annotations

from pathlib import Path

import pytest

from synthrelease.errors import PolicyError
from synthrelease.policy.loader import load_policy, problems_of

TEXT = """\
schema: 1
purpose: test
sharing: {tier: internal}
roles: {operator: Olga, custodian: Carl}
cohort: {name: chest, classes: [normal, nodule], segments: [heart], resolution: SIZE}
privacy: {mode: none}
generator: {name: GENERATOR}
"""


def problems(generator: str, size: int) -> list[str]:
    return [str(each) for each in problems_of(TEXT.replace("SIZE", str(size)).replace("GENERATOR", generator))[1]]


@pytest.mark.parametrize("size", [256, 512, 1024])
def test_the_progressive_generator_takes_large_images(size: int) -> None:
    assert problems("pggan", size) == []


@pytest.mark.parametrize("size", [256, 512, 1024])
@pytest.mark.parametrize("generator", ["moments", "diffusion", "drai", "um"])
def test_no_other_generator_does_and_the_remedy_is_told(generator: str, size: int) -> None:
    (found,) = problems(generator, size)
    assert found.startswith("5:81: cohort.resolution: ")
    assert f"'{generator}' does not: use generator.name: pggan, or at most 128 px" in found


@pytest.mark.parametrize("generator", ["moments", "diffusion", "pggan", "drai", "um"])
def test_every_generator_takes_128_pixels(generator: str) -> None:
    assert problems(generator, 128) == []


def test_a_file_that_asks_for_it_is_a_policy_error(tmp_path: Path) -> None:
    path = tmp_path / "large.yaml"
    path.write_text(TEXT.replace("SIZE", "1024").replace("GENERATOR", "moments"), encoding="utf-8")
    with pytest.raises(PolicyError, match="generator that grows"):
        load_policy(path)

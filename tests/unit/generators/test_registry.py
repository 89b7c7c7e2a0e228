"""A generator comes back from disk as it was kept, or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from synthrelease.errors import IntegrityError
from synthrelease.generators.protocol import Spec
from synthrelease.generators.registry import GENERATORS, MANIFEST, WEIGHTS, build, load_generator, save_generator
from synthrelease.policy.generators import (
    DiffusionGenerator,
    DraiGenerator,
    GeneratorSettings,
    LatentClass,
    MomentsGenerator,
    PgganGenerator,
    UmGenerator,
)

SPEC = Spec(resolution=16, classes=2, segments=1)
EVERY: list[GeneratorSettings] = [
    MomentsGenerator(name="moments", image_frequencies=5, mask_frequencies=4),
    DiffusionGenerator(name="diffusion", width=8, sampler_steps=2, seed=3),
    PgganGenerator(name="pggan", width=8, latent=8, lco=LatentClass(steps=2, restarts=1), seed=3),
    DraiGenerator(name="drai", width=8, style=4, content=4, seed=3),
    UmGenerator(name="um", width=8, latent=4, superpixels=36, seed=3),
]


def test_every_setting_of_the_policy_names_a_generator() -> None:
    assert [entry.name for entry in GENERATORS] == [settings.name for settings in EVERY]


@pytest.mark.parametrize("settings", EVERY, ids=lambda s: s.name)
def test_a_kept_generator_samples_bit_equal(settings: GeneratorSettings, tmp_path: Path) -> None:
    generator = build(settings, SPEC)
    save_generator(tmp_path / "checkpoint", generator, settings)
    again = load_generator(tmp_path / "checkpoint")

    labels = torch.tensor([0, 1, 1])
    first, second = (g.sample(labels, torch.Generator().manual_seed(1)) for g in (generator, again))
    assert again.spec == SPEC
    assert torch.equal(first.images, second.images)
    assert torch.equal(first.masks, second.masks)


@pytest.mark.parametrize("name", [WEIGHTS, MANIFEST])
def test_a_missing_file_is_refused(name: str, tmp_path: Path) -> None:
    save_generator(tmp_path, build(EVERY[0], SPEC), EVERY[0])
    (tmp_path / name).unlink()
    with pytest.raises(IntegrityError, match="missing"):
        load_generator(tmp_path)


def test_one_changed_byte_is_refused(tmp_path: Path) -> None:
    save_generator(tmp_path, build(EVERY[0], SPEC), EVERY[0])
    content = bytearray((tmp_path / WEIGHTS).read_bytes())
    content[-1] ^= 1
    (tmp_path / WEIGHTS).write_bytes(bytes(content))
    with pytest.raises(IntegrityError, match="is not the file"):
        load_generator(tmp_path)


@pytest.mark.parametrize("text", ["[]", "{}", '{"settings": {"name": "wizard"}, "spec": {}, "tensors": ""}'])
def test_a_manifest_that_describes_no_generator_is_refused(text: str, tmp_path: Path) -> None:
    save_generator(tmp_path, build(EVERY[0], SPEC), EVERY[0])
    (tmp_path / MANIFEST).write_text(text)
    with pytest.raises(IntegrityError, match="does not describe"):
        load_generator(tmp_path)

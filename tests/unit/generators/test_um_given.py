"""Maps that are given: each serves a class once, whatever the parts that an archive is drawn in, and few are made at once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from synthrelease.archive.sampler import generated_samples, label_draw
from synthrelease.errors import UnsuitableData
from synthrelease.generators.protocol import Spec, Stocked
from synthrelease.generators.um.given import ANY, dealt, refuse_repeats
from synthrelease.generators.um.guidance import Guidance
from synthrelease.generators.um.model import CHUNK, UmGenerator
from synthrelease.policy.generators import UmGenerator as Settings

SPEC = Spec(resolution=16, classes=2, segments=1)


def generator(guidance: str, maps: int = 0, labels: Tensor | None = None) -> UmGenerator:
    values: dict[str, Any] = {"name": "um", "width": 8, "latent": 6, "superpixels": 36, "guidance": guidance}
    made = UmGenerator(SPEC, Settings.model_validate(values))
    if maps:
        made.give_maps(pictures(maps), labels)
    return made


def pictures(size: int, side: int = 16) -> Tensor:
    return 2 * torch.rand(size, 1, side, side, generator=torch.Generator().manual_seed(size)) - 1


@pytest.mark.parametrize("each", [1, 3])
@pytest.mark.parametrize("guidance", ["public", "real"])
def test_no_image_of_an_archive_is_another_one(guidance: str, each: int) -> None:
    """Two shards and a bit, as many images of each class as there are maps for it, or one fewer."""
    labels = label_draw(("a", "b"), None, 150, seed=2, images_per_patient=each)
    counts = np.bincount(labels)
    own = torch.from_numpy(np.repeat([0, 1], counts))
    painting = generator(guidance, len(own), own) if guidance == "real" else generator(guidance, int(counts.max()))
    samples = generated_samples(painting, labels, 4, edition="e", images_per_patient=each)
    images = np.concatenate([samples.draw(shard).images for shard in (2, 0, 1)])
    assert len(images) == 150
    assert len(np.unique(images, axis=0)) == 150


def test_maps_follow_from_the_place_in_the_archive_and_from_its_seed() -> None:
    painting = generator("public", 40)
    labels = torch.tensor([0, 1] * 8)
    numbers = torch.arange(16) // 2
    whole, other = (painting.sample_numbered(labels, numbers, torch.Generator(), seed=seed).images for seed in (1, 2))
    part = painting.sample_numbered(labels[5:9], numbers[5:9], torch.Generator().manual_seed(9), seed=1).images
    torch.testing.assert_close(part, whole[5:9])
    assert not torch.equal(whole, other)


def test_where_there_are_maps_enough_none_serves_two_classes() -> None:
    labels, numbers = torch.arange(3).repeat(10), torch.arange(10).repeat_interleave(3)
    chosen = dealt(torch.full((30,), ANY), labels, numbers, classes=3, seed=0)
    assert len(chosen.unique()) == 30
    crowded = dealt(torch.full((10,), ANY), labels, numbers, classes=3, seed=0)
    for label in range(3):
        assert len(crowded[labels == label].unique()) == 10


def test_a_map_of_a_class_serves_that_class() -> None:
    own = torch.tensor([0, 1, ANY, 1, 0, 1])
    labels = torch.tensor([1, 0, 1, 0, 1, 0, 1])
    chosen = dealt(own, labels, torch.tensor([0, 0, 1, 1, 2, 2, 3]), classes=2, seed=0)
    for label, fitting in ((0, {0, 2, 4}), (1, {1, 2, 3, 5})):
        assert set(chosen[labels == label].tolist()) == fitting


def test_images_beyond_the_maps_are_refused_before_any_is_painted() -> None:
    labels = label_draw(("a", "b"), None, 12, seed=0)
    with pytest.raises(UnsuitableData, match="6 images of class 0 are wanted, and fewer maps fit it"):
        generated_samples(generator("public", 5), labels, 0, edition="e")
    generated_samples(generator("public", 6), labels, 0, edition="e")


def test_one_call_paints_no_map_of_a_class_twice_and_refuses_where_it_would() -> None:
    painting = generator("public", 5)
    rng = torch.Generator().manual_seed(0)
    assert len(torch.unique(painting.sample(torch.zeros(5, dtype=torch.int64), rng).images, dim=0)) == 5
    with pytest.raises(UnsuitableData, match="6 images of class 1 are wanted"):
        painting.sample(torch.ones(6, dtype=torch.int64), rng)


def test_a_class_without_a_map_is_refused_only_where_it_is_wanted() -> None:
    refuse_repeats(torch.zeros(4, dtype=torch.int64), [4, 0])
    with pytest.raises(UnsuitableData, match="no map was given for class 1"):
        refuse_repeats(torch.zeros(4, dtype=torch.int64), [0, 1])


@pytest.mark.parametrize("guidance", ["generated", "procedural"])
def test_maps_that_are_made_never_run_out_and_are_those_of_plain_sampling(guidance: str) -> None:
    painting = generator(guidance)
    assert isinstance(painting, Stocked)
    painting.refuse_repeats([10**9, 10**9])
    labels = torch.tensor([0, 1, 1])
    one = painting.sample(labels, torch.Generator().manual_seed(3))
    other = painting.sample_numbered(labels, torch.tensor([0, 0, 1]), torch.Generator().manual_seed(3), seed=8)
    assert torch.equal(one.images, other.images)
    assert torch.equal(one.masks, other.masks)


@pytest.mark.parametrize("side", [16, 24])
def test_maps_of_many_images_are_made_a_few_at_a_time_and_are_the_same(
    side: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = pictures(2 * CHUNK + 3, side)
    at_size = given if side == 16 else torch.nn.functional.interpolate(given, size=(16, 16), mode="area")
    painting = generator("public")
    together = painting.guidance.of(at_size)
    blocks: list[int] = []
    of = Guidance.of

    def counted(self: Guidance, images: Tensor) -> Tensor:
        blocks.append(len(images))
        return of(self, images)

    monkeypatch.setattr(Guidance, "of", counted)
    painting.give_maps(given)
    assert max(blocks) == CHUNK
    assert torch.equal(painting.maps, together)

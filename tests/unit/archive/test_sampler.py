"""Samples follow public shares, are drawn again bit-equal, and need nothing but a generator."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from synthrelease.archive.sampler import generated_samples, label_draw
from synthrelease.archive.samples import shard_size
from synthrelease.errors import UsageError
from synthrelease.generators.protocol import Spec
from synthrelease.generators.registry import build
from synthrelease.policy.generators import DiffusionGenerator

RECIPE = [0, 1, 0, 0, 2, 1, 2, 0]
CLASSES = ("normal", "nodule", "effusion")


@given(st.integers(1, 500), st.lists(st.integers(0, 10), min_size=3, max_size=3).filter(any))
def test_counts_are_the_public_shares_to_within_one(images: int, weights: list[int]) -> None:
    shares = {name: weight / sum(weights) for name, weight in zip(CLASSES, weights, strict=True)}
    counts = np.bincount(label_draw(CLASSES, shares, images, seed=1), minlength=3)
    assert counts.sum() == images
    assert np.abs(counts - images * np.array(list(shares.values()))).max() < 1


def test_without_shares_every_class_gets_the_same() -> None:
    assert np.bincount(label_draw(CLASSES, None, 9, seed=0)).tolist() == [3, 3, 3]


@pytest.fixture(scope="module")
def generator() -> object:
    settings = DiffusionGenerator.model_validate({"name": "diffusion", "width": 16, "sampler_steps": 2})
    return build(settings, Spec(resolution=16, classes=3, segments=2))


def test_the_labels_of_one_image_a_patient_are_written_down() -> None:
    """A change of the recipe would change every archive."""
    assert label_draw(("a", "b", "c"), {"a": 0.5, "b": 0.25, "c": 0.25}, 8, seed=5).tolist() == RECIPE


@given(st.integers(1, 400), st.integers(1, 99), st.integers(0, 5))
def test_all_images_of_a_patient_have_one_class_and_patients_keep_the_shares(
    images: int, a_patient: int, seed: int
) -> None:
    labels = label_draw(CLASSES, None, images, seed, a_patient)
    assert len(labels) == images
    patients = [labels[start : start + a_patient] for start in range(0, images, a_patient)]
    assert all(len(set(each.tolist())) == 1 for each in patients)
    counts = np.bincount([each[0] for each in patients], minlength=3)
    assert np.abs(counts - len(patients) / 3).max() < 1


def test_more_classes_than_a_byte_can_name_are_refused() -> None:
    with pytest.raises(UsageError, match="257 classes"):
        label_draw([str(number) for number in range(257)], None, 1, 0)


def test_the_same_seed_draws_the_same_images_and_another_seed_others(generator: object) -> None:
    labels = label_draw(CLASSES, None, shard_size(1) + 5, seed=0)
    first, again, other = (generated_samples(generator, labels, seed, edition="e") for seed in (4, 4, 5))  # type: ignore[arg-type]
    assert first.digest == again.digest != other.digest
    drawn = [first.draw(shard) for shard in (0, 1)]
    assert [len(batch.labels) for batch in drawn] == [shard_size(1), 5]
    # Any shard alone, in any order.
    for shard in (1, 0):
        one, two, three = drawn[shard], again.draw(shard), other.draw(shard)
        np.testing.assert_array_equal(one.images, two.images)
        np.testing.assert_array_equal(one.masks, two.masks)
        assert not np.array_equal(one.images, three.images)
    assert not np.array_equal(drawn[0].images[:5], drawn[1].images)


def test_another_generator_label_or_shard_size_is_another_source(generator: object) -> None:
    labels = label_draw(CLASSES, None, 6, seed=0)
    sources = [
        generated_samples(generator, labels, 1, edition="e"),  # type: ignore[arg-type]
        generated_samples(generator, labels, 1, edition="f"),  # type: ignore[arg-type]
        generated_samples(generator, labels[::-1].copy(), 1, edition="e"),  # type: ignore[arg-type]
        generated_samples(generator, labels, 1, edition="e", images_per_patient=3),  # type: ignore[arg-type]
    ]
    assert len({source.digest for source in sources}) == 4


def test_sampling_leaves_the_global_random_state_alone(generator: object) -> None:
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    generated_samples(generator, np.zeros(2, dtype=np.uint8), 0, edition="e").draw(0)  # type: ignore[arg-type]
    assert torch.equal(torch.rand(3), expected)

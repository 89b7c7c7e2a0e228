"""Samples follow public shares, are drawn again bit-equal, and need nothing but a generator."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from synthrelease.archive.sampler import BATCH, draw_samples, label_draw
from synthrelease.generators.protocol import Spec
from synthrelease.generators.registry import build
from synthrelease.policy.schema import DiffusionGenerator

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


def test_the_same_seed_draws_the_same_images_and_another_seed_others(generator: object) -> None:
    labels = label_draw(CLASSES, None, BATCH + 5, seed=0)
    first, again, other = (list(draw_samples(generator, labels, seed)) for seed in (4, 4, 5))  # type: ignore[arg-type]
    assert [len(batch.labels) for batch in first] == [BATCH, 5]
    for one, two, three in zip(first, again, other, strict=True):
        np.testing.assert_array_equal(one.images, two.images)
        np.testing.assert_array_equal(one.masks, two.masks)
        assert not np.array_equal(one.images, three.images)
    assert not np.array_equal(first[0].images[:5], first[1].images)


def test_sampling_leaves_the_global_random_state_alone(generator: object) -> None:
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    next(iter(draw_samples(generator, np.zeros(2, dtype=np.int64), 0)))  # type: ignore[arg-type]
    assert torch.equal(torch.rand(3), expected)

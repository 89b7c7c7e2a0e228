"""Fitting: losses fall, a killed fit ends with the same weights, and only a batch of images is in memory."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from synthrelease.errors import IntegrityError, UnsuitableData
from synthrelease.features.uld import fitting
from synthrelease.features.uld.fitting import Recipe, fit, seeded
from synthrelease.features.uld.objectives import objective
from synthrelease.features.uld.sources import ArraySource, StoreSource
from synthrelease.records.progress import Silent

SMALL = Recipe(side=16, cells=4, batch=4, steps=3, region_steps=3, clusters=3)
PAPER = Recipe.paper(steps=3, region_steps=3, side=16, cells=4, batch=4, clusters=3)


def blobs(count=12, side=16, seed=0):
    """Soft blobs at places of their own: (N, 1, side, side) in [-1, 1]."""
    rng = np.random.default_rng(seed)
    axis = np.arange(side)
    images = np.zeros((count, side, side))
    for _ in range(4):
        y, x, width = rng.uniform(0, side, (3, count, 1, 1))
        images += np.exp(-((axis[:, None] - y) ** 2 + (axis - x) ** 2) / (2 * (1 + 0.15 * width) ** 2))
    return (np.clip(images, 0, 1) * 2 - 1)[:, None].astype(np.float32)


class Heard(Silent):
    """What a stage told."""

    def __init__(self):
        self.stages, self.facts, self.notes = [], [], []

    def stage(self, name, total=None):
        self.stages.append((name, total))

    def step(self, done, facts=""):
        self.facts.append(facts)

    def note(self, text):
        self.notes.append(text)


class Killed(ArraySource):
    """Stops the process, as it were, when it is asked for images the ``at``-th time."""

    def __init__(self, images, at):
        super().__init__(images)
        self.at = at

    def take(self, rows):
        self.at -= 1
        if self.at < 0:
            raise KeyboardInterrupt
        return super().take(rows)


def same(one, other):
    return all(torch.equal(one.state_dict()[name], value) for name, value in other.state_dict().items())


@pytest.mark.parametrize(("recipe", "at"), [(SMALL, 1), (SMALL, 3), (SMALL, 4), (SMALL, 6), (PAPER, 5)])
def test_a_fit_that_was_killed_and_goes_on_ends_with_the_same_weights(recipe, at, tmp_path, monkeypatch):
    monkeypatch.setattr(fitting, "KEEP_EVERY_S", 0.0)
    whole = fit(ArraySource(blobs()), recipe)
    state = tmp_path / "state.safetensors"
    with pytest.raises(KeyboardInterrupt):
        fit(Killed(blobs(), at), recipe, state=state)
    assert state.exists() == (at > 1)
    heard = Heard()
    assert same(fit(ArraySource(blobs()), recipe, state=state, progress=heard), whole)
    assert len(heard.facts) == 6 - (at - 1)  # one take tells the source, one each step
    assert same(fit(ArraySource(blobs()), recipe, state=state), whole)


def test_equal_seeds_give_equal_weights_and_other_seeds_others():
    one = fit(ArraySource(blobs()), Recipe(side=16, cells=4, steps=2))
    assert same(one, fit(ArraySource(blobs()), Recipe(side=16, cells=4, steps=2)))
    assert not same(one, fit(ArraySource(blobs()), Recipe(side=16, cells=4, steps=2, seed=1)))
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    fit(ArraySource(blobs()), Recipe(side=16, cells=4, steps=1))
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("change", ["recipe", "source", "bytes", "weights"])
def test_a_state_of_another_fit_or_a_damaged_one_is_refused(change, tmp_path):
    state = tmp_path / "state.safetensors"
    fit(ArraySource(blobs()), SMALL, state=state)
    images, recipe = blobs(), SMALL
    if change == "recipe":
        recipe = Recipe(side=16, cells=4, batch=4, steps=4, region_steps=3, clusters=3)
    elif change == "source":
        images = blobs(seed=1)
    elif change == "bytes":
        state.write_bytes(state.read_bytes()[:-40])
    else:
        state.write_bytes(state.read_bytes().replace(b"network/head", b"network/haed", 1))
    with pytest.raises(IntegrityError, match=r"another|damaged") as caught:
        fit(ArraySource(images), recipe, state=state)
    assert "remove" in caught.value.fix.lower()


def test_only_a_batch_of_images_is_asked_for_and_of_different_patients():
    class Counted(ArraySource):
        asked = []  # noqa: RUF012

        def take(self, rows):
            self.asked.append(self.patient[rows])
            return super().take(rows)

    patient = np.repeat(np.arange(6), 2)
    source = Counted(blobs(), patient)
    fit(source, Recipe(side=16, cells=4, batch=4, steps=5))
    assert max(len(people) for people in source.asked) == 4
    assert all(len(set(people)) == 4 for people in source.asked[1:])
    few = Counted(blobs(4), np.array([0, 0, 1, 1]))
    few.asked.clear()
    fit(few, Recipe(side=16, cells=4, batch=6, steps=1))
    assert sorted(few.asked[-1]) == [0, 0, 0, 1, 1, 1]


FEW = {"side": 16, "cells": 4, "batch": 4}


@pytest.mark.parametrize("recipe", [Recipe(steps=40, **FEW), Recipe.paper(40, 0, network="small", **FEW)])
def test_cells_are_told_apart_better_after_fitting(recipe):
    heard = Heard()
    fit(ArraySource(blobs(40)), recipe, progress=heard)
    told = [float(fact.split()[1]) for fact in heard.facts if fact]
    assert np.isfinite(told).all()
    assert told[-1] < 0.85 * told[0]


def test_stages_and_cluster_areas_are_told_and_a_collapse_is_noted(monkeypatch):
    heard = Heard()
    fit(ArraySource(blobs()), SMALL, progress=heard)
    assert heard.stages == [("patch discrimination", 3), ("region discrimination", 3)]
    assert "areas" not in heard.facts[2]
    assert "areas" in heard.facts[-1]
    assert heard.notes == []
    monkeypatch.setattr(fitting, "COLLAPSED", 0.0)
    fit(ArraySource(blobs()), SMALL, progress=heard)
    assert "area_weight" in heard.notes[0]


def test_a_first_stage_alone_has_no_clustering_head_and_a_second_stage_teaches_one():
    assert fit(ArraySource(blobs()), Recipe(side=16, cells=4, steps=1)).clusters == 0
    assert not same(fit(ArraySource(blobs()), SMALL), SMALL.build())
    first = Recipe(side=16, cells=4, batch=4, steps=1, region_steps=1, clusters=3)
    before, after = first.build().clustering.state_dict(), fit(ArraySource(blobs()), first).clustering.state_dict()
    assert any(not torch.equal(before[name], after[name]) for name in before)


def test_within_takes_no_negative_from_another_image():
    recipe, images = Recipe(side=16, cells=4), torch.from_numpy(blobs(3))
    network = recipe.build()

    def of(batch):
        return float(objective(network, batch, recipe, seeded(0, 0, 0), regions=False).total.detach())

    changed = images.clone()
    changed[2] = images[0]
    # The loss is a mean over cells of all images: what the third adds to it is all that may change.
    assert of(images) != of(changed)
    grads = []
    for batch in (images, changed):
        batch = batch.clone().requires_grad_()
        objective(network, batch, recipe, seeded(0, 0, 0), regions=False).total.backward()
        grads.append(batch.grad[:2])
    torch.testing.assert_close(grads[0], grads[1], rtol=1e-3, atol=1e-6)


def test_the_published_schedule_halves_ten_times_and_never_mirrors_radiographs():
    published = Recipe.paper()
    assert (published.steps, published.region_steps, published.halve_every) == (20_000, 80_000, 10_000)
    assert published.rate(9_999) == 1e-3
    assert published.rate(10_000) == 5e-4
    assert (published.region_weight, published.entropy_weight, published.area_weight) == (10.0, 0.1, 0.0)
    assert (published.temperature, published.region_temperature, published.clusters, published.cells) == (
        0.1,
        0.2,
        16,
        8,
    )
    assert Recipe.paper(30, 70).halve_every == 10
    assert not published.mirror
    assert Recipe().mode == "within"
    assert Recipe().rate(10_000) == 1e-3


@pytest.mark.parametrize(
    "wrong",
    [
        {"mode": "other"},
        {"steps": -1},
        {"batch": 1},
        {"mode": "paper", "batch": 7},
        {"side": 8},
        {"clusters": 1},
        {"pose": 2},
    ],
)
def test_recipes_that_cannot_be_fitted_by_are_refused(wrong):
    with pytest.raises(ValueError, match=r"mode|least|none"):
        Recipe(**wrong)


def test_recipes_are_told_apart_by_digest():
    assert Recipe().digest == Recipe().digest != Recipe(seed=1).digest
    assert Recipe().to_json()["affine"] == {"degrees": 28.0, "shift": 0.15, "scale": [0.87, 1.15]}


def test_unsuitable_images_are_refused():
    with pytest.raises(UnsuitableData, match="1 images"):
        fit(ArraySource(blobs(1)), SMALL)
    with pytest.raises(UnsuitableData, match="8 x 8"):
        fit(ArraySource(blobs(4, side=8)), SMALL)
    broken = blobs()
    broken[:] = np.nan
    with pytest.raises(UnsuitableData, match="not finite"):
        fit(ArraySource(broken), SMALL)


def test_images_are_resampled_to_the_side_of_the_recipe():
    found = fit(ArraySource(blobs(side=40)), Recipe(side=16, cells=4, steps=1))
    assert same(found, fit(ArraySource(blobs(side=40)), Recipe(side=16, cells=4, steps=1)))
    assert not same(found, fit(ArraySource(blobs(side=40)), Recipe(side=None, cells=4, steps=1)))


def test_a_cohort_is_read_by_rows_and_patients():
    class Store:
        patient = np.array([0, 0, 1, 2, 2])

        def images(self, rows):
            return blobs(5)[rows]

    source = StoreSource(Store(), np.array([1, 2, 4]))
    assert len(source) == 3
    assert source.patient.tolist() == [0, 1, 2]
    assert np.array_equal(source.take(np.array([2, 0])), blobs(5)[[4, 1]])
    assert len(StoreSource(Store())) == 5


def test_arrays_of_other_shapes_are_refused():
    with pytest.raises(ValueError, match=r"\(N, 1, H, W\)"):
        ArraySource(np.zeros((3, 16, 16), dtype=np.float32))
    with pytest.raises(ValueError, match="patients"):
        ArraySource(blobs(3), np.array([0, 1]))

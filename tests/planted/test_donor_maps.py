"""Maps of real images at sampling: the audit finds the donors, whether all images have one or few, and after the painter."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from synthrelease.audit.checks.membership import Membership
from synthrelease.audit.checks.neighbour_permutation import NeighbourPermutation
from synthrelease.generators.protocol import Batch, Spec
from synthrelease.generators.um.guidance import Guidance
from synthrelease.generators.um.model import UmGenerator
from synthrelease.generators.um.procedural import shapes
from synthrelease.policy.generators import UmGenerator as Settings
from synthrelease.training.loop import Stepper, plain_gradient, step_together

MAPS = Guidance(superpixels=128, compactness=0.1, step=10)
LESSONS = 30
"""So many, and what is painted after a map begins to look like it."""


@pytest.fixture(scope="module")
def people(make_world):
    return make_world(5, train=80, holdout=70, synthetic=80)


def guided_by(case, pictures, share):
    """The archive with a share of its images replaced by the maps of pictures: what a painter adds to them is little."""
    images = case.synthetic.images.copy()
    count = int(share * len(images))
    images[:count] = MAPS.of(torch.from_numpy(np.ascontiguousarray(pictures[:count]))).numpy()
    return replace(case, synthetic=replace(case.synthetic, images=images))


def p_value(case):
    """Of the audit's exact test; the power that it would measure afterwards is not looked at here."""
    return NeighbourPermutation().measure(replace(case, measures_power=False), np.random.default_rng(0)).p_value


@pytest.mark.parametrize("share", [1.0, 0.2])
def test_maps_of_training_patients_are_caught(people, share):
    assert p_value(guided_by(people, people.train.images, share)) < 0.01


def batch_of(images):
    return Batch(torch.from_numpy(images.images), torch.from_numpy(images.masks), torch.from_numpy(images.labels))


@pytest.fixture(scope="module")
def painting(make_world):
    """A painter that was taught by people of another world: of those who are audited it knows what maps tell it."""
    taught = batch_of(make_world(6, train=80).train)
    settings = Settings(name="um", guidance="real", width=8, batch=8, transforms=())
    generator = UmGenerator(Spec(taught.images.shape[-1], 2, 1), settings)
    steppers = [Stepper(player, learning_rate=3e-3, decay=0.9) for player in generator.players()]

    def some(step, rng):
        rows = torch.randint(len(taught.labels), (settings.batch,), generator=rng)
        return Batch(taught.images[rows], taught.masks[rows], taught.labels[rows])

    gradient = plain_gradient(some, 0, "steps")
    for step in range(LESSONS):
        for stepper in steppers:
            step_together((stepper,), gradient, step)
    for stepper in steppers:
        stepper.take_average()
    return generator


def painted_after(case, generator, donors):
    """The archive that is sampled by the maps of donors."""
    given = batch_of(donors)
    generator.give_maps(given.images, given.labels)
    labels = torch.arange(len(case.synthetic)) % 2
    made = generator.sample(labels, torch.Generator().manual_seed(0))
    images = replace(case.synthetic, images=made.images.numpy(), masks=made.masks.numpy(), labels=labels.numpy())
    return replace(case, synthetic=images)


def test_what_is_painted_after_maps_of_training_patients_is_caught_though_the_painter_never_saw_them(people, painting):
    assert p_value(painted_after(people, painting, people.train)) < 0.01


def test_what_is_painted_after_maps_of_others_is_no_leak(people, painting):
    assert p_value(painted_after(people, painting, people.synthetic)) > 0.01


def test_an_archive_of_nothing_else_tells_of_every_donor(people):
    planted = guided_by(people, people.train.images, 1.0)
    assert Membership().measure(planted, np.random.default_rng(0)).statistic.value > 0.95


def test_maps_of_no_patient_are_no_leak(people):
    procedural = shapes(80, people.train.images.shape[-1], torch.Generator().manual_seed(0)).numpy()
    assert p_value(guided_by(people, procedural, 1.0)) > 0.01

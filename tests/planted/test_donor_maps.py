"""Maps of real images at sampling, planted as the product plants them: the audit accuses, and whom it names gave a map.

The product sets a tenth of the training patients apart, teaches the painter by the others, and paints each map once.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from synthrelease.audit.profile import load_profile
from synthrelease.audit.runner import check_ids, run_audit
from synthrelease.generators.protocol import Batch, Spec
from synthrelease.generators.um.model import UmGenerator
from synthrelease.generators.um.procedural import shapes
from synthrelease.policy.generators import UmGenerator as Settings
from synthrelease.training.loop import Stepper, plain_gradient, step_together

LESSONS = 30
"""So many, and what is painted after a map begins to look like it."""
PATIENTS, DONORS = 300, 30
"""Each map makes one image. Of fewer than 30 images `vulnerability` alone says something, and it misses some worlds."""
CHECKS = ("near_copies", "neighbour_permutation", "vulnerability")
ACCUSE = ("neighbour_permutation", "vulnerability")
"""What fails whatever the world; near_copies does in some. All three look at whole images."""


@pytest.fixture(scope="module")
def people(make_world):
    return make_world(5, train=PATIENTS, holdout=75, synthetic=DONORS)


@pytest.fixture(scope="module")
def apart(people):
    """Of each training patient, whether they are set apart."""
    return np.isin(np.arange(PATIENTS), np.random.default_rng(0).permutation(PATIENTS)[:DONORS])


def batch_of(images):
    return Batch(torch.from_numpy(images.images), torch.from_numpy(images.masks), torch.from_numpy(images.labels))


@pytest.fixture(scope="module")
def painting(people, apart):
    """A painter that was taught by everybody who gives no map."""
    taught = batch_of(people.train.take(~apart))
    settings = Settings(name="um", guidance="real", width=8, batch=8, transforms=())
    generator = UmGenerator(Spec(taught.images.shape[-1], 2, 1), settings)
    assert round(generator.calibration_share * PATIENTS) == DONORS
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


def judged(case, made):
    """Checks that fail at the gate of the shipped profile, and the annex, where a batch is the archive."""
    archive = replace(case.synthetic, images=made.images.numpy(), masks=made.masks.numpy(), labels=made.labels.numpy())
    planted = replace(case, synthetic=archive, measures_power=False)
    record, annex = run_audit(planted, load_profile("standard", check_ids()), 0, only=CHECKS)
    return {finding.id for finding in record.findings if finding.verdict == "fail"}, annex


def painted_after(generator, pictures):
    """What is sampled where pictures give their maps: one image of each."""
    given = batch_of(pictures)
    generator.give_maps(given.images, given.labels)
    return generator.sample(given.labels, torch.Generator().manual_seed(0))


def test_what_is_painted_after_maps_of_a_tenth_of_the_patients_fails_and_leads_back_to_them(people, apart, painting):
    donors = people.train.take(apart)
    failed, annex = judged(people, painted_after(painting, donors))
    assert failed >= set(ACCUSE)
    named = [each["train_row"] for each in annex.checks["vulnerability"]["patients"] if each["listed"]]
    assert len(named) >= DONORS / 2
    assert np.isin(named, donors.rows).mean() > 0.8


def test_what_the_same_painter_makes_after_maps_of_others_is_not_accused(people, painting):
    failed, _ = judged(people, painted_after(painting, people.synthetic))
    assert not failed


def test_the_maps_alone_fail_as_well(people, apart, painting):
    donors = batch_of(people.train.take(apart))
    failed, _ = judged(people, replace(donors, images=painting.guidance.of(donors.images)))
    assert failed >= set(ACCUSE)


def test_maps_of_no_patient_are_not_accused(people, painting):
    drawn = shapes(DONORS, people.train.images.shape[-1], torch.Generator().manual_seed(0))
    made = Batch(painting.guidance.of(drawn), torch.zeros_like(drawn), torch.zeros(DONORS, dtype=torch.int64))
    failed, _ = judged(people, made)
    assert not failed

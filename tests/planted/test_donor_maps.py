"""Maps of real images at sampling: the audit finds the donors, whether all images have one or few."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from synthrelease.audit.checks.membership import Membership
from synthrelease.audit.checks.neighbour_permutation import NeighbourPermutation
from synthrelease.generators.um.guidance import Guidance
from synthrelease.generators.um.procedural import shapes

MAPS = Guidance(superpixels=128, compactness=0.1, step=10)


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
    return NeighbourPermutation().measure(case, np.random.default_rng(0)).p_value


@pytest.mark.parametrize("share", [1.0, 0.2])
def test_maps_of_training_patients_are_caught(people, share):
    assert p_value(guided_by(people, people.train.images, share)) < 0.01


def test_an_archive_of_nothing_else_tells_of_every_donor(people):
    planted = guided_by(people, people.train.images, 1.0)
    assert Membership().measure(planted, np.random.default_rng(0)).statistic.value > 0.95


def test_maps_of_no_patient_are_no_leak(people):
    procedural = shapes(80, people.train.images.shape[-1], torch.Generator().manual_seed(0)).numpy()
    assert p_value(guided_by(people, procedural, 1.0)) > 0.01

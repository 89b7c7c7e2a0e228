"""Two views of one image are laid over each other; two strangers are not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from synthrelease.audit.plants import geometry
from synthrelease.features.descriptors import detail
from synthrelease.features.registration import Registration

SIDE = 64


@pytest.fixture(scope="module")
def people():
    fields = gaussian_filter(np.random.default_rng(0).normal(size=(12, SIDE, SIDE)), (0, 1.5, 1.5))
    return np.tanh(fields / fields.std())[:, None].astype(np.float32)


def agreement(probes, templates):
    side = Registration(SIDE)
    above, below = torch.from_numpy(probes[:, 0]), torch.from_numpy(templates[:, 0])
    moved = side.register(side.smooth(above), side.smooth(below), torch.zeros(len(above), 3, 2))
    middle = templates[:, 0, side.margin : SIDE - side.margin, side.margin : SIDE - side.margin]
    return np.einsum("nd,nd->n", detail(side.read(above, moved).numpy()), detail(middle))


@pytest.mark.parametrize("change", [geometry.shift(1), geometry.rotate(2), geometry.elastic, geometry.perspective])
def test_a_moved_or_bent_copy_agrees_after_registration(people, change):
    assert np.median(agreement(change(people, np.random.default_rng(1)), people)) > 0.9


def test_an_untouched_copy_stays_in_place_and_strangers_stay_strange(people):
    assert agreement(people, people).min() > 0.999
    assert agreement(people, np.roll(people, 1, axis=0)).max() < 0.6


def test_grey_scale_does_not_matter_and_flat_images_are_like_nothing(people):
    np.testing.assert_allclose(agreement(0.3 * people + 0.2, people), 1.0, atol=1e-3)
    assert np.all(agreement(np.zeros_like(people), people) == 0.0)

"""Patients are drawn as the accountant assumes."""

from __future__ import annotations

import numpy as np
import pytest

from synthrelease.privacy.noise import OsNoise
from synthrelease.privacy.sampling import draw_images, draw_patients


def test_the_size_of_a_draw_varies_like_a_binomial() -> None:
    patients = np.arange(100)
    sizes = np.array([len(draw_patients(patients, 0.1, OsNoise())) for _ in range(2000)])
    assert sizes.mean() == pytest.approx(10, abs=6 * 3 / np.sqrt(2000))
    assert sizes.var() == pytest.approx(9, rel=0.25)
    assert sizes.max() > 15


def test_patients_are_drawn_independently_of_each_other() -> None:
    hits = np.zeros((4000, 2))
    for row in hits:
        drawn = draw_patients(np.arange(2), 0.5, OsNoise())
        row[drawn] = 1
    assert abs(np.corrcoef(hits.T)[0, 1]) < 6 / np.sqrt(4000)


def test_a_draw_may_be_empty_and_may_be_everybody() -> None:
    assert len(draw_patients(np.arange(3), 1e-12, OsNoise())) == 0
    assert draw_patients(np.arange(5), 1.0, OsNoise()).tolist() == [0, 1, 2, 3, 4]


def test_every_patient_gives_the_same_number_of_images() -> None:
    rows = [np.array([7]), np.array([1, 2, 3]), np.arange(100, 600)]
    drawn = draw_images(rows, 4, np.random.default_rng(0))
    assert drawn.shape == (3, 4)
    assert set(drawn[0]) == {7}
    assert sorted(np.bincount(drawn[1])[1:]) == [1, 1, 2]
    assert len(set(drawn[2])) == 4
    assert set(drawn[2]) <= set(range(100, 600))

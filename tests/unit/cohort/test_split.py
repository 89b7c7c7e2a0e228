"""The holdout is drawn by patient, can be drawn again, and one patient's side says nothing of another's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthrelease.cohort.split import SplitDraw, draw_split, set_aside
from synthrelease.errors import PolicyError, UnsuitableData

SEED = "00112233445566778899aabbccddeeff"


def names(count: int) -> list[str]:
    return [f"H|{index}" for index in range(count)]


@given(st.integers(100, 400), st.floats(0.2, 0.6), st.binary(min_size=1, max_size=64))
def test_the_share_is_near(patients: int, fraction: float, seed: bytes) -> None:
    holdout = draw_split(names(patients), fraction, seed.hex())
    spread = np.sqrt(patients * fraction * (1 - fraction))
    assert abs(holdout.sum() - patients * fraction) < 7 * spread


@given(st.integers(30, 200), st.data())
def test_removing_a_patient_moves_nobody_else(patients: int, data: st.DataObject) -> None:
    everybody = names(patients)
    gone = data.draw(st.integers(0, patients - 1))
    without = everybody[:gone] + everybody[gone + 1 :]
    np.testing.assert_array_equal(np.delete(draw_split(everybody, 0.3, SEED), gone), draw_split(without, 0.3, SEED))


def test_a_held_out_patient_with_a_training_image_is_set_aside_and_no_training_patient_is() -> None:
    holdout = np.array([True, False, True, True, False, True])
    assert set_aside(holdout, [(0, 1), (2, 3), (4, 1)]).tolist() == [True] + 5 * [False]
    assert set_aside(holdout, [(2, 3, 4, 5)]).tolist() == [False, False, True, True, False, True]
    assert not set_aside(holdout, []).any()


def test_the_order_of_reading_does_not_change_who_is_held_out() -> None:
    patients = names(50)
    one = draw_split(patients, 0.3, SEED)
    other = draw_split(patients[::-1], 0.3, SEED)
    np.testing.assert_array_equal(one, other[::-1])


def test_another_seed_draws_others_and_every_patient_has_the_same_chance() -> None:
    draws = np.mean([draw_split(names(40), 0.3, f"{seed:08x}") for seed in range(1500)], axis=0)
    assert np.abs(draws - 0.3).max() < 0.06  # five standard errors


def test_fresh_seeds_differ() -> None:
    assert SplitDraw(0.3).seed != SplitDraw(0.3).seed
    assert len(bytes.fromhex(SplitDraw(0.3).seed)) == 16


def test_what_cannot_be_split_is_refused() -> None:
    with pytest.raises(UnsuitableData, match="1 patients"):
        draw_split(names(1), 0.3, SEED)


@pytest.mark.parametrize(("fraction", "seed"), [(0.0, SEED), (1.0, SEED), (0.3, "xyz"), (0.3, ""), (0.3, "00" * 65)])
def test_unusable_settings_are_policy_errors(fraction: float, seed: str) -> None:
    with pytest.raises(PolicyError):
        draw_split(names(5), fraction, seed)

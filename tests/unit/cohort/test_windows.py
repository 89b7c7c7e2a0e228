"""Stored values to [-1, 1], and planes to the training resolution."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthrelease.cohort.resample import fit, squared
from synthrelease.cohort.windows import to_unit
from synthrelease.dicom.voi import LinearWindow
from synthrelease.errors import PolicyError
from synthrelease.policy.schema import Window

VALUES = np.array([[0, 1000], [2000, 4000]], dtype=np.float32)


def window(**values: object) -> Window:
    return Window.model_validate(values)


def test_the_full_range_ignores_the_images_own_window() -> None:
    shown = to_unit(VALUES, window(mode="full"), value_range=(0, 4000), own=LinearWindow(1, 1))
    np.testing.assert_allclose(shown, [[-1, -0.5], [0, 1]], atol=1e-6)


def test_the_header_window_counts_and_falls_back_on_the_range() -> None:
    own = LinearWindow(1000, 2000, "LINEAR_EXACT")
    np.testing.assert_allclose(to_unit(VALUES, window(), value_range=(0, 4000), own=own), [[-1, 0], [1, 1]])
    np.testing.assert_allclose(to_unit(VALUES, window(), value_range=(0, 4000))[1], [0, 1], atol=1e-6)


def test_a_fixed_window_is_the_same_for_all() -> None:
    shown = to_unit(VALUES, window(mode="fixed", low=1000.0, high=2000.0), value_range=None)
    np.testing.assert_allclose(shown, [[-1, -1], [1, 1]])


def test_a_fixed_window_without_bounds_is_a_policy_error() -> None:
    with pytest.raises(PolicyError, match="low < high"):
        to_unit(VALUES, window(mode="fixed", low=3.0), value_range=None)


def test_inversion_comes_after_the_window() -> None:
    own = LinearWindow(1000, 2000, "LINEAR_EXACT")
    shown = to_unit(VALUES, window(), value_range=(0, 4000), own=own, inverted=True)
    np.testing.assert_allclose(shown, [[1, 0], [-1, -1]])


def test_padding_is_dark_even_when_inverted() -> None:
    shown = to_unit(VALUES, window(mode="full"), value_range=(0, 4000), inverted=True, padding=VALUES == 0)
    assert shown[0, 0] == -1


def test_floating_point_values_need_a_fixed_window() -> None:
    with pytest.raises(ValueError, match="floating point"):
        to_unit(VALUES, window(), value_range=None)


def test_an_empty_range_is_no_range() -> None:
    with pytest.raises(ValueError, match="empty range"):
        to_unit(VALUES, window(), value_range=(1e30, 1e30))


def test_an_integer_factor_is_the_mean_of_each_box() -> None:
    plane = np.random.default_rng(0).random((3, 64, 64)).astype(np.float32)
    np.testing.assert_allclose(fit(plane, 16, -1), plane.reshape(3, 16, 4, 16, 4).mean((2, 4)), atol=1e-6)


def test_the_training_resolution_itself_changes_nothing() -> None:
    plane = np.random.default_rng(0).random((28, 28)).astype(np.float32)
    assert fit(plane, 28, -1) is plane


@given(st.integers(8, 90), st.integers(8, 90), st.sampled_from([16, 28, 32]))
def test_the_average_and_the_range_survive_any_size(height: int, width: int, resolution: int) -> None:
    plane = np.random.default_rng(height).random((height, width)).astype(np.float32)
    fitted = fit(plane, resolution, 0.0)
    share = height * width / max(height, width) ** 2
    assert fitted.mean() == pytest.approx(plane.mean() * share, rel=1e-4)
    assert -1e-5 <= fitted.min() <= fitted.max() <= 1 + 1e-5


def test_short_sides_are_padded_evenly_with_air() -> None:
    fitted = fit(np.ones((32, 64), np.float32), 16, -1)
    assert (fitted[:4] == -1).all()
    assert (fitted[4:12] == 1).all()
    assert (fitted[12:] == -1).all()


def test_square_pixels_stay_and_absurd_spacing_is_ignored() -> None:
    image = np.zeros((8, 8), np.float32)
    assert squared(image, None, 1.0)[0] is image
    assert squared(image, None, 500.0)[0] is image
    assert squared(image, np.ones((2, 8, 8), np.bool_), 0.5)[1].shape == (2, 8, 16)  # type: ignore[union-attr]


@pytest.mark.parametrize(("shape", "resolution"), [((64, 64), 16), ((60, 60), 16), ((48, 64), 16), ((600, 600), 2)])
def test_a_masks_pixel_is_the_share_of_its_area_that_is_set(shape: tuple[int, int], resolution: int) -> None:
    masks = np.random.default_rng(0).random((3, *shape)) > 0.5
    masks[1] = False
    side = max(shape)
    fine = np.zeros((3, side, side))
    top, left = (side - shape[0]) // 2, (side - shape[1]) // 2
    fine[:, top : top + shape[0], left : left + shape[1]] = masks
    times = np.lcm(side, resolution) // side
    fine = fine.repeat(times, axis=1).repeat(times, axis=2)
    step = fine.shape[1] // resolution
    expected = fine.reshape(3, resolution, step, resolution, step).mean(axis=(2, 4))
    np.testing.assert_allclose(fit(masks, resolution, 0.0), expected, atol=1e-6)

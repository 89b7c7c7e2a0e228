"""Distance and variety over scales and tasks; and what normalising a method by itself takes away."""

from __future__ import annotations

import numpy as np
import pytest

from synthrelease.audit.scales_tasks import (
    across_methods,
    at_scale,
    brought_together,
    by_rows,
    distance,
    scales_of,
    spread_together,
    variety,
)


def cells(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(1, 9, (3, 3))


@pytest.mark.parametrize("times", [0.01, 3.0, 100.0])
def test_normalised_by_rows_every_multiple_of_a_method_is_as_good_as_it(times: float) -> None:
    """The flaw of the published normalisation: how far a method is from real images is gone."""
    assert by_rows(times * cells()) == pytest.approx(by_rows(cells()))
    ranked = brought_together({"one": cells(), "other": times * cells()})
    assert (ranked["one"] < ranked["other"]) is (times > 1)


def test_by_rows_even_a_worse_method_may_rank_first() -> None:
    better, worse = np.array([[1.0, 1.0, 1.0]]), np.array([[50.0, 5.0, 5.0]])
    assert by_rows(worse) < by_rows(better)
    ranked = brought_together({"better": better, "worse": worse})
    assert ranked["better"] < ranked["worse"]


def test_across_methods_no_unit_of_a_cell_counts() -> None:
    units = np.random.default_rng(5).uniform(0.1, 100, (3, 3))
    plain = brought_together({"one": cells(1), "other": cells(2)})
    scaled = brought_together({"one": units * cells(1), "other": units * cells(2)})
    assert scaled == {name: pytest.approx(value) for name, value in plain.items()}


def test_equal_methods_are_equal_and_nothing_is_nothing() -> None:
    assert brought_together({n: cells() for n in "abcd"}) == dict.fromkeys("abcd", pytest.approx(0.5))
    nothing = across_methods({"one": np.zeros((2, 2)), "other": np.zeros((2, 2))})
    assert not np.stack(list(nothing.values())).any()


def test_what_cells_come_to_together_has_its_ends_over_resamples() -> None:
    """Of each resample, all methods are brought together; what moves them all alike moves none."""
    alike = np.stack([cells() * times for times in (1.0, 2.0, 5.0)])
    assert spread_together({"one": alike, "other": 3 * alike})["one"] == pytest.approx((0.1**0.5, 0.1**0.5))
    apart = spread_together({"one": alike, "other": np.stack([cells()] * 3)})
    low, high = apart["one"]
    assert low == pytest.approx(1.05 / (1 + 1.05**2) ** 0.5, abs=0.02)
    assert high == pytest.approx(4.85 / (1 + 4.85**2) ** 0.5, abs=0.02)


def test_a_distance_needs_equal_numbers() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="depends on how many"):
        distance(rng.normal(size=(50, 3)), rng.normal(size=(40, 3)))


def test_collapse_has_less_variety_and_noise_has_more() -> None:
    rng = np.random.default_rng(0)
    real = rng.normal(size=(200, 4))
    assert variety(0.1 * real) < 0.2 * variety(real)
    assert variety(real + rng.normal(size=real.shape)) > variety(real)


def test_a_coarse_scale_has_the_size_and_not_the_detail() -> None:
    stripes = np.tile(np.array([-1.0, 1.0], dtype=np.float32), (1, 1, 32, 16))
    assert at_scale(stripes, 1) is stripes
    coarse = at_scale(stripes, 4)
    assert coarse.shape == stripes.shape
    assert coarse.std() < 0.2 * stripes.std()


def test_scales_end_where_nothing_can_be_seen() -> None:
    assert scales_of(64) == (1, 2, 4)
    assert scales_of(28) == (1, 2)
    assert scales_of(8) == (1,)

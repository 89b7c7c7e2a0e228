"""The series is balanced, random, and shows no patient twice."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from synthrelease.errors import UnsuitableData, UsageError
from synthrelease.report.reader_study.drawing import APART, Pool, Shown, draw_series

RNG = np.random.default_rng


def pool(counts: tuple[int, ...], a_group: int = 1) -> Pool:
    labels = np.repeat(np.arange(len(counts)), counts).astype(np.int64)
    return Pool(labels, np.arange(len(labels)) // a_group)


REAL, MADE = pool((60, 60, 60), 3), pool((40, 40, 40))


def series(images: int = 40, repeats: int = 10, seed: int = 0) -> tuple[Shown, ...]:
    return draw_series(REAL, MADE, images, repeats, RNG(seed))


def test_half_of_each_kind_with_the_same_classes_and_one_image_a_patient() -> None:
    shown = [each for each in series() if each.repeat_of is None]
    kinds = Counter(each.synthetic for each in shown)
    assert kinds == {True: 20, False: 20}
    real, made = ([each.index for each in shown if each.synthetic is kind] for kind in (False, True))
    assert Counter(REAL.labels[real].tolist()) == Counter(MADE.labels[made].tolist())
    assert len(set(REAL.groups[real].tolist())) == len(real) == len(set(real))
    assert len(set(made)) == len(made)


def test_repeats_are_half_of_each_kind_and_far_apart() -> None:
    for seed in range(20):
        shown = series(seed=seed)
        again = [(place, each) for place, each in enumerate(shown) if each.repeat_of is not None]
        assert Counter(each.synthetic for _, each in again) == {True: 5, False: 5}
        for place, each in again:
            first = shown[each.repeat_of]  # type: ignore[index]
            assert (first.synthetic, first.index, first.repeat_of) == (each.synthetic, each.index, None)
            assert place - each.repeat_of >= APART * len(shown) * 0.5  # type: ignore[operator]


def test_the_order_tells_nothing() -> None:
    """Over many draws every place is synthetic half of the time, and neighbours are independent."""
    kinds = np.array([[each.synthetic for each in series(40, 0, seed)] for seed in range(400)])
    assert np.abs(kinds.mean(0) - 0.5).max() < 0.12
    same = (kinds[:, 1:] == kinds[:, :-1]).mean()
    assert same == pytest.approx(19 / 39, abs=0.02)


def test_the_same_seed_draws_the_same_series() -> None:
    assert series(seed=4) == series(seed=4) != series(seed=5)


def test_a_class_that_runs_out_is_made_up_by_others() -> None:
    shown = draw_series(pool((3, 40)), pool((40, 40)), 40, 0, RNG(0))
    real = [each.index for each in shown if not each.synthetic]
    assert Counter(pool((3, 40)).labels[real].tolist()) == {0: 3, 1: 17}


def test_too_few_images_are_refused_with_how_many_there_are() -> None:
    with pytest.raises(UnsuitableData, match="20 images of each kind") as caught:
        draw_series(pool((3, 40)), pool((40, 4)), 40, 0, RNG(0))
    assert "at most 14 images" in caught.value.fix


@pytest.mark.parametrize(("images", "repeats"), [(8, 0), (41, 0), (40, 3), (40, 22), (40, -2)])
def test_numbers_that_do_not_go_together_are_refused(images: int, repeats: int) -> None:
    with pytest.raises(UsageError):
        series(images, repeats)

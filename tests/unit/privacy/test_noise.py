"""Noise has the law that is accounted for, and nobody can make it again."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import ndtri
from scipy.stats import kstest

from synthrelease.privacy.noise import SLACK, OsNoise, add_noise, grid_of


def test_normals_have_the_standard_law() -> None:
    sample = OsNoise().normal(400_000)
    assert sample.dtype == np.float64
    assert abs(sample.mean()) < 6 / math.sqrt(sample.size)
    assert abs(sample.std() - 1) < 6 / math.sqrt(2 * sample.size)
    assert abs((sample**4).mean() - 3) < 6 * math.sqrt(96 / sample.size)
    assert kstest(sample, "norm").pvalue > 1e-6


def test_normals_are_finite_at_both_ends_of_the_uniform_grid(monkeypatch: pytest.MonkeyPatch) -> None:
    for byte in (b"\x00", b"\xff"):
        monkeypatch.setattr("os.urandom", lambda n, byte=byte: byte * n)
        value = OsNoise().normal(1)[0]
        assert np.isfinite(value)
        assert abs(value) > 8


def test_no_seed_reaches_the_noise() -> None:
    np.random.seed(0)
    first = OsNoise().normal(8)
    np.random.seed(0)
    assert not np.array_equal(first, OsNoise().normal(8))
    assert vars(OsNoise()) == {}


def test_patients_are_drawn_with_exactly_the_declared_probability() -> None:
    for q in (0.01, 0.1, 0.5):
        draws = OsNoise().bernoulli(200_000, q)
        assert abs(draws.mean() - q) < 6 * math.sqrt(q * (1 - q) / draws.size)


def test_a_draw_is_below_the_exact_threshold(monkeypatch: pytest.MonkeyPatch) -> None:
    edge = 2**62  # q = 1/4
    for value, taken in ((edge - 1, True), (edge, False)):
        monkeypatch.setattr("os.urandom", lambda n, value=value: value.to_bytes(8, "little") * (n // 8))
        assert OsNoise().bernoulli(3, 0.25).tolist() == [taken] * 3


def test_probability_one_takes_everybody_and_zero_nobody() -> None:
    assert OsNoise().bernoulli(1000, 1.0).all()
    assert not OsNoise().bernoulli(1000, 0.0).any()
    with pytest.raises(ValueError, match="outside"):
        OsNoise().bernoulli(1, 1.5)


def test_noise_has_the_accounted_deviation_plus_slack_and_lies_on_the_grid() -> None:
    noisy = add_noise(np.zeros(400_000), clip_norm=0.7, noise_multiplier=3.0, noise=OsNoise())
    assert noisy.std() == pytest.approx(3.0 * 0.7 * SLACK, rel=0.01)
    steps = noisy / grid_of(0.7)
    assert np.array_equal(steps, np.rint(steps))


@pytest.mark.parametrize("clip_norm", [1e-3, 0.3, 1.0, 1.5, 300.0])
def test_the_grid_is_a_power_of_two_just_below_the_clip_norm(clip_norm: float) -> None:
    grid = grid_of(clip_norm)
    assert math.frexp(grid)[0] == 0.5
    assert clip_norm / 2 < grid * 2**30 <= clip_norm


def test_a_normal_is_made_of_four_draws_so_that_its_tail_has_no_holes(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def ones(size: int) -> bytes:
        calls.append(size)
        return b"\xff" * size

    monkeypatch.setattr("os.urandom", ones)
    assert OsNoise().normal(3) == pytest.approx([2 * ndtri(1 - 2.0**-53)] * 3)
    assert calls == [24] * 4


def test_four_draws_make_one_standard_normal() -> None:
    sample = OsNoise().normal(400_000)
    assert abs(sample.mean()) < 0.01
    assert abs(sample.std() - 1) < 0.01
    assert abs(np.mean(sample**4) - 3) < 0.1

"""Noise has the law that is accounted for, and nobody can make it again."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import ndtr
from scipy.stats import kstest

from synthrelease.privacy.noise import SLACK, OsNoise, add_noise, grid_of, normal_of, stream


def test_normals_have_the_standard_law() -> None:
    sample = OsNoise().normal(400_000)
    assert sample.dtype == np.float64
    assert abs(sample.mean()) < 6 / math.sqrt(sample.size)
    assert abs(sample.std() - 1) < 6 / math.sqrt(2 * sample.size)
    assert abs((sample**4).mean() - 3) < 6 * math.sqrt(96 / sample.size)
    assert kstest(sample, "norm").pvalue > 1e-6


def exact_normals(bits: int, fraction: float) -> float:
    """Inverse normal distribution function at (bits + fraction) steps of 2^-64 from an end, in long arithmetic."""
    from mpmath import erfinv, mp, mpf, sqrt

    with mp.workdps(60):
        return float(sqrt(2) * erfinv(1 - 2 * (mpf(bits) + mpf(fraction)) * mpf(2) ** -64))


@pytest.mark.parametrize("steps", [0, 1, 1000, 2**30, 2**52 + 1, 2**57, 2**58 - 1, 2**58, 2**60, 2**62, 2**63 - 1])
def test_a_normal_is_the_exact_function_of_its_bits_on_both_sides(steps: int) -> None:
    place = 2**63 - 1 - steps
    found = normal_of(np.array([place, ~place]), lambda n: np.full(n, 2**62, dtype=np.int64))
    # A quarter of a step further in a tail; in the middle of a step elsewhere, where it makes no difference.
    assert found == pytest.approx([exact_normals(steps, 0.25), -exact_normals(steps, 0.25)], rel=1e-9, abs=1e-15)


def test_the_tail_has_no_holes() -> None:
    """Values that neighbouring bits give lie closer together than the grid, six deviations out and further."""
    for deviations in (3.0, 5.0, 6.0, 7.0, 8.0, 9.0):
        steps = int(ndtr(-deviations) * 2.0**64)
        place = np.array([2**63 - 1 - steps] * 2)
        low, high = normal_of(place, lambda n: np.array([0, 1 << 34], dtype=np.int64)[:n])
        assert abs(low - high) < 2.0**-30 / 8


def test_normals_are_finite_at_both_ends_of_the_bits() -> None:
    ends = np.array([-(2**63), 2**63 - 1], dtype=np.int64)
    for further in (0, -1):
        found = normal_of(ends, lambda n, further=further: np.full(n, further, dtype=np.int64))
        assert np.isfinite(found).all()
        assert abs(found).min() > 9
        assert found[0] == -found[1]


def test_a_part_of_the_stream_is_never_used_twice() -> None:
    assert len(set(np.concatenate([stream(1000), stream(1000)]).tolist())) == 2000


def test_the_key_of_the_stream_is_the_operating_systems(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def fixed(n: int) -> bytes:
        asked.append(n)
        return bytes(range(n))

    monkeypatch.setattr("os.urandom", fixed)
    first = OsNoise().normal(5)
    assert asked[0] == 32
    assert np.array_equal(first, OsNoise().normal(5))


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

"""Randomness of the guarantee: from the operating system, in double precision, never from a seed.

Whoever knows the seed of the noise can subtract the noise. So production code constructs :class:`OsNoise` and nothing
else; it holds no state, nothing of it can be written to a checkpoint. Tests put another :class:`NoiseSource` in.

A normal variate is half the sum of four inverse normal distribution functions of uniforms on the midpoints of a
2^-52 grid (Holohan and Braghin, 2021). One alone has holes in its tail: beyond five standard deviations it reaches
fewer values than the grid of the result has, so that a value could betray the sum below it. (Midpoints of a 2^-53 grid
do not fit a double: the last one would round to 1, and the variate be infinite.) Sums are rounded to a grid after the
noise is added, so that the low bits of a double tell nothing of the value below the noise (Mironov, CCS 2012). That is a
mitigation, not a proof.
"""

from __future__ import annotations

import os
from fractions import Fraction
from math import floor, frexp
from typing import Protocol

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

SLACK = 1 + 1e-5
"""The noise is this much larger than accounted: float32 gradients make the sensitivity C (1 + 1e-6)."""

BLOCK = 1 << 20


class NoiseSource(Protocol):
    """Where noise, patient draws and the entropy of one step come from."""

    def normal(self, size: int) -> FloatArray:
        """(size,) independent standard normals."""
        ...

    def bernoulli(self, size: int, probability: float) -> BoolArray:
        """(size,) independent draws, each True with ``probability``."""
        ...

    def entropy(self) -> int:
        """A fresh 63-bit number, to seed the draws of one patient in one private step."""
        ...


class OsNoise:
    """The operating system's cryptographic generator; stateless, not reproducible."""

    def normal(self, size: int) -> FloatArray:
        """(size,) standard normals in float64."""
        out = np.zeros(size)
        for start in range(0, size, BLOCK):
            part = out[start : start + BLOCK]
            for _ in range(4):
                bits = np.frombuffer(os.urandom(8 * part.size), dtype=np.uint64)
                part += ndtri(((bits >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52)
        return out / 2

    def bernoulli(self, size: int, probability: float) -> BoolArray:
        """(size,) draws, exact to 2^-64: a uniform 64-bit integer below floor(q 2^64).

        Raises:
            ValueError: ``probability`` is outside [0, 1].
        """
        if not 0 <= probability <= 1:
            raise ValueError(f"probability {probability} is outside [0, 1]")
        threshold = floor(Fraction(probability) * 2**64)
        if threshold == 2**64:
            return np.ones(size, dtype=bool)
        bits = np.frombuffer(os.urandom(8 * size), dtype=np.uint64)
        return bits < np.uint64(threshold)

    def entropy(self) -> int:
        """63 fresh bits."""
        return int.from_bytes(os.urandom(8), "little") >> 1


def grid_of(clip_norm: float) -> float:
    """The power of two at or below 2^-30 times the clip norm; multiples of it are exact in float64 up to 2^22 clip norms.

    >>> grid_of(1.0) == 2.0**-30
    True
    """
    return float(2.0 ** (frexp(clip_norm)[1] - 1 - 30))


def add_noise(total: FloatArray, *, clip_norm: float, noise_multiplier: float, noise: NoiseSource) -> FloatArray:
    """A clipped sum plus N(0, (sigma C)^2), rounded to the grid.

    Only :mod:`synthrelease.privacy.mechanism` calls this: noise that is not counted does not exist.

    Args:
        total: (d,) sum of vectors of norm <= ``clip_norm``.
        clip_norm: C.
        noise_multiplier: sigma, as accounted.
        noise: Where the normals come from.

    Returns:
        (d,) float64.
    """
    grid = grid_of(clip_norm)
    noisy = total + (noise_multiplier * SLACK * clip_norm) * noise.normal(total.size).reshape(total.shape)
    return np.asarray(np.rint(noisy / grid) * grid, dtype=np.float64)

"""Randomness of the guarantee: from the operating system, in double precision, never from a seed.

Whoever knows the seed of the noise can subtract the noise. So production code constructs :class:`OsNoise` and nothing
else; it holds no state, nothing of it can be written to a checkpoint. Tests put another :class:`NoiseSource` in.

Bits are the key stream of AES-256 in counter mode under a key that the operating system gives for each call and nobody
keeps. A normal variate is the inverse normal distribution function of a 64-bit uniform; in the tails, beyond 2.1 standard
deviations, of a 117-bit one. So there are no holes: up to 10 standard deviations the values that it can take lie closer
together than the grid that results are rounded to, and which values occur tells nothing of the sum below the noise.
Sums are rounded to a grid after the noise is added, so that the low bits of a double tell nothing of the value below
the noise (Mironov, CCS 2012). That is a mitigation, not a proof.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from fractions import Fraction
from math import floor, frexp, sqrt
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from scipy.special import ndtri
from torch.special import erfinv

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
Bits = npt.NDArray[np.int64]

SLACK = 1 + 1e-3
"""The noise is this much larger than accounted: float32 sums make the sensitivity C (1 + 1e-6), and more in odd cases."""

BLOCK = 1 << 16
"""Numbers at once: what fits into a processor's cache."""


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


TAIL = 1 - 2.0**-5
"""Where a tail begins, as a share of the way from the middle of the distribution to its end: at 2.15 standard deviations."""


def stream(size: int) -> Bits:
    """(size,) random 64-bit numbers: the key stream of a cipher under a fresh key from the operating system."""
    cipher = Cipher(algorithms.AES(os.urandom(32)), modes.CTR(bytes(16)))
    return np.frombuffer(bytearray(cipher.encryptor().update(bytes(8 * size))), dtype=np.int64)


def normal_of(places: Bits, further: Callable[[int], Bits]) -> FloatArray:
    """Standard normals of uniform 64-bit numbers.

    A number, with its sign, is a place between the middle of the distribution and one of its ends, 2^63 steps away. In
    a tail its distance to the end is taken exactly, and 53 further bits say where within a step it lies.

    Args:
        places: (n,) uniform.
        further: Gives that many further uniform 64-bit numbers.

    Returns:
        (n,) float64, finite.
    """
    way = torch.from_numpy(places).to(torch.float64).add_(0.5).mul_(2.0**-63)
    tail = torch.nonzero(way.abs() >= TAIL).flatten().numpy()
    out: FloatArray = erfinv(way, out=way).mul_(sqrt(2)).numpy()
    own = places[tail]
    steps = np.int64(2**63 - 1) - np.where(own >= 0, own, ~own)
    within = ((further(tail.size).view(np.uint64) >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53
    size = -ndtri((steps.astype(np.float64) + within) * 2.0**-64)
    out[tail] = np.where(own >= 0, size, -size)
    return out


class OsNoise:
    """The operating system's cryptographic generator, and a cipher keyed by it; stateless, not reproducible."""

    def normal(self, size: int) -> FloatArray:
        """(size,) standard normals in float64."""
        out = np.empty(size)
        for start in range(0, size, BLOCK):
            part = out[start : start + BLOCK]
            part[:] = normal_of(stream(part.size), stream)
        return out

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
    noisy = noise.normal(total.size).reshape(total.shape) * (noise_multiplier * SLACK * clip_norm)
    flat, sums = noisy.reshape(-1), total.reshape(-1)
    for start in range(0, flat.size, BLOCK):
        part = flat[start : start + BLOCK]
        part += sums[start : start + BLOCK]
        # The grid is a power of two, so neither product rounds.
        part *= 1 / grid
        np.rint(part, out=part)
        part *= grid
    return noisy

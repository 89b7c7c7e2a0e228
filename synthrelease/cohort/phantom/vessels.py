"""Lung markings: vessel trees that walk outwards from each hilum, splatted into one table per patient."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from synthrelease.cohort.phantom.anatomy import Anatomy, Floats

TABLE_HALF = 1.1  # the table spans [-TABLE_HALF, TABLE_HALF] in both body coordinates
_GENERATIONS = (9, 22, 48)  # vessels per lung and branching generation
_STEPS = (26, 20, 13)
_CALIBRE = (0.030, 0.019, 0.012)  # starting radius in body units


def _walk(
    rng: np.random.Generator, start: NDArray[np.float64], heading: NDArray[np.float64], steps: int
) -> NDArray[np.float64]:
    """Persistent random walks; `start` (N, 2), `heading` (N,) radians -> points (N, steps, 2)."""
    turn = np.cumsum(rng.normal(0, 0.10, (len(heading), steps)), axis=1)
    angle = heading[:, None] + turn
    stride = 0.024 * rng.uniform(0.7, 1.3, (len(heading), 1))
    moves = np.stack([np.cos(angle), np.sin(angle)], axis=-1) * stride[..., None]
    return np.asarray(start[:, None, :] + np.cumsum(moves, axis=1))


def _trees(rng: np.random.Generator, hila: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """Points of each generation of both trees, each (N, 3) as x, y, calibre; `hila` is (2, 2), right lung first."""
    generations: list[NDArray[np.float64]] = []
    count, steps = _GENERATIONS[0], _STEPS[0]
    fan = np.linspace(-1.35, 1.45, count) + rng.normal(0, 0.12, (2, count))
    heading = np.concatenate([np.pi - fan[0], fan[1]])
    start = np.repeat(hila, count, axis=0) + rng.normal(0, 0.035, (2 * count, 2))
    points = np.zeros((0, 0, 2))
    for generation, (number, length) in enumerate(zip(_GENERATIONS, _STEPS, strict=True)):
        if generation:
            parent = np.concatenate([rng.integers(0, count, number), rng.integers(count, 2 * count, number)])
            at = rng.integers(steps // 6, steps - 2, 2 * number)
            start = points[parent, at]
            step = points[parent, at + 1] - start
            swing = rng.uniform(0.35, 0.85, 2 * number) * rng.choice((-1, 1), 2 * number)
            heading = np.arctan2(step[:, 1], step[:, 0]) + swing
        count, steps = number, length
        points = _walk(rng, start, heading, steps)
        calibre = _CALIBRE[generation] * rng.uniform(0.6, 1.2, (2 * count, 1)) * np.linspace(1, 0.35, steps)
        generations.append(np.concatenate([points, calibre[..., None]], axis=-1).reshape(-1, 3))
    return generations


def vessel_table(rng: np.random.Generator, anatomy: Anatomy, cells: int) -> Floats:
    """Thickness of blood in the lungs, (cells, cells) over `[-TABLE_HALF, TABLE_HALF]^2`, body units.

    Also holds the lung's fine interstitial grain, so that texture stays with the patient from image to image.
    The random numbers drawn do not depend on `cells`.
    """
    carina_x, carina_y = anatomy.carina
    drop = carina_y + rng.uniform((0.06, 0.03), (0.16, 0.13))  # the left hilum sits higher
    reach = rng.uniform(0.13, 0.18, 2)
    hila = np.array([(carina_x - reach[0], drop[0]), (carina_x + reach[1], drop[1])])
    trees = _trees(rng, hila)
    grain = rng.standard_normal((48, 48)).astype(np.float32)
    strength = rng.uniform(1.0, 2.0)
    table = np.zeros((cells, cells), np.float32)
    cell = 2 * TABLE_HALF / cells
    for points, calibre in zip(trees, _CALIBRE, strict=True):
        position = (points[:, :2] + TABLE_HALF) / cell - 0.5
        corner = np.floor(position).astype(np.int64)
        weight = position - corner
        # Thickness times length is conserved: each point carries calibre^2 * stride, spread over cell^2.
        mass = points[:, 2] ** 2 * 0.024 * np.pi / (cell * cell)
        corners, shares = [], []
        for right, down in ((0, 0), (1, 0), (0, 1), (1, 1)):
            column, row = corner[:, 0] + right, corner[:, 1] + down
            inside = (column >= 0) & (column < cells) & (row >= 0) & (row < cells)
            share = np.abs(1 - right - weight[:, 0]) * np.abs(1 - down - weight[:, 1])
            corners.append(np.where(inside, row * cells + column, 0))
            shares.append(mass * share * inside)
        layer = np.bincount(np.concatenate(corners), np.concatenate(shares), minlength=cells * cells)
        sigma = max(0.55 * calibre / cell, 0.55)
        table += ndimage.gaussian_filter(
            layer.reshape(cells, cells).astype(np.float32), sigma, truncate=2.5, mode="constant"
        )
    table *= strength
    coarse = np.linspace(0, grain.shape[0] - 1, cells)
    low = np.minimum(coarse.astype(np.int64), grain.shape[0] - 2)
    part = (coarse - low).astype(np.float32)[:, None]
    rows = grain[low] * (1 - part) + grain[low + 1] * part
    field = rows[:, low] * (1 - part.T) + rows[:, low + 1] * part.T
    return np.asarray(table + 0.009 * strength * field, np.float32)

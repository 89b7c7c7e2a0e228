"""Lung markings: vessel trees that walk outwards from each hilum, splatted into one table per patient."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from synthrelease.cohort.phantom.anatomy import LEFT, Anatomy, Floats

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


def _tree(rng: np.random.Generator, hilum: tuple[float, float], outward: float) -> list[NDArray[np.float64]]:
    """Points of each generation of one lung's tree, each (N * steps, 3) as x, y, calibre."""
    generations: list[NDArray[np.float64]] = []
    count, steps = _GENERATIONS[0], _STEPS[0]
    fan = np.linspace(-1.35, 1.45, count) + rng.normal(0, 0.12, count)
    heading = fan if outward > 0 else np.pi - fan
    start = np.array(hilum) + rng.normal(0, 0.025, (count, 2))
    for generation, (number, length) in enumerate(zip(_GENERATIONS, _STEPS, strict=True)):
        if generation:
            parent = rng.integers(0, count, number)
            at = rng.integers(steps // 6, steps - 2, number)
            start = points[parent, at]
            step = points[parent, at + 1] - start
            swing = rng.uniform(0.35, 0.85, number) * rng.choice((-1, 1), number)
            heading = np.arctan2(step[:, 1], step[:, 0]) + swing
        count, steps = number, length
        points = _walk(rng, start, heading, steps)
        calibre = _CALIBRE[generation] * rng.uniform(0.6, 1.2, (count, 1)) * np.linspace(1, 0.35, steps)
        generations.append(np.concatenate([points, calibre[..., None]], axis=-1).reshape(-1, 3))
    return generations


def vessel_table(rng: np.random.Generator, anatomy: Anatomy, cells: int) -> Floats:
    """Thickness of blood in the lungs, (cells, cells) over `[-TABLE_HALF, TABLE_HALF]^2`, body units.

    Also holds the lung's fine interstitial grain, so that texture stays with the patient from image to image.
    The random numbers drawn do not depend on `cells`.
    """
    carina_x, carina_y = anatomy.carina
    trees = []
    for side, outward in ((LEFT, 1.0), (1 - LEFT, -1.0)):
        hilum = (carina_x + outward * rng.uniform(0.13, 0.18), carina_y + rng.uniform(0.06, 0.16) - 0.04 * side)
        trees.append(_tree(rng, hilum, outward))
    grain = rng.standard_normal((48, 48)).astype(np.float32)
    strength = rng.uniform(1.0, 2.0)
    table = np.zeros((cells, cells), np.float32)
    cell = 2 * TABLE_HALF / cells
    for generation in range(len(_GENERATIONS)):
        points = np.concatenate([tree[generation] for tree in trees])
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
        sigma = max(0.55 * _CALIBRE[generation] / cell, 0.55)
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

"""Changes of place: mirrored, turned, shifted, zoomed, bent; what comes in from outside repeats the border."""

from __future__ import annotations

from functools import reduce

import numpy as np
import numpy.typing as npt
import torch
from scipy.ndimage import gaussian_filter

from synthrelease.audit.images import FloatArray
from synthrelease.audit.plants.grey import REFERENCE_SIDE, Change, in_range, scaled

Coordinates = npt.NDArray[np.floating]


def resampled(images: FloatArray, rows: Coordinates, columns: Coordinates) -> FloatArray:
    """Images read at other places, bilinear, the border repeated.

    Args:
        images: (N, C, H, W). rows, columns: (N, H, W) where each new pixel is read, in pixels.
    """
    height, width = images.shape[-2:]
    grid = np.stack([columns * 2.0 / (width - 1) - 1.0, rows * 2.0 / (height - 1) - 1.0], axis=-1)
    read = torch.nn.functional.grid_sample(
        torch.from_numpy(np.ascontiguousarray(images, dtype=np.float32)),
        torch.from_numpy(grid.astype(np.float32)),
        padding_mode="border",
        align_corners=True,
    )
    return in_range(read.numpy())


def _places(images: FloatArray) -> tuple[Coordinates, Coordinates]:
    """Rows and columns (H, W), from the middle of the image."""
    height, width = images.shape[-2:]
    rows, columns = np.mgrid[:height, :width].astype(np.float64)
    return rows - (height - 1) / 2.0, columns - (width - 1) / 2.0


def _centred(images: FloatArray, rows: Coordinates, columns: Coordinates) -> FloatArray:
    height, width = images.shape[-2:]
    return resampled(images, rows + (height - 1) / 2.0, columns + (width - 1) / 2.0)


def hflip(images: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Mirrored left to right."""
    return np.ascontiguousarray(images[..., ::-1])


def rot90(images: FloatArray, rng: np.random.Generator) -> FloatArray:
    """A quarter turn, one way or the other; images that are not square are turned by half."""
    turns = rng.choice([1, 3], len(images)) if images.shape[-1] == images.shape[-2] else np.full(len(images), 2)
    return np.stack([np.rot90(image, int(t), axes=(-2, -1)) for image, t in zip(images, turns, strict=True)])


def shifted(images: FloatArray, down: npt.NDArray[np.integer], right: npt.NDArray[np.integer]) -> FloatArray:
    """Each image moved by its own whole number of pixels."""
    height, width = images.shape[-2:]
    rows = np.clip(np.arange(height)[None] - down[:, None], 0, height - 1)
    columns = np.clip(np.arange(width)[None] - right[:, None], 0, width - 1)
    each = np.arange(len(images))
    return images[each[:, None, None], :, rows[:, :, None], columns[:, None, :]].transpose(0, 3, 1, 2).copy()


def shift(pixels: int) -> Change:
    """By so many pixels on both axes, each up or down."""

    def change(images: FloatArray, rng: np.random.Generator) -> FloatArray:
        down, right = scaled(pixels, images.shape[-1]) * rng.choice([-1, 1], (2, len(images)))
        return shifted(images, down, right)

    return change


def rotate(degrees: float) -> Change:
    """By so many degrees, one way or the other."""

    def change(images: FloatArray, rng: np.random.Generator) -> FloatArray:
        angle = np.deg2rad(degrees) * rng.choice([-1, 1], (len(images), 1, 1))
        rows, columns = _places(images)
        cosine, sine = np.cos(angle), np.sin(angle)
        return _centred(images, cosine * rows - sine * columns, sine * rows + cosine * columns)

    return change


def zoom(images: FloatArray, rng: np.random.Generator) -> FloatArray:
    """A tenth smaller or larger."""
    scale = rng.choice([0.9, 1.1], (len(images), 1, 1))
    rows, columns = _places(images)
    return _centred(images, rows / scale, columns / scale)


def elastic(images: FloatArray, rng: np.random.Generator) -> FloatArray:
    """A smooth random field (Gaussian of 6 px) moves pixels by up to 2.5 px on each axis."""
    side = images.shape[-1] / REFERENCE_SIDE
    field = gaussian_filter(rng.normal(size=(2, len(images), *images.shape[-2:])), (0, 0, 6.0 * side, 6.0 * side))
    field *= 2.5 * side / np.abs(field).max(axis=(2, 3), keepdims=True)
    rows, columns = _places(images)
    return _centred(images, rows + field[0], columns + field[1])


def perspective(images: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Seen from aside: every corner moves by up to 3 per cent of the side."""
    height, width = images.shape[-2:]
    corners = np.array([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]])
    moved = corners + rng.uniform(-0.06, 0.06, (len(images), 4, 2))
    rows, columns = _places(images)
    y, x = 2.0 * rows / (height - 1), 2.0 * columns / (width - 1)
    results_y, results_x = [], []
    for target in moved:
        ones, zeros = np.ones((4, 1)), np.zeros((4, 3))
        system = np.block(
            [
                [corners, ones, zeros, -target[:, :1] * corners],
                [zeros, corners, ones, -target[:, 1:] * corners],
            ]
        )
        a, b, c, d, e, f, g, h = np.linalg.solve(system, np.concatenate([target[:, 0], target[:, 1]]))
        depth = g * y + h * x + 1.0
        results_y.append((a * y + b * x + c) / depth * (height - 1) / 2.0)
        results_x.append((d * y + e * x + f) / depth * (width - 1) / 2.0)
    return _centred(images, np.stack(results_y), np.stack(results_x))


def chain(*changes: Change) -> Change:
    """One change after the other."""

    def change(images: FloatArray, rng: np.random.Generator) -> FloatArray:
        return reduce(lambda changed, step: step(changed, rng), changes, images)

    return change

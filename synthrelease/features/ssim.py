"""Multi-scale structural similarity of image pairs, as MONAI computes it: valid windows only.

(torchmetrics reflects the border at the last scale, and so counts it twice.)

Source: Wang, Simoncelli & Bovik, Asilomar 2003.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from synthrelease.features.descriptors import FloatArray

WINDOW = 11
DEVIATION = 1.5
WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
RANGE = 2.0
"""Between the darkest and the brightest grey, -1 and 1."""

_BATCH = 256


def scale_weights(side: int) -> tuple[float, ...]:
    """The weights of as many scales as fit an image: each halves the side, and the window must still fit.

    >>> len(scale_weights(64)), len(scale_weights(256)), round(sum(scale_weights(64)), 6)
    (3, 5, 1.0)
    """
    count = max(1, min(len(WEIGHTS), int(np.log2(max(side, WINDOW) / WINDOW)) + 1))
    total = sum(WEIGHTS[:count])
    return tuple(weight / total for weight in WEIGHTS[:count])


def ms_ssim(first: FloatArray, second: FloatArray) -> npt.NDArray[np.float64]:
    """Similarity of each pair.

    Args:
        first, second: (N, 1, H, W) in [-1, 1], H and W at least 11.

    Returns:
        (N,) in [0, 1]; 1 = the same image. A scale whose structure is opposite counts as 0.
    """
    weights = scale_weights(min(first.shape[-2:]))
    parts = []
    with torch.inference_mode():
        for start in range(0, len(first), _BATCH):
            # Luminance is compared as a ratio, so black is 0 and not -1.
            one, two = (torch.from_numpy(x[start : start + _BATCH].astype(np.float64)) + 1 for x in (first, second))
            parts.append(_of_batch(one, two, weights).numpy())
    return np.concatenate(parts)


def _of_batch(one: Tensor, two: Tensor, weights: tuple[float, ...]) -> Tensor:
    value = torch.ones(len(one), dtype=torch.float64)
    for scale, weight in enumerate(weights):
        whole, structure = _ssim(one, two)
        last = scale == len(weights) - 1
        value = value * torch.relu(whole if last else structure) ** weight
        if not last:
            one, two = nn.functional.avg_pool2d(one, 2), nn.functional.avg_pool2d(two, 2)
    return value


def _ssim(one: Tensor, two: Tensor) -> tuple[Tensor, Tensor]:
    """Mean similarity, and mean of its contrast-and-structure part, of each pair."""
    window = _window()

    def blur(x: Tensor) -> Tensor:
        return nn.functional.conv2d(x, window)

    small, large = (0.01 * RANGE) ** 2, (0.03 * RANGE) ** 2
    mean_1, mean_2 = blur(one), blur(two)
    variance_1, variance_2 = blur(one * one) - mean_1**2, blur(two * two) - mean_2**2
    covariance = blur(one * two) - mean_1 * mean_2
    structure = (2 * covariance + large) / (variance_1 + variance_2 + large)
    luminance = (2 * mean_1 * mean_2 + small) / (mean_1**2 + mean_2**2 + small)
    return (luminance * structure).mean((1, 2, 3)), structure.mean((1, 2, 3))


def _window() -> Tensor:
    place = torch.arange(WINDOW, dtype=torch.float64) - (WINDOW - 1) / 2
    line = torch.exp(-(place**2) / (2 * DEVIATION**2))
    line = line / line.sum()
    return torch.outer(line, line)[None, None]

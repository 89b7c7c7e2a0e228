"""The one way in which images are made ready for a network, whichever set they come from.

Resampling without antialiasing, JPEG and 8-bit steps, and a window fitted to each image move a Fréchet distance more than a
bad generator does; none of them happens here. Source: Parmar et al., "On aliased resizing and surprising subtleties
in GAN evaluation", CVPR 2022.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from synthrelease.features.descriptors import FloatArray

BATCH = 64


def resized(images: Tensor, side: int) -> Tensor:
    """Resample (N, C, H, W) to (N, C, side, side), antialiased when it shrinks, in floating point throughout."""
    if images.shape[-2:] == (side, side):
        return images
    return nn.functional.interpolate(images, size=(side, side), mode="bilinear", antialias=True, align_corners=False)


def as_rgb(images: Tensor) -> Tensor:
    """(N, 1, H, W) to (N, 3, H, W): the grey value in each channel."""
    return images.expand(-1, 3, -1, -1)


def in_batches(images: FloatArray, features: Callable[[Tensor], Tensor]) -> npt.NDArray[np.float64]:
    """Features of images, computed a batch at a time without gradients.

    Args:
        images: (N, 1, H, W) in [-1, 1]. features: (n, 1, H, W) to (n, D).

    Returns:
        (N, D) float64.
    """
    with torch.inference_mode():
        parts = [
            features(torch.from_numpy(np.ascontiguousarray(images[start : start + BATCH]))).double().numpy()
            for start in range(0, len(images), BATCH)
        ]
    return np.concatenate(parts)

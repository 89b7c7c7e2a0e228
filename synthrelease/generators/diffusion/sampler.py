"""From noise to pictures: second-order (Heun) integration of the probability flow, without added noise.

Source: Karras et al., NeurIPS 2022, algorithm 1.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from synthrelease.generators.diffusion.precondition import sampling_sigmas

Denoise = Callable[[Tensor, Tensor, Tensor], Tensor]


@torch.no_grad()
def heun(denoise: Denoise, start: Tensor, labels: Tensor, steps: int) -> Tensor:
    """Follow the flow from pure noise to a picture.

    Args:
        denoise: (noisy (N, C, H, W), sigma (N,), labels (N,)) -> (N, C, H, W).
        start: (N, C, H, W) standard normal; the only randomness.
        labels: (N,) int64.
        steps: Noise levels visited; 2 * steps - 1 calls of ``denoise``.

    Returns:
        (N, C, H, W) pictures, ranges not limited.
    """
    sigmas = sampling_sigmas(steps)
    x = start * float(sigmas[0])
    for index in range(steps):
        here, there = float(sigmas[index]), float(sigmas[index + 1])
        slope = (x - denoise(x, x.new_full((len(x),), here), labels)) / here
        nearer = x + (there - here) * slope
        if there > 0.0:
            slope_there = (nearer - denoise(nearer, x.new_full((len(x),), there), labels)) / there
            nearer = x + (there - here) * 0.5 * (slope + slope_there)
        x = nearer
    return x

"""Preconditioning, noise levels and sampling times of EDM, as pure functions of the noise level sigma.

A denoiser is D(x; sigma) = c_skip x + c_out F(c_in x; c_noise), with network F. The coefficients keep the input and
the target of F at unit variance for data of standard deviation sigma_data.

Source: Karras, Aittala, Aila, Laine, "Elucidating the design space of diffusion-based generative models", NeurIPS
2022, table 1 and section 5.
"""

from __future__ import annotations

import torch
from torch import Tensor

SIGMA_DATA = 0.5
P_MEAN = -1.2
P_STD = 1.2
SIGMA_MIN = 0.01
SIGMA_MAX = 40.0
RHO = 7.0


def skip_scale(sigma: Tensor) -> Tensor:
    """c_skip = sigma_data^2 / (sigma^2 + sigma_data^2)."""
    return SIGMA_DATA**2 / (sigma**2 + SIGMA_DATA**2)


def out_scale(sigma: Tensor) -> Tensor:
    """c_out = sigma sigma_data / sqrt(sigma^2 + sigma_data^2)."""
    return sigma * SIGMA_DATA / (sigma**2 + SIGMA_DATA**2).sqrt()


def in_scale(sigma: Tensor) -> Tensor:
    """c_in = 1 / sqrt(sigma^2 + sigma_data^2)."""
    return 1.0 / (sigma**2 + SIGMA_DATA**2).sqrt()


def noise_input(sigma: Tensor) -> Tensor:
    """c_noise = ln(sigma) / 4."""
    return sigma.log() / 4.0


def loss_weight(sigma: Tensor) -> Tensor:
    """lambda = 1 / c_out^2: every noise level starts with the same loss."""
    return 1.0 / out_scale(sigma) ** 2


def training_sigma(normal: Tensor) -> Tensor:
    """ln(sigma) = P_mean + P_std n, for standard normal n."""
    return (P_MEAN + P_STD * normal).exp()


def sampling_sigmas(steps: int) -> Tensor:
    """(steps + 1,) float64 falling noise levels, equation 5; the last is 0."""
    ramp = torch.arange(steps, dtype=torch.float64) / (steps - 1)
    top, bottom = SIGMA_MAX ** (1 / RHO), SIGMA_MIN ** (1 / RHO)
    return torch.cat([(top + ramp * (bottom - top)) ** RHO, torch.zeros(1, dtype=torch.float64)])

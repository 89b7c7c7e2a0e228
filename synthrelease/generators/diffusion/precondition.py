"""Preconditioning, noise levels and sampling times of the diffusion, as pure functions of the noise level sigma.

A denoiser is D(x; sigma) = skip(x; sigma) + c_out F(c_in x; c_noise), with network F. EDM takes skip = c_skip x, which is
best for white data. Pictures are not white: their cosine coefficients fall with frequency. So the skip here is the
Wiener filter of a public spectrum, which with t(u, v) its standard deviation at a frequency is, per coefficient,

    skip  = t^2 / (t^2 + sigma^2)
    c_out = sqrt(mean of t^2 sigma^2 / (t^2 + sigma^2))     what the filter leaves, root mean square over frequencies

For a flat spectrum t = sigma_data both are EDM's. The network starts from a filter that knows smooth pictures from
noise, and does not have to learn to remove grain. The spectrum is a constant of this file, measured on no cohort.

Source: Karras, Aittala, Aila, Laine, "Elucidating the design space of diffusion-based generative models", NeurIPS
2022, table 1 and section 5.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

SIGMA_DATA = 0.5
P_MEAN = -1.2
P_STD = 1.2
SIGMA_MIN = 0.01
SIGMA_MAX = 40.0
RHO = 7.0
CONTRAST = 0.08
CORNER = 4.0
FALL = 1.6


def cosines(size: int) -> Tensor:
    """(size, size) float32 orthonormal cosine transform: rows are waves, ``cosines @ x`` transforms columns."""
    place = torch.arange(size, dtype=torch.float64)
    waves = (math.pi / size * place[:, None] * (place + 0.5)).cos() * math.sqrt(2.0 / size)
    waves[0] /= math.sqrt(2.0)
    return waves.to(torch.float32)


def spectrum(size: int, segments: int) -> Tensor:
    """t^2, (1 + segments, size, size) float32: public variance of each coefficient of image and masks in [-1, 1].

    Above a corner of two cycles per picture the spread falls like frequency^-1.6: natural scenes fall like frequency^-1
    (Field 1987), radiographs are smoother. Below it the spread is level: what large structures have in common is
    the mean picture, which the network learns. Masks, which fill their range, have 1.5 times the image's spread.
    """
    axis = torch.arange(size, dtype=torch.float64)
    squared = axis[:, None] ** 2 + axis[None, :] ** 2
    spread = size * CONTRAST / (1.0 + squared / CORNER**2) ** (FALL / 2.0)
    scale = torch.tensor([1.0] + [1.5] * segments, dtype=torch.float64)
    return ((scale[:, None, None] * spread) ** 2).to(torch.float32)


def wiener(x: Tensor, sigma: Tensor, waves: Tensor, power: Tensor) -> Tensor:
    """The skip: what a picture of this spectrum is expected to be under the noise.

    Args:
        x: (N, C, H, W) noisy pictures.
        sigma: (N,) noise levels.
        waves: (H, H) :func:`cosines`.
        power: (C, H, W) :func:`spectrum`.

    Returns:
        (N, C, H, W).
    """
    gain = power / (power + sigma[:, None, None, None] ** 2)
    return torch.as_tensor(waves.T @ (gain * (waves @ x @ waves.T)) @ waves)


def out_scale(sigma: Tensor, power: Tensor) -> Tensor:
    """c_out (N, C): root mean square of what :func:`wiener` leaves, for (N,) sigma and (C, H, W) power."""
    level = sigma[:, None, None, None] ** 2
    return (power * level / (power + level)).mean(dim=(2, 3)).sqrt()


def in_scale(sigma: Tensor) -> Tensor:
    """c_in = 1 / sqrt(sigma^2 + sigma_data^2)."""
    return 1.0 / (sigma**2 + SIGMA_DATA**2).sqrt()


def noise_input(sigma: Tensor) -> Tensor:
    """c_noise = ln(sigma) / 4."""
    return sigma.log() / 4.0


def training_sigma(normal: Tensor) -> Tensor:
    """ln(sigma) = P_mean + P_std n, for standard normal n."""
    return (P_MEAN + P_STD * normal).exp()


def sampling_sigmas(steps: int) -> Tensor:
    """(steps + 1,) float64 falling noise levels, equation 5; the last is 0."""
    ramp = torch.arange(steps, dtype=torch.float64) / (steps - 1)
    top, bottom = SIGMA_MAX ** (1 / RHO), SIGMA_MIN ** (1 / RHO)
    return torch.cat([(top + ramp * (bottom - top)) ** RHO, torch.zeros(1, dtype=torch.float64)])

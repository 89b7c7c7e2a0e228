"""What critic and generator are trained to, and the penalties that keep the critic gentle.

    softplus    critic  softplus(-D(x)) + softplus(D(G(z)))      generator  softplus(-D(G(z)))
                penalty gamma / 2 |grad D(x)|^2 at real pictures (R1) or at generated ones (R2)
    wgan_gp     critic  -D(x) + D(G(z))                          generator  -D(G(z))
                penalty lambda (|grad D(u)| - 1)^2 at points u between a real picture and a generated one, and
                drift 0.001 D(x)^2

Every function is per example: a real picture's loss depends on that picture alone (and, in the penalty of wgan_gp, on a
generated one), so that it can be clipped patient by patient.

Sources: Goodfellow et al., NeurIPS 2014 (non-saturating); Mescheder, Geiger, Nowozin, ICML 2018 (R1 and R2); Gulrajani et al.,
NeurIPS 2017 (gradient penalty); Karras et al., ICLR 2018, appendix A (drift).
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.func import vjp
from torch.nn import functional

from synthrelease.generators.protocol import Forward

Kind = Literal["softplus", "wgan_gp"]

DRIFT = 1e-3


def on_real(scores: Tensor, kind: Kind) -> Tensor:
    """The critic's losses (N,) on its scores (N,) of real pictures, without penalty."""
    return functional.softplus(-scores) if kind == "softplus" else DRIFT * scores.square() - scores


def on_generated(scores: Tensor, kind: Kind) -> Tensor:
    """The critic's losses (N,) on its scores of generated pictures."""
    return functional.softplus(scores) if kind == "softplus" else scores


def of_generator(scores: Tensor, kind: Kind) -> Tensor:
    """The generator's losses (N,) on the critic's scores of what it made."""
    return functional.softplus(-scores) if kind == "softplus" else -scores


def squared_slopes(forward: Forward, at: Tensor) -> Tensor:
    """Squared length (N,) of the gradient of each picture's score with respect to that picture.

    Differentiable in the network's weights once more, by ordinary backward passes and by ``torch.func`` alike.

    Args:
        forward: (N, C, H, W) -> (N,) scores.
        at: (N, C, H, W) where the slope is taken.
    """
    scores, back, *_ = vjp(forward, at)
    (gradient,) = back(torch.ones_like(scores))
    squared: Tensor = gradient.square().sum(dim=(1, 2, 3))
    return squared


def r1(forward: Forward, real: Tensor, weight: float, resolution: int) -> Tensor:
    """gamma / 2 |grad D(x)|^2 (N,), of the slope with respect to the picture at full resolution; R2 at generated pictures.

    A critic of a coarse scale is the same function of the full picture as its mean over blocks of pixels: each pixel of a
    block of b then moves it by 1/b of what the coarse pixel does. Without this a coarse critic would be held down b times
    as hard.

    Args:
        forward: (N, C, h, w) -> (N,) scores.
        real: (N, C, h, w), what the critic sees; generated pictures for R2.
        weight: gamma.
        resolution: H of the full picture.
    """
    return 0.5 * weight * (real.shape[-1] / resolution) ** 2 * squared_slopes(forward, real)


def gradient_penalty(forward: Forward, real: Tensor, fake: Tensor, where: Tensor, weight: float) -> Tensor:
    """lambda (|grad D(u)| - 1)^2 (N,) at u = fake + where (real - fake).

    Args:
        forward: (N, C, H, W) -> (N,) scores.
        real: (N, C, H, W).
        fake: The same shape; one generated picture for each real one.
        where: (N,) in [0, 1].
        weight: lambda.
    """
    between = fake + where[:, None, None, None] * (real - fake)
    # The root has no slope at nothing.
    return weight * ((squared_slopes(forward, between) + 1e-12).sqrt() - 1.0).square()

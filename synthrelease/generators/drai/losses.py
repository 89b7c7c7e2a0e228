"""What the players are trained to, each function per example.

With softplus losses on the critics' scores s (non-saturating; softplus(-s) asks for a high score):

    critics      real  softplus(-D_x(x)) + softplus(-D_xt(x, t)) + 1/2 softplus(D_xt(x, t'))
                       + softplus(-D_xz(x, z^)) + softplus(-D_xc(x, c^))
                 made  softplus(D_x(x~)) + 1/2 softplus(D_xt(x~, t)) + softplus(D_xz(x~, z)) + softplus(D_xc(x~, c))
    generator          softplus(-D) of the four, on (x~, t, z, c)
    encoder            softplus(D_xz(x, z^)) + softplus(D_xc(x, c^)), the real halves with their labels turned round

Sources: Havaei et al., Medical Image Analysis 2021; Goodfellow et al., NeurIPS 2014; Reed et al., ICML 2016, for the halves.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.func import vjp
from torch.nn import functional

from synthrelease.generators.drai.discriminators import CLASS, CONTENT, PICTURE, STYLE, WRONG
from synthrelease.generators.drai.networks import Gaussian
from synthrelease.generators.protocol import Forward, Inputs

HALF = 0.5


def wrong_labels(labels: Tensor, classes: int, rng: torch.Generator) -> Tensor:
    """For each of (N,) labels another class, all others alike; the same one where there is no other.

    The law is fixed: classes rolled from the batch would bring a second patient's label into this one's loss.
    """
    if classes < 2:
        return labels.clone()
    return (labels + 1 + torch.randint(classes - 1, labels.shape, generator=rng)) % classes


def critics_on_real(scores: Tensor, labels: Tensor, wrong: Tensor) -> Tensor:
    """The critics' losses (N,) on scores (N, 5) of real pictures with their class, a wrong one, and inferred codes."""
    real = functional.softplus(-scores[:, [PICTURE, CLASS, STYLE, CONTENT]]).sum(dim=1)
    return real + HALF * (wrong != labels) * functional.softplus(scores[:, WRONG])


def critics_on_made(scores: Tensor) -> Tensor:
    """The critics' losses (N,) on scores (N, 5) of generated pictures with what they were generated from."""
    made = functional.softplus(scores)
    return made[:, PICTURE] + HALF * made[:, CLASS] + made[:, STYLE] + made[:, CONTENT]


def of_generator(scores: Tensor) -> Tensor:
    """The generator's losses (N,) on the same."""
    return functional.softplus(-scores[:, [PICTURE, CLASS, STYLE, CONTENT]]).sum(dim=1)


def of_encoder(scores: Tensor) -> Tensor:
    """The encoder's losses (N,) on scores (N, 5) of real pictures with the codes that it inferred."""
    return functional.softplus(scores[:, [STYLE, CONTENT]]).sum(dim=1)


def slope_penalty(forward: Forward, pairs: Inputs, weight: float) -> Tensor:
    """weight / 2 times the squared slope of the four scores together, with respect to picture and codes: (N,).

    R1 (Mescheder, Geiger, Nowozin, ICML 2018) where pairs are real, R2 where they are generated; near the goal the two are
    the same. A critic that is steep in a code tells inferred from generated pairs by the code's scale alone, so codes count
    like pixels.

    Args:
        forward: The critics.
        pairs: picture (N, 1 + K, H, W), labels (N,), style (N, style), content (N, content).
        weight: Of the penalty.
    """
    labels = pairs["labels"]

    def scored(picture: Tensor, style: Tensor, content: Tensor) -> Tensor:
        scores = forward(picture, labels, labels, style, content)
        return scores[:, [PICTURE, CLASS, STYLE, CONTENT]].sum(dim=1)

    scores, back, *_ = vjp(scored, pairs["picture"], pairs["style"], pairs["content"])
    squared = [slope.flatten(1).square().sum(dim=1) for slope in back(torch.ones_like(scores))]
    return 0.5 * weight * torch.stack(squared).sum(dim=0)


def divergence(q: Gaussian, p: Gaussian | None = None) -> Tensor:
    """KL(q || p) (N,), summed over coordinates; p is standard normal where it is not given."""
    if p is None:
        p = Gaussian(torch.zeros_like(q.mean), torch.zeros_like(q.mean))
    ratio = q.log_variance - p.log_variance
    distance = (q.mean - p.mean).square() * (-p.log_variance).exp()
    return 0.5 * (ratio.exp() + distance - 1.0 - ratio).sum(dim=-1)


def difference(one: Tensor, other: Tensor) -> Tensor:
    """Mean absolute difference (N,) of pictures (N, C, H, W)."""
    return (one - other).abs().mean(dim=(1, 2, 3))


def self_supervision(style: Tensor, content: Tensor, style_turned: Tensor, content_turned: Tensor) -> Tensor:
    """(N,) in [0, 3]: contents of a picture and of its transform shall be alike, and their styles unlike.

    Unlike means orthogonal: beyond that the encoder would merely turn a style's sign round.

    Args:
        style: (N, style) of the picture. content: (N, content). style_turned, content_turned: Of the transform.
    """
    alike = functional.cosine_similarity(content, content_turned, dim=1)
    unlike = functional.cosine_similarity(style, style_turned, dim=1)
    return 1.0 - alike + unlike.clamp_min(0.0)

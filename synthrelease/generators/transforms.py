"""Transforms that leave a picture what its label says, and its masks what they show.

Which ones do is a fact about the cohort, so a policy lists them. What each one changes stands in
:mod:`synthrelease.policy.transform_rules`, where those that change a label are refused. A transform is never the identity:
for self-supervision nothing could be unlike then.

Geometric ones move image and masks together. Parameters are drawn row by row.
"""

from __future__ import annotations

from math import pi

import torch
from torch import Tensor
from torch.nn import functional

TURN = (pi / 36, pi / 12)
"""Radians, least and most: 5 to 15 degrees."""
SHIFT = (0.05, 0.12)
"""Shares of the side."""
ZOOM = (0.08, 0.20)
"""Logarithms of the scale."""
EXPOSURE = (0.10, 0.30)
"""Logarithm of the contrast, and brightness where grey values span 2."""


def transformed(pictures: Tensor, names: tuple[str, ...], rng: torch.Generator) -> Tensor:
    """Each picture under a transform of its own.

    One of the listed ones, drawn evenly, is always part of it, and each of the others with a chance of a half.

    Args:
        pictures: (N, 1 + K, H, W) image and masks in [-1, 1].
        names: Transforms of the policy; at least one.
        rng: Source of all randomness.

    Returns:
        The same shape and range; what comes in from outside is the border's value.
    """
    size = len(pictures)
    taken = torch.rand(size, len(names), generator=rng) < 0.5
    taken[torch.arange(size), torch.randint(len(names), (size,), generator=rng)] = True
    on = {name: taken[:, i].to(pictures.dtype) for i, name in enumerate(names)}
    off = torch.zeros(size)
    away = {
        name: on.get(transform, off) * _away(size, bounds, rng) for name, (transform, bounds) in _PARAMETERS.items()
    }

    angle = away["angle"] + on.get("quarter_turn", off) * pi / 2
    scale = away["scale"].exp()
    cosine, sine = angle.cos() * scale, angle.sin() * scale
    # Rows of the matrix that says where in the old picture each place of the new one comes from; half a side is 1.
    matrix = torch.stack([cosine, -sine, 2 * away["across"], sine, cosine, 2 * away["down"]], dim=1).reshape(size, 2, 3)
    matrix[:, :, 0] *= 1.0 - 2.0 * on.get("mirror", off)[:, None]
    matrix[:, :, 1] *= 1.0 - 2.0 * on.get("upside_down", off)[:, None]
    grid = functional.affine_grid(matrix, list(pictures.shape), align_corners=False)
    moved = functional.grid_sample(pictures, grid, padding_mode="border", align_corners=False)

    contrast, brightness = (away[name][:, None, None, None] for name in ("contrast", "brightness"))
    image = moved[:, :1] * contrast.exp() + brightness
    return torch.cat([image, moved[:, 1:]], dim=1).clamp(-1.0, 1.0)


_PARAMETERS = {
    "angle": ("rotate", TURN),
    "across": ("shift", SHIFT),
    "down": ("shift", SHIFT),
    "scale": ("zoom", ZOOM),
    "contrast": ("exposure", EXPOSURE),
    "brightness": ("exposure", EXPOSURE),
}
"""By parameter, the transform it belongs to and its least and largest size."""


def _away(size: int, bounds: tuple[float, float], rng: torch.Generator) -> Tensor:
    """(N,) numbers of either sign, between the bounds in size."""
    least, most = bounds
    drawn = torch.rand(2, size, generator=rng)
    return (least + (most - least) * drawn[0]) * (1.0 - 2.0 * (drawn[1] < 0.5))

"""Pictures that are made of no data: soft shapes on a soft ground, of which maps of guidance can be taken.

They hold nothing of any cohort, so guidance by them costs no privacy; nor do they look like a body part, so what is painted
after them strays further from real images than after maps that were learned.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

SHAPES = 7
SOFTNESS = 0.08


def shapes(size: int, side: int, rng: torch.Generator) -> Tensor:
    """(size, 1, side, side) in [-1, 1]: a large ellipse that holds smaller ones, on a ground of its own.

    Args:
        size: Pictures. side: H = W. rng: Source of all randomness.
    """

    def drawn(*shape: int) -> Tensor:
        return torch.rand(size, *shape, generator=rng)

    axis = (torch.arange(side) + 0.5) / side * 2 - 1
    y, x = axis[:, None], axis[None, :]
    ground = functional.interpolate(drawn(1, 4, 4), size=(side, side), mode="bilinear", align_corners=True)
    picture = 0.35 * ground
    for number in range(SHAPES):
        first = number == 0
        across, down, turn = 0.25 * drawn(1, 1, 1) + 0.7, 0.25 * drawn(1, 1, 1) + 0.7, 3.14 * drawn(1, 1, 1)
        at_x, at_y = 0.2 * drawn(1, 1, 1) - 0.1, 0.2 * drawn(1, 1, 1) - 0.1
        if not first:
            across, down = 0.08 + 0.4 * drawn(1, 1, 1), 0.08 + 0.4 * drawn(1, 1, 1)
            at_x, at_y = 1.3 * drawn(1, 1, 1) - 0.65, 1.3 * drawn(1, 1, 1) - 0.65
        right = ((x - at_x) * turn.cos() + (y - at_y) * turn.sin()) / across
        up = ((y - at_y) * turn.cos() - (x - at_x) * turn.sin()) / down
        inside = torch.sigmoid((1.0 - (right.square() + up.square()).sqrt()) / SOFTNESS)
        level = drawn(1, 1, 1)
        picture = picture + inside * (level - picture)
    return picture.clamp(0.0, 1.0) * 2.0 - 1.0

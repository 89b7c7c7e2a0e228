"""When which scale is trained, and what real images look like at it.

A generator and its critic start at a few pixels and are doubled up to the resolution. Each new scale is faded in:
for a share of its steps the finest picture is a blend of the new scale and of the one before, doubled. Real images
are blended alike, so that the critic never tells them by their sharpness.

A scale is given half as many steps again as the one before: coarse steps are cheap and set the anatomy, fine ones carry
what is looked at.

Source: Karras, Aila, Laine, Lehtinen, "Progressive growing of GANs", ICLR 2018, section 2 and its official code for the
fading of real images; the schedule is ours.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional

COARSEST = 4
"""No scale has fewer pixels a side."""
LONGER = 1.5
"""Steps of a scale over those of the scale before."""


@dataclass(frozen=True)
class Stage:
    """Where growing stands.

    Attributes:
        level: Index of the finest scale in use; 0 is the coarsest.
        blend: Weight of that scale's picture in (0, 1]; the rest is the scale before, doubled. 1 at level 0.
    """

    level: int
    blend: float = 1.0


def scales(resolution: int) -> tuple[int, ...]:
    """Pixels a side of every scale, coarsest first: the resolution halved while that is even and leaves 4 or more.

    >>> scales(32)
    (4, 8, 16, 32)
    >>> scales(28)
    (7, 14, 28)
    """
    sizes = [resolution]
    while sizes[-1] % 2 == 0 and sizes[-1] // 2 >= COARSEST:
        sizes.append(sizes[-1] // 2)
    return tuple(reversed(sizes))


def stage_at(share: float, levels: int, fade_share: float) -> Stage:
    """The stage after a share of the growing steps.

    Args:
        share: In [0, 1]; 1 is fully grown.
        levels: Number of scales.
        fade_share: Share of a scale's steps in which it is faded in, in [0, 1].

    Returns:
        The stage. Level k begins at (r^k - 1) / (r^levels - 1) of the steps, for r = 1.5.
    """
    if share >= 1.0:
        return Stage(levels - 1)
    steps = share * (LONGER**levels - 1.0) / (LONGER - 1.0)
    level = 0
    while level < levels - 1 and steps >= LONGER**level:
        steps -= LONGER**level
        level += 1
    within = steps / LONGER**level
    # From the first step on the new scale carries a little: at a weight of nothing it would not learn.
    blend = 1.0 if level == 0 or within >= fade_share else max(within / fade_share, 1e-3)
    return Stage(level, blend)


def halved(x: Tensor) -> Tensor:
    """Each two by two pixels as their mean: (N, C, 2H, 2W) to (N, C, H, W)."""
    return functional.avg_pool2d(x, 2)


def doubled(x: Tensor) -> Tensor:
    """Each pixel as two by two: (N, C, H, W) to (N, C, 2H, 2W)."""
    return functional.interpolate(x, scale_factor=2.0, mode="nearest")


def at_stage(pictures: Tensor, stage: Stage, levels: int) -> Tensor:
    """Real pictures as the critic sees them while it grows.

    Args:
        pictures: (N, C, H, W) at full resolution.
        stage: Where growing stands.
        levels: Number of scales.

    Returns:
        (N, C, h, w) at the stage's size: means of pixels, blended with the scale before as the generator's are.
    """
    for _ in range(levels - 1 - stage.level):
        pictures = halved(pictures)
    if stage.blend < 1.0:
        pictures = pictures.lerp(doubled(halved(pictures)), 1.0 - stage.blend)
    return pictures

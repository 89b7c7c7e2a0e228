"""Two views of an image, and the way back: feature maps are brought into the image's own frame before any loss.

`within` views differ by an affine map, so that the same anatomy lies elsewhere in each and neither border nor padding
says where a cell is. `paper` views share their geometry; one of them is also turned by quarters, and only that turn
keeps position from answering for anatomy.

Coordinates follow torch: (x, y) in [-1, 1] from edge to edge of the image, x to the right, y down. A map theta reads:
the view shows at position p what the image has at theta(p).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class AffineRange:
    """How far two views may differ.

    Attributes:
        degrees: Turn, to either side. shift: Of the side, along each axis. scale: Least and greatest enlargement.
    """

    degrees: float = 28.0
    shift: float = 0.15
    scale: tuple[float, float] = (0.87, 1.15)


@dataclass(frozen=True)
class GreyRange:
    """How far grey scales of two views may differ; a radiograph's window is arbitrary.

    Attributes:
        gain: Log gain, to either side. offset: In grey of [-1, 1]. gamma: Log exponent. noise: Greatest deviation.
        shading: Deviation of a field that is added and varies over a third of the image.
    """

    gain: float = 0.25
    offset: float = 0.15
    gamma: float = 0.35
    noise: float = 0.04
    shading: float = 0.0


WIDE = GreyRange(gain=0.35, offset=0.25, gamma=0.6, noise=0.08, shading=0.25)
"""What landmark encoders learn under. Under the narrow range they learned faster and knew less: of points shown in one
phantom fewer were found in others, and in radiographs of children far fewer."""


@dataclass(frozen=True)
class QuarterTurn:
    """A mirror about both axes (half a turn), or about the vertical one, then ``turns`` quarter turns.

    Attributes:
        flip: Axes of a map that are mirrored first: (), (2, 3) or (3,). turns: 0 to 3, counter-clockwise.
    """

    flip: tuple[int, ...] = ()
    turns: int = 0

    def apply(self, maps: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C, H, W), or (N, C, W, H) for odd turns."""
        return torch.rot90(maps.flip(self.flip), self.turns, (2, 3))

    def undo(self, maps: Tensor) -> Tensor:
        """The way back, last step first; a mirror and a turn do not commute."""
        return torch.rot90(maps, -self.turns, (2, 3)).flip(self.flip)


def scaled(span: AffineRange, share: float) -> AffineRange:
    """A share of a range, 0 to 1."""
    low, high = (1.0 + share * (limit - 1.0) for limit in span.scale)
    return AffineRange(share * span.degrees, share * span.shift, (low, high))


def draw_affine(count: int, span: AffineRange, generator: torch.Generator, aspect: float = 1.0) -> Tensor:
    """(N, 2, 3) random maps theta.

    Args:
        span: How far. aspect: Width over height of the images, so that a turn keeps shapes.
    """
    turn = _even(count, math.radians(span.degrees), generator)
    low, high = span.scale
    scale = low + (high - low) * torch.rand(count, generator=generator)
    shift = 2.0 * torch.stack([_even(count, span.shift, generator) for _ in range(2)], dim=1)
    return affine(turn, scale, shift, aspect)


def affine(turn: Tensor, scale: Tensor, shift: Tensor, aspect: float = 1.0) -> Tensor:
    """Maps theta: turned by ``turn`` (N,) radians, enlarged ``scale`` (N,) times, moved by ``shift`` (N, 2) in [-1, 1]."""
    cos, sin = turn.cos() / scale, turn.sin() / scale
    top = torch.stack([cos, -sin / aspect, shift[:, 0]], dim=1)
    bottom = torch.stack([sin * aspect, cos, shift[:, 1]], dim=1)
    return torch.stack([top, bottom], dim=1)


def inverse(theta: Tensor) -> Tensor:
    """The maps back, (N, 2, 3)."""
    linear = torch.linalg.inv(theta[:, :, :2])
    return torch.cat([linear, -linear @ theta[:, :, 2:]], dim=2)


def after(first: Tensor, second: Tensor) -> Tensor:
    """One map for a view of a view: `warp(image, after(first, second))` is `warp(warp(image, first), second)`."""
    linear = first[:, :, :2] @ second[:, :, :2]
    return torch.cat([linear, first[:, :, :2] @ second[:, :, 2:] + first[:, :, 2:]], dim=2)


def warp(maps: Tensor, theta: Tensor) -> Tensor:
    """Read (N, C, H, W) at theta of every position, the border repeated (black corners would be all alike)."""
    return _sample(maps, theta, "border")


def unwarp(features: Tensor, theta: Tensor) -> tuple[Tensor, Tensor]:
    """Bring the features of a warped view back into the frame of its image.

    Args:
        features: (N, C, H, W) of the view that `warp` made with ``theta``.

    Returns:
        (N, C, H, W), zero where the view did not reach, and (N, 1, H, W) bool: where it did.
    """
    back = inverse(theta)
    grid = functional.affine_grid(back, list(features.shape), align_corners=False)
    height, width = features.shape[-2:]
    # Half a pixel inside the edge: outside it the nearest sample is fill on one side.
    reach = torch.tensor([1.0 - 1.0 / width, 1.0 - 1.0 / height], device=features.device) + 1e-4
    seen = (grid.abs() <= reach).all(dim=3)[:, None]
    return _sample(features, back, "border") * seen, seen


def filled(theta: Tensor, height: int, width: int) -> Tensor:
    """Where a warped view shows repeated border instead of image: (N, 1, H, W) bool."""
    grid = functional.affine_grid(theta, [len(theta), 1, height, width], align_corners=False)
    return (grid.abs() > 1.0).any(dim=3)[:, None]


def grey_change(images: Tensor, span: GreyRange, generator: torch.Generator) -> Tensor:
    """Another gamma, gain, offset and some noise for each image: (N, 1, H, W) in [-1, 1] to about the same range."""
    count = len(images)
    gain, offset, gamma = (
        _even(count, limit, generator).view(-1, 1, 1, 1) for limit in (span.gain, span.offset, span.gamma)
    )
    noise = span.noise * torch.rand(count, generator=generator).view(-1, 1, 1, 1)
    unit = (0.5 * images + 0.5).clamp(1e-4, 1.0) ** gamma.exp()
    changed = gain.exp() * (2.0 * unit - 1.0) + offset
    if span.shading:
        knots = span.shading * torch.randn(count, 1, 4, 4, generator=generator)
        changed = changed + functional.interpolate(knots, images.shape[-2:], mode="bicubic", align_corners=True)
    return changed + noise * torch.randn(images.shape, generator=generator)


def shared_geometry(images: Tensor, generator: torch.Generator, *, mirror: bool = False) -> tuple[Tensor, Tensor]:
    """The published first step, the same for both views: any turn, and a crop of 0.9 to 1.0 of the area.

    Args:
        mirror: Also mirror at random, as published; wrong for radiographs, where the heart tells left from right.

    Returns:
        (N, 1, H, W) images, and (N, 1, H, W) bool: where repeated border was filled in.
    """
    count, aspect = len(images), images.shape[-1] / images.shape[-2]
    enlarged = (0.9 + 0.1 * torch.rand(count, generator=generator)).rsqrt()
    # The crop may lie anywhere that the enlargement leaves.
    slack = 1.0 - 1.0 / enlarged
    shift = torch.stack([slack * _even(count, 1.0, generator) for _ in range(2)], dim=1)
    theta = affine(_even(count, math.pi, generator), enlarged, shift, aspect)
    if mirror:
        for axis in range(2):
            theta[:, :, axis] *= torch.randint(0, 2, (count, 1), generator=generator) * 2.0 - 1.0
    return warp(images, theta), filled(theta, *images.shape[-2:])


def slight_turn(images: Tensor, generator: torch.Generator, degrees: float = 2.0) -> Tensor:
    """The published light view: a turn of at most ``degrees``, never undone."""
    count = len(images)
    turn = _even(count, math.radians(degrees), generator)
    return warp(images, affine(turn, torch.ones(count), torch.zeros(count, 2), images.shape[-1] / images.shape[-2]))


def draw_quarter_turn(generator: torch.Generator, *, square: bool = True) -> QuarterTurn:
    """Half a turn with chance 1/2, then any number of quarter turns; even ones for images that are not square."""
    flip = (2, 3) if torch.rand((), generator=generator) < 0.5 else ()
    turns = (
        int(torch.randint(4, (), generator=generator)) if square else 2 * int(torch.randint(2, (), generator=generator))
    )
    return QuarterTurn(flip, turns)


def _sample(maps: Tensor, theta: Tensor, padding: str) -> Tensor:
    grid = functional.affine_grid(theta, list(maps.shape), align_corners=False)
    return functional.grid_sample(maps, grid, mode="bilinear", padding_mode=padding, align_corners=False)


def _even(count: int, limit: float, generator: torch.Generator) -> Tensor:
    """(N,) evenly in [-limit, limit]."""
    return limit * (2.0 * torch.rand(count, generator=generator) - 1.0)

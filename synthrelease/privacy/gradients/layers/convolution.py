"""Convolutions and transposed convolutions in two dimensions.

Four ways to a patient's weight gradient, chosen for each geometry by trying them once (:mod:`..choice`):

    grouped   all patients in one convolution with a group for each; wins where the picture is large against the channels
    product   for kernels of one pixel: a product of matrices a patient
    apart     one convolution a patient, over all of the patient's images; wins for large pictures and few patients
    gram      the norm alone, from inner products between positions, and one weighted gradient for the whole block; wins
              for many channels on small pictures, where a gradient of every patient would not even fit in the cache

A transposed convolution is a convolution with the roles of what went in and what came back exchanged.

Gram: with x the input, g the gradient that came back, and patches P_t, the squared norm of sum over t of g_t P_t^T is
sum over t, t' of (P_t . P_t') (g_t . g_t'). For stride s, pixels are first folded into channels s by s; patches then
overlap by whole cells, and (P_t . P_t') is a sum of shifted inner products of cells: patches are never formed.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from functools import cache
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from synthrelease.privacy.gradients.block import Unsupported
from synthrelease.privacy.gradients.choice import Geometry, cheapest
from synthrelease.privacy.gradients.layers.kept import Implicit, Kept, LayerGradients, gram, scaled, together, without

Pair = tuple[int, int]

KEPT_LIMIT = 1 << 26
"""Numbers that one layer's kept gradients may hold in a block: 256 MB."""
GRAM_LIMIT = 1 << 25
"""Numbers that the inner products of one slice of patients may hold."""
GRAM_PATIENTS = 16
GRAM_WORK = 1.0
"""Work of the inner products over that of the gradient itself, beyond which nothing can be won."""


@dataclass(frozen=True)
class Convolution:
    """The geometry of a convolution: weight (O, I / groups, kh, kw)."""

    weight: torch.Size
    stride: Pair
    padding: Pair
    dilation: Pair
    groups: int

    @property
    def pixel_by_pixel(self) -> bool:
        """Whether every output pixel sees the input pixel at its own place, and nothing else."""
        return self.weight[2:] == (1, 1) and (self.stride, self.padding, self.groups) == ((1, 1), (0, 0), 1)

    def weight_gradient(self, x: Tensor, g: Tensor, patients: int = 1) -> Tensor:
        """Gradient of the weight.

        Args:
            x: (N, patients * I, H, W).
            g: (N, patients * O, H', W').
            patients: How many independent convolutions lie beside each other in the channels.

        Returns:
            (patients * O, I / groups, kh, kw).
        """
        shape = (patients * self.weight[0], *self.weight[1:])
        gradient: Tensor = torch.ops.aten.convolution_backward(
            g,
            x,
            x.new_empty(1).expand(shape),
            None,
            self.stride,
            self.padding,
            self.dilation,
            False,
            [0, 0],
            patients * self.groups,
            [False, True, False],
        )[1]
        return gradient


def grouped(c: Convolution, x: Tensor, g: Tensor) -> Tensor:
    """Weight gradients (P, O, I / groups, kh, kw) for (P, M, I, H, W) and (P, M, O, H', W')."""
    patients = len(x)
    beside_x = x.transpose(0, 1).reshape(x.shape[1], -1, *x.shape[3:])
    beside_g = g.transpose(0, 1).reshape(g.shape[1], -1, *g.shape[3:])
    return c.weight_gradient(beside_x, beside_g, patients).reshape(patients, *c.weight)


def apart(c: Convolution, x: Tensor, g: Tensor) -> Tensor:
    """The same, one convolution a patient."""
    return torch.stack([c.weight_gradient(own_x, own_g) for own_x, own_g in zip(x, g, strict=True)])


def product(c: Convolution, x: Tensor, g: Tensor) -> Tensor:
    """The same for a kernel of one pixel, which sees every pixel alone."""
    return (_pixels(g) @ _pixels(x).mT).reshape(len(x), *c.weight)


def _pixels(values: Tensor) -> Tensor:
    """(P, M, C, H, W) to (P, C, M H W)."""
    return values.transpose(1, 2).flatten(2)


FORMED = {"grouped": grouped, "product": product, "apart": apart}
"""Ways that form every patient's gradient."""


def _cells(c: Convolution, x: Tensor, out: Pair) -> tuple[Tensor, Pair]:
    """Input as cells (P, channels, M, h, w) in float64, and the patch size in cells: output t sees cells t .. t + size - 1."""
    (kh, kw), (sh, sw), (ph, pw) = c.weight[2:], c.stride, c.padding
    size = (kh // sh, kw // sw)
    high, wide = (out[0] + size[0] - 1) * sh, (out[1] + size[1] - 1) * sw
    # A negative pad cuts off what no patch sees.
    x = functional.pad(x, (pw, wide - x.shape[-1] - pw, ph, high - x.shape[-2] - ph))
    patients, images, channels = x.shape[:3]
    x = x.reshape(patients, images, channels, high // sh, sh, wide // sw, sw)
    cells = x.permute(0, 2, 4, 6, 1, 3, 5).to(torch.float64, memory_format=torch.contiguous_format)
    return cells.reshape(patients, -1, images, high // sh, wide // sw), size


def patch_gram(c: Convolution, x: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
    """Squared norms and reaches (P,) of the weight gradients, which are not formed; for kernels that the stride divides."""
    out = (g.shape[-2], g.shape[-1])
    found = []
    for part_x, part_g in zip(torch.split(x, GRAM_PATIENTS), torch.split(g, GRAM_PATIENTS), strict=True):
        patients = len(part_x)
        cells, size = _cells(c, part_x, out)
        shape = cells.shape[2:]
        flat = cells.flatten(2)
        cell_products = (flat.mT @ flat).reshape(patients, *shape, *shape)
        back = part_g.transpose(1, 2).to(torch.float64, memory_format=torch.contiguous_format).flatten(2)
        back_products = back.mT @ back
        positions = back.shape[2]
        patches = sum(
            cell_products[:, :, i : i + out[0], j : j + out[1], :, i : i + out[0], j : j + out[1]]
            for i in range(size[0])
            for j in range(size[1])
        )
        assert isinstance(patches, Tensor)
        found.append(gram(patches.reshape(patients, positions, positions), back_products))
    squared, reach = (torch.cat(parts) for parts in zip(*found, strict=True))
    return squared, reach


class ConvolutionGram(Implicit):
    """Weight gradients of a convolution that are never formed."""

    def __init__(self, c: Convolution, x: Tensor, g: Tensor) -> None:
        super().__init__(g.shape[1] * g.shape[3] * g.shape[4])
        self._c, self._x, self._g = c, x, g

    def norms_and_reaches(self) -> tuple[Tensor, Tensor]:
        """See :class:`Implicit`."""
        return patch_gram(self._c, self._x, self._g)

    def formed(self, patient: int) -> Tensor:
        """See :class:`Implicit`."""
        return self._c.weight_gradient(self._x[patient], self._g[patient])

    def summed(self, weights: Tensor, counted: Tensor | None) -> Tensor:
        """See :class:`Implicit`."""
        x, g = without(self._x, counted), without(self._g, counted)
        # The weights go onto what came back, which is the smaller of the two as a rule.
        return self._c.weight_gradient(x.flatten(0, 1), scaled(g, weights).flatten(0, 1))


def _ways(c: Convolution, x: Tensor, g: Tensor, *, keep: bool) -> tuple[str, ...]:
    """The ways that are possible and not absurd for these shapes."""
    patients, images = x.shape[:2]
    positions = images * g.shape[-2] * g.shape[-1]
    cells = images * x.shape[-2] * x.shape[-1] // (c.stride[0] * c.stride[1])
    kernel = c.weight.numel()
    ways = ["apart"]
    if c.pixel_by_pixel:
        ways.append("product")
    if patients * kernel <= KEPT_LIMIT:
        ways.append("grouped")
    divides = c.weight[2] % c.stride[0] == 0 and c.weight[3] % c.stride[1] == 0
    plain = c.groups == 1 and c.dilation == (1, 1)
    work = cells**2 * x.shape[2] * c.stride[0] * c.stride[1] + positions**2 * c.weight[0]
    small = GRAM_PATIENTS * cells**2 <= GRAM_LIMIT
    if not keep and plain and divides and small and work <= GRAM_WORK * positions * kernel:
        ways.append("gram")
    if patients * kernel > KEPT_LIMIT and "gram" in ways:
        ways = ["gram"]
    return tuple(ways)


def _weight(c: Convolution, x: Tensor, g: Tensor, *, keep: bool) -> LayerGradients:
    ways = _ways(c, x, g, keep=keep)
    geometry = Geometry(c, tuple(x.shape), tuple(g.shape), x.dtype, x.device)

    @cache
    def numbers() -> tuple[Tensor, Tensor]:
        return torch.randn_like(x), torch.randn_like(g)

    def trial(way: str) -> None:
        made = by(way, *numbers())
        made.squared_norms()
        made.weighted_sum(torch.ones(len(x), dtype=x.dtype, device=x.device), None)

    def by(way: str, own_x: Tensor, own_g: Tensor) -> LayerGradients:
        if way == "gram":
            return ConvolutionGram(c, own_x, own_g)
        return Kept({"weight": FORMED[way](c, own_x, own_g)})

    return by(cheapest(geometry, ways, trial), x, g)


def convolution(
    layer: nn.Conv2d | nn.ConvTranspose2d, x: Tensor, g: Tensor, patients: int, wanted: Set[str], *, keep: bool
) -> LayerGradients:
    """Gradients of a convolution or transposed convolution.

    Args:
        layer: The layer.
        x: (N, I, H, W) what went in; patients' rows lie together.
        g: (N, O, H', W') gradient of the patients' mean losses with respect to what came out.
        patients: P.
        wanted: Which of weight and bias are trained.
        keep: Form every patient's gradient.

    Raises:
        Unsupported: Padding is not by zeros.
    """
    if layer.padding_mode != "zeros":
        raise Unsupported(f"padding mode {layer.padding_mode} of a convolution")
    x = x.reshape(patients, -1, *x.shape[1:])
    g = g.reshape(patients, -1, *g.shape[1:])
    parts: list[LayerGradients] = []
    if "weight" in wanted:
        transposed = isinstance(layer, nn.ConvTranspose2d)
        c = Convolution(
            layer.weight.shape,
            cast(Pair, layer.stride),
            _padding(layer),
            cast(Pair, layer.dilation),
            layer.groups,
        )
        seen, back = (g, x) if transposed else (x, g)
        parts.append(_weight(c, seen, back, keep=keep))
    if "bias" in wanted:
        parts.append(Kept({"bias": g.sum(dim=(1, 3, 4))}))
    return together(parts)


def _padding(layer: nn.Conv2d | nn.ConvTranspose2d) -> Pair:
    if not isinstance(layer.padding, str):
        return cast(Pair, layer.padding)
    if layer.padding == "valid":
        return (0, 0)
    each = tuple(d * (k - 1) for d, k in zip(layer.dilation, layer.kernel_size, strict=True))
    if any(total % 2 for total in each):
        raise Unsupported("uneven 'same' padding of a convolution")
    return cast(Pair, tuple(total // 2 for total in each))

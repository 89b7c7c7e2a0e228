"""Gradients of one layer that are small enough to be kept, one a patient."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor

from synthrelease.privacy.gradients.block import squared_norms_of

ROUNDING = 2.0**-21
"""Eight units of rounding of float32: what a sum of products may be off by, over the sum of the products' sizes."""


class LayerGradients(Protocol):
    """Patients' gradients of one layer's trained parameters."""

    def squared_norms(self) -> Tensor:
        """(P,) float64 over all parameters of the layer."""
        ...

    def weighted_sum(self, weights: Tensor, finite: Tensor | None) -> dict[str, Tensor]:
        """Sum over patients, by parameter name, in the parameter's shape.

        Args:
            weights: (P,) in the gradients' dtype.
            finite: (P,) which patients count, when some do not; those weigh zero, and their values may be NaN.
        """
        ...


class Kept:
    """Gradients held by name, each (P, ...)."""

    def __init__(self, gradients: Mapping[str, Tensor]) -> None:
        self.gradients = dict(gradients)

    def squared_norms(self) -> Tensor:
        """See :class:`LayerGradients`."""
        parts = [squared_norms_of(g.flatten(1)) for g in self.gradients.values()]
        return torch.stack(parts).sum(dim=0)

    def weighted_sum(self, weights: Tensor, finite: Tensor | None) -> dict[str, Tensor]:
        """See :class:`LayerGradients`."""
        out = {}
        for name, g in self.gradients.items():
            rows = g.flatten(1)
            if finite is not None:
                rows = torch.where(finite[:, None], rows, 0.0)
            out[name] = (weights @ rows).reshape(g.shape[1:])
        return out

    def plus(self, other: Kept) -> Kept:
        """Both uses of a layer that is used twice."""
        return Kept({name: g + other.gradients[name] for name, g in self.gradients.items()})


class Joined:
    """A layer whose parameters are treated in different ways."""

    def __init__(self, *parts: LayerGradients) -> None:
        self._parts = parts

    def squared_norms(self) -> Tensor:
        """See :class:`LayerGradients`."""
        return torch.stack([part.squared_norms() for part in self._parts]).sum(dim=0)

    def weighted_sum(self, weights: Tensor, finite: Tensor | None) -> dict[str, Tensor]:
        """See :class:`LayerGradients`."""
        return {name: value for part in self._parts for name, value in part.weighted_sum(weights, finite).items()}


def together(parts: list[LayerGradients]) -> LayerGradients:
    """One layer from the treatments of its parameters."""
    if all(isinstance(part, Kept) for part in parts):
        return Kept({k: v for part in parts if isinstance(part, Kept) for k, v in part.gradients.items()})
    return Joined(*parts)


def bounded(squared: Tensor, reach: Tensor) -> Tensor:
    """Squared norms of sums that are never formed, enlarged by what rounding may add when they are.

    A patient's terms can be huge and cancel: the norm is then small, and what float32 makes of the sum is not. Such a
    patient would be clipped too little, and the noise cover too little; for others the enlargement is about 1e-6.

    Args:
        squared: (P,) float64 squared norms, from float64 products.
        reach: (P,) float64 sums of the norms of the terms.
    """
    return (squared.clamp(min=0.0).sqrt() + ROUNDING * reach).square()


def gram_norms(x: Tensor, g: Tensor) -> Tensor:
    """Bounded squared norms (P,) of sum over t of g_t x_t^T, for inner products (P, T, T) of the x and of the g in float64."""
    reach = (x.diagonal(dim1=1, dim2=2) * g.diagonal(dim1=1, dim2=2)).clamp(min=0.0).sqrt().sum(dim=1)
    return bounded((x * g).sum(dim=(1, 2)), reach)


def without(values: Tensor, finite: Tensor | None) -> Tensor:
    """Rows (P, ...) with those of patients who do not count set to zero."""
    if finite is None:
        return values
    return torch.where(finite.reshape(-1, *[1] * (values.ndim - 1)), values, 0.0)


def scaled(values: Tensor, weights: Tensor) -> Tensor:
    """Rows (P, ...) times their weights (P,)."""
    return values * weights.reshape(-1, *[1] * (values.ndim - 1))

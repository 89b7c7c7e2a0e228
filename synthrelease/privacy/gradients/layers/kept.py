"""Gradients of one layer that are small enough to be kept, one a patient."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor

from synthrelease.privacy.gradients.block import squared_norms_of

ROUNDING = 2.0**-24
"""Unit of rounding of float32: a sum of T terms is off by at most T of it, over the sum of the terms' sizes."""
TOLERATED = 5e-4
"""Share of the norm that rounding may reach before a patient is summed apart; below the slack of the noise."""


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


def gram(x: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
    """Of sum over t of g_t x_t^T, from inner products (P, T, T) of the x and of the g in float64.

    Returns:
        (P,) squared norms, and (P,) reaches: sums of the norms of the terms.
    """
    reach = (x.diagonal(dim1=1, dim2=2) * g.diagonal(dim1=1, dim2=2)).clamp(min=0.0).sqrt().sum(dim=1)
    return (x * g).sum(dim=(1, 2)).clamp(min=0.0), reach


class Implicit(ABC):
    """Gradients of a weight that are summed over patients without being formed.

    A patient's terms can be huge and cancel. The norm is then small, and what float32 makes of the sum is not; and in
    a sum over the block such terms swallow the last digits of everybody else's. So a patient whose terms reach far
    beyond their sum is taken out: that gradient is formed, and what is formed is what is measured and added. For
    all others the norm is enlarged by the most that rounding may add.

    Args:
        terms: T, of one patient.
    """

    def __init__(self, terms: int) -> None:
        self._terms = terms
        self._apart: dict[int, Tensor] | None = None

    @abstractmethod
    def norms_and_reaches(self) -> tuple[Tensor, Tensor]:
        """(P,) float64 squared norms, and (P,) sums of the norms of the terms."""

    @abstractmethod
    def formed(self, patient: int) -> Tensor:
        """One patient's gradient, in the weight's shape."""

    @abstractmethod
    def summed(self, weights: Tensor, counted: Tensor | None) -> Tensor:
        """Sum over the patients that are counted, all where None, in the weight's shape."""

    def squared_norms(self) -> Tensor:
        """See :class:`LayerGradients`."""
        squared, reach = self.norms_and_reaches()
        lost = self._terms * ROUNDING * reach
        far = torch.nonzero(lost > TOLERATED * squared.sqrt()).flatten().tolist()
        self._apart = {patient: self.formed(patient) for patient in far}
        out = (squared.sqrt() + lost).square()
        for patient, gradient in self._apart.items():
            out[patient] = squared_norms_of(gradient.reshape(1, -1))[0]
        return out

    def weighted_sum(self, weights: Tensor, finite: Tensor | None) -> dict[str, Tensor]:
        """See :class:`LayerGradients`; the norms were asked for before."""
        assert self._apart is not None
        counted = finite
        if self._apart:
            counted = (
                torch.ones(len(weights), dtype=torch.bool, device=weights.device) if finite is None else finite.clone()
            )
            counted[list(self._apart)] = False
        total = self.summed(weights, counted)
        for patient, gradient in self._apart.items():
            if finite is None or bool(finite[patient]):
                total = total + weights[patient] * gradient
        return {"weight": total}


def without(values: Tensor, finite: Tensor | None) -> Tensor:
    """Rows (P, ...) with those of patients who do not count set to zero."""
    if finite is None:
        return values
    return torch.where(finite.reshape(-1, *[1] * (values.ndim - 1)), values, 0.0)


def scaled(values: Tensor, weights: Tensor) -> Tensor:
    """Rows (P, ...) times their weights (P,)."""
    return values * weights.reshape(-1, *[1] * (values.ndim - 1))

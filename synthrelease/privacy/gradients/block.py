"""What every way of computing patients' gradients has in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import torch
from torch import Tensor, nn

Inputs = Mapping[str, Tensor]
Loss = Callable[[Callable[..., Tensor], Inputs], Tensor]

LARGEST = 1e15
"""Norm from which a patient's gradient is refused like one that is not finite: its weight would be no number for float32."""

CHUNK = 1024
"""Numbers added up in float32 before a sum goes on in float64: keeps the error of a squared norm near 1e-7."""


class Unsupported(Exception):
    """A network or loss that this way cannot differentiate; another can. Says why."""


class BlockGradients(Protocol):
    """Gradients of the patients of one block, one flat vector a patient in the order of :func:`trained`, not yet clipped."""

    @property
    def squared_norms(self) -> Tensor:
        """(P,) float64; not finite where a patient's gradient is not finite."""
        ...

    @property
    def losses(self) -> Tensor:
        """(P,) mean loss of each patient's rows."""
        ...

    def weighted_sum(self, weights: Tensor) -> Tensor:
        """Sum over patients of weight times gradient.

        Args:
            weights: (P,) float64; a patient whose gradient is not finite must weigh zero, and then adds nothing.

        Returns:
            (d,) float64.
        """
        ...


def trained(module: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that are stepped, in the order of every flat vector here."""
    return {name: p for name, p in module.named_parameters() if p.requires_grad}


def flat_size(module: nn.Module) -> int:
    """Length of the flat gradient."""
    return sum(p.numel() for p in trained(module).values())


def squared_norms_of(rows: Tensor) -> Tensor:
    """Squared norm of each row of (P, n) float32, (P,) float64, exact to about 1e-7.

    >>> squared_norms_of(torch.tensor([[3.0, 4.0]])).tolist()
    [25.0]
    """
    width = rows.shape[1]
    whole = width - width % CHUNK
    parts = _squares(rows[:, :whole].reshape(len(rows), -1, CHUNK)).sum(dim=1)
    if whole < width:
        parts = parts + _squares(rows[:, whole:])
    # A gradient of 1e20 is finite and its square is not, in float32: such rows are squared again in float64.
    overflowed = ~torch.isfinite(parts)
    if bool(overflowed.any()):
        parts[overflowed] = rows[overflowed].to(torch.float64).square().sum(dim=1)
    return parts


def _squares(values: Tensor) -> Tensor:
    """Squared norms over the last axis; makes no second copy of the values."""
    norms: Tensor = torch.linalg.vector_norm(values, dim=-1)
    return norms.to(torch.float64).square()


def as_rows(inputs: Inputs) -> dict[str, Tensor]:
    """(P, M, ...) to (P M, ...): a patient's rows lie together."""
    return {name: value.flatten(0, 1) for name, value in inputs.items()}


class Matrix:
    """Gradients held as a matrix (P, d): what the two reference ways produce."""

    def __init__(self, gradients: Tensor, losses: Tensor) -> None:
        self._gradients = gradients
        self.losses = losses
        self.squared_norms = squared_norms_of(gradients)

    def weighted_sum(self, weights: Tensor) -> Tensor:
        """See :class:`BlockGradients`."""
        # inf * 0 is NaN, so refused gradients are replaced before they are scaled.
        finite = torch.isfinite(self.squared_norms)
        return weights @ torch.where(finite[:, None], self._gradients.to(torch.float64), 0.0)

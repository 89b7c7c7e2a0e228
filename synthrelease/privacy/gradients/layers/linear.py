"""Linear layers: gradient of patient p is sum over positions t of g_t x_t^T.

Its squared norm is sum over t, t' of (g_t . g_t') (x_t . x_t'), which costs T^2 (p + o) instead of T p o ("ghost norm",
Goodfellow 2015; Li et al. 2022); positions of all the patient's images are in it, cross terms included.
Gram matrices are computed in float64: where positions cancel, float32 would tell a norm that is too small, and
a patient would be clipped too little.
"""

from __future__ import annotations

from collections.abc import Set

import torch
from torch import Tensor, nn

from synthrelease.privacy.gradients.layers.kept import (
    Implicit,
    Kept,
    LayerGradients,
    gram,
    scaled,
    together,
    without,
)

FLOAT64 = 3.0
"""Cost of a multiplication in float64 over one in float32, with the conversion."""


class LinearGram(Implicit):
    """Weight gradients of a linear layer that are never formed.

    Args:
        x: (P, T, inputs).
        g: (P, T, outputs).
    """

    def __init__(self, x: Tensor, g: Tensor) -> None:
        super().__init__(x.shape[1])
        self._x, self._g = x, g

    def norms_and_reaches(self) -> tuple[Tensor, Tensor]:
        """See :class:`Implicit`."""
        x, g = self._x.to(torch.float64), self._g.to(torch.float64)
        return gram(x @ x.mT, g @ g.mT)

    def formed(self, patient: int) -> Tensor:
        """See :class:`Implicit`."""
        return self._g[patient].T @ self._x[patient]

    def summed(self, weights: Tensor, counted: Tensor | None) -> Tensor:
        """See :class:`Implicit`."""
        # In float64, which costs little here: no number is too small or too large beside another.
        x, g = without(self._x, counted).to(torch.float64), without(self._g, counted).to(torch.float64)
        return (scaled(g, weights.to(torch.float64)).flatten(0, 1).T @ x.flatten(0, 1)).to(self._x.dtype)


def linear(layer: nn.Linear, x: Tensor, g: Tensor, patients: int, wanted: Set[str], *, keep: bool) -> LayerGradients:
    """Gradients of a linear layer.

    Args:
        layer: The layer.
        x: (N, ..., inputs) what went in; patients' rows lie together.
        g: (N, ..., outputs) gradient of the patients' mean losses with respect to what came out.
        patients: P.
        wanted: Which of weight and bias are trained.
        keep: Form every patient's gradient.
    """
    x, g = x.reshape(patients, -1, layer.in_features), g.reshape(patients, -1, layer.out_features)
    parts: list[LayerGradients] = []
    if "weight" in wanted:
        positions = x.shape[1]
        by_gram = FLOAT64 * positions * (layer.in_features + layer.out_features)
        if keep or by_gram > layer.in_features * layer.out_features:
            parts.append(Kept({"weight": g.mT @ x}))
        else:
            parts.append(LinearGram(x, g))
    if "bias" in wanted:
        parts.append(Kept({"bias": g.sum(dim=1)}))
    return together(parts)

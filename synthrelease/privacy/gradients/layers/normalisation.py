"""Scale and shift after a normalisation within one example: group, layer and instance norm.

With n the normalised input, a patient's gradients are the sums of g n and of g over the patient's rows and positions.
"""

from __future__ import annotations

from collections.abc import Set

import torch
from torch import Tensor, nn
from torch.nn import functional

from synthrelease.privacy.gradients.layers.kept import Kept, LayerGradients


def _by_channel(normalised: Tensor, g: Tensor, patients: int, wanted: Set[str]) -> Kept:
    """(N, C, ...) each -> (P, C) sums."""
    rows = g.shape[0] // patients
    n, g = normalised.reshape(*g.shape[:2], -1), g.reshape(*g.shape[:2], -1)
    out = {}
    if "weight" in wanted:
        out["weight"] = torch.linalg.vecdot(n, g).reshape(patients, rows, -1).sum(dim=1)
    if "bias" in wanted:
        out["bias"] = g.sum(dim=2).reshape(patients, rows, -1).sum(dim=1)
    return Kept(out)


def group_norm(
    layer: nn.GroupNorm, x: Tensor, g: Tensor, patients: int, wanted: Set[str], *, keep: bool
) -> LayerGradients:
    """Gradients of a group norm; (N, C, ...) in and back."""
    return _by_channel(functional.group_norm(x, layer.num_groups, eps=layer.eps), g, patients, wanted)


def instance_norm(
    layer: nn.InstanceNorm2d, x: Tensor, g: Tensor, patients: int, wanted: Set[str], *, keep: bool
) -> LayerGradients:
    """Gradients of an instance norm; (N, C, H, W) in and back."""
    return _by_channel(functional.instance_norm(x, eps=layer.eps), g, patients, wanted)


def layer_norm(
    layer: nn.LayerNorm, x: Tensor, g: Tensor, patients: int, wanted: Set[str], *, keep: bool
) -> LayerGradients:
    """Gradients of a layer norm; (N, ..., *normalised_shape) in and back."""
    shape = layer.normalized_shape
    n = functional.layer_norm(x, shape, eps=layer.eps)
    out = {}
    if "weight" in wanted:
        out["weight"] = (n * g).reshape(patients, -1, *shape).sum(dim=1)
    if "bias" in wanted:
        out["bias"] = g.reshape(patients, -1, *shape).sum(dim=1)
    return Kept(out)

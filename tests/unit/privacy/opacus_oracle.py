"""Per-patient gradients by Opacus, an oracle that shares no code with this project's engines."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn


def opacus_patient_gradients(
    module: nn.Module,
    loss: Callable[[Callable[..., Tensor], Mapping[str, Tensor]], Tensor],
    inputs: Mapping[str, Tensor],
) -> Tensor:
    """Gradient of each patient's mean loss, unclipped, by the hooks of Opacus.

    Opacus gives one gradient a row; a patient's is the mean of its rows'. The module itself is left as it was: the
    hooks are put on a copy.

    Args:
        module: Built of layers that Opacus knows; every parameter belongs to a layer that is called as a module.
        loss: (forward, inputs) -> (rows,) losses, row i depends on row i only.
        inputs: Named tensors (P, M, ...): P patients with M rows each.

    Returns:
        (P, d) in the order of ``named_parameters`` that require a gradient; a parameter that the loss never reaches has
        the gradient zero.
    """
    from opacus.grad_sample import GradSampleModule

    patients, rows = next(iter(inputs.values())).shape[:2]
    flat = {name: value.flatten(0, 1) for name, value in inputs.items()}
    with warnings.catch_warnings():
        # Opacus and torch warn of insecure random numbers and of hooks on inputs without gradient; neither matters here.
        warnings.simplefilter("ignore")
        wrapped = GradSampleModule(copy.deepcopy(module).train(), loss_reduction="sum")
        loss(wrapped, flat).sum().backward()  # type: ignore[no-untyped-call]
    parts = []
    for parameter in wrapped.parameters():
        if parameter.requires_grad:
            rowwise = parameter.grad_sample
            if rowwise is None:
                rowwise = parameter.new_zeros(patients * rows, *parameter.shape)
            parts.append(rowwise.detach().reshape(patients, rows, -1).mean(dim=1))
    return torch.cat(parts, dim=1)

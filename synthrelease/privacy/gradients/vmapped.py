"""Patients' gradients by ``torch.func``: every patient is differentiated apart, whatever the network and loss are."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, vmap

from synthrelease.privacy.gradients.block import Inputs, Loss, Matrix, trained


def patient_gradients(module: nn.Module, loss: Loss, inputs: Inputs) -> tuple[Tensor, Tensor]:
    """The gradient of each patient's mean loss, unclipped.

    Args:
        module: The network; its buffers are used as they stand.
        loss: (forward, inputs) -> (M,) losses.
        inputs: Named tensors (P, M, ...): P patients with M rows each.

    Returns:
        (P, d) gradients in the module's dtype and (P,) losses.
    """
    parameters = {name: p.detach() for name, p in trained(module).items()}

    def patient_loss(values: dict[str, Tensor], own: dict[str, Tensor]) -> Tensor:
        def forward(*args: Any, **kwargs: Any) -> Tensor:
            out: Tensor = functional_call(module, values, args, kwargs)
            return out

        return loss(forward, own).mean()

    gradients, losses = vmap(grad_and_value(patient_loss), in_dims=(None, 0), randomness="error")(
        parameters, dict(inputs)
    )
    patients = next(iter(inputs.values())).shape[0]
    return torch.cat([gradients[name].reshape(patients, -1) for name in parameters], dim=1), losses


def vmapped(module: nn.Module, loss: Loss, inputs: Inputs) -> Matrix:
    """Gradients of a block; see :func:`patient_gradients`."""
    return Matrix(*patient_gradients(module, loss, inputs))

"""The clipped sum of patients' gradients.

Per patient: the loss is the mean over the images drawn and the random draws of each; its gradient is one vector, set
to zero when it is not finite, and scaled to norm <= C. Averaging before clipping costs no privacy (Charles et al.,
SaTML 2025, user-level sampling; Dockhorn et al., TMLR 2023, noise multiplicity).

``torch.func.vmap`` computes every patient apart, so no statistic over the batch can reach across patients. Patients
go through in micro-batches of one fixed shape (the last one is filled up, the filling weighs zero): memory stays flat
and a patient's gradient does not depend on how many others were drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, vmap

from synthrelease.privacy.mechanism import ClippedSum

Inputs = Mapping[str, Tensor]
Loss = Callable[[Callable[..., Tensor], Inputs], Tensor]

ROWS_AT_ONCE = 64


def trained(module: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that are stepped, in the order of every flat vector here."""
    return {name: p for name, p in module.named_parameters() if p.requires_grad}


def flat_size(module: nn.Module) -> int:
    """Length of the flat gradient."""
    return sum(p.numel() for p in trained(module).values())


def patients_at_once(rows_per_patient: int) -> int:
    """Patients in one micro-batch; public, from the plan alone."""
    return max(1, ROWS_AT_ONCE // rows_per_patient)


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


def clipped_gradient_sum(
    module: nn.Module, loss: Loss, blocks: Iterable[Inputs], clip_norm: float, *, block: int
) -> tuple[ClippedSum, float]:
    """Sum over patients of their clipped gradients, in float64.

    Args:
        module: The network that is stepped.
        loss: (forward, inputs) -> (M,) losses, one a row; row i may depend on row i only.
        blocks: Named tensors (P, M, ...) of P patients with M rows each, 1 <= P <= ``block``; each patient in one
            block only. No block at all is an empty draw: the sum is zero.
        clip_norm: C.
        block: Patients in a full block, public; see :func:`patients_at_once`.

    Returns:
        The clipped sum, and the mean of the finite losses (NaN when there is none). Both are private.
    """
    total = torch.zeros(flat_size(module), dtype=torch.float64)
    patients = clipped = refused = 0
    seen: list[float] = []
    for part in blocks:
        real = next(iter(part.values())).shape[0]
        if real > block:
            raise ValueError(f"a block of {real} patients, more than {block}")
        if real < block:
            part = {name: torch.cat([v, v[:1].expand(block - real, *v.shape[1:])]) for name, v in part.items()}
        gradients, losses = patient_gradients(module, loss, part)
        wide = gradients[:real].to(torch.float64)
        norms = wide.square().sum(dim=1).sqrt()
        finite = torch.isfinite(norms)
        # inf * 0 is NaN, so refused gradients are replaced before they are scaled.
        wide = torch.where(finite[:, None], wide, 0.0)
        factors = torch.where(finite, clip_norm / torch.clamp(norms, min=clip_norm), 0.0)
        total += factors @ wide
        patients += real
        clipped += int((finite & (norms > clip_norm)).sum())
        refused += int((~finite).sum())
        seen += [float(x) for x in losses[:real] if torch.isfinite(x)]
    mean_loss = float(np.mean(seen)) if seen else float("nan")
    return ClippedSum(total.numpy(), clip_norm, patients, clipped, refused), mean_loss


def put_gradient(module: nn.Module, vector: Tensor) -> None:
    """Write a flat gradient into the parameters' ``grad``, for the optimiser.

    Args:
        module: The network.
        vector: (d,) in the order of :func:`trained`.
    """
    start = 0
    for parameter in trained(module).values():
        part = vector[start : start + parameter.numel()]
        parameter.grad = part.reshape(parameter.shape).to(parameter.dtype)
        start += parameter.numel()

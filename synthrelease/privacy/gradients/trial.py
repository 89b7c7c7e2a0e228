"""Whether a backend gives this network and loss the gradients of patients taken one by one: tried, not assumed.

Book-keeping trusts that a layer's row i belongs to row i of the inputs and that parameters are used through their layers
alone; the hooks of Opacus trust that too, and how tensors lie in memory besides. None of it can be read off a network, so
the backend and one backward pass a patient are run on random inputs and random parameters before training (fresh networks
often end in zeros, which would hide a difference), and must agree.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy

import torch
from torch import Tensor, nn

from synthrelease.privacy.gradients.block import BlockGradients, Inputs, Loss, Unsupported, trained
from synthrelease.privacy.gradients.bookkeeping import book_kept

TOLERANCE = 1e-3
"""Of float32 gradients of a random deep network, over the largest element; a wrong use differs by about 1."""


def problem(
    module: nn.Module,
    loss: Loss,
    inputs: Inputs,
    way: Callable[[nn.Module, Loss, Inputs], BlockGradients] = book_kept,
) -> str | None:
    """Why a way of computing gradients cannot be used, or None.

    Args:
        module: The network; left as it is.
        loss: (forward, inputs) -> (rows,) losses.
        inputs: Named tensors (P, M, ...) with P >= 2 and M >= 2; public examples: shapes, integers and noise.
        way: One of the backends.
    """
    patients = next(iter(inputs.values())).shape[0]
    copy = deepcopy(module)
    rng = torch.Generator().manual_seed(20260102)
    with torch.no_grad():
        for p in trained(copy).values():
            p.add_(0.1 * torch.randn(p.shape, generator=rng, dtype=p.dtype).to(p.device))
    judged = torch.stack([_alone(copy, loss, {n: v[p] for n, v in inputs.items()}) for p in range(patients)])
    try:
        found = way(copy, loss, inputs)
    except Unsupported as error:
        return str(error)
    except RuntimeError as error:  # autograd and functorch refuse what they cannot differentiate in this way
        return f"it cannot be differentiated in this way ({str(error).splitlines()[0]})"
    for weights, expected in zip(torch.eye(patients, dtype=torch.float64, device=judged.device), judged, strict=True):
        largest = float(expected.abs().max())
        if not float((expected - found.weighted_sum(weights)).abs().max()) <= TOLERANCE * largest:
            return "its gradients differ from those of patients taken apart"
    norms, expected_norms = found.squared_norms, judged.square().sum(dim=1)
    if not bool(((norms - expected_norms).abs() <= TOLERANCE * expected_norms).all()):
        return "its norms differ from those of patients taken apart"
    return None


def _alone(module: nn.Module, loss: Loss, own: Inputs) -> Tensor:
    """Gradient (d,) float64 of one patient's mean loss, by an ordinary backward pass."""
    parameters = list(trained(module).values())
    gradients = torch.autograd.grad(loss(module, own).mean(), parameters, materialize_grads=True, allow_unused=True)
    return torch.cat([g.flatten() for g in gradients]).to(torch.float64)

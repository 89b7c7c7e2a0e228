"""Refusal of networks and losses in which one patient reaches another patient's loss.

The guarantee bounds what one patient adds to a sum of clipped gradients. A layer that mixes examples (batch
normalisation, minibatch standard deviation, batch attention, contrastive losses) lets one patient change the
gradients of all the others, so that the sum moves by more than C and the noise covers too little: with a minibatch
standard deviation a change of ten times C was measured, and a validator of layer types let it pass.

So besides layer types, the loss itself is tried: in training mode, on random inputs and random parameters (fresh
networks often end in zeros, which would hide a path), row i of the loss must not depend on row j of the inputs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from synthrelease.errors import PolicyError
from synthrelease.privacy.clipping import Inputs, Loss, trained

MATHEMATICS = (
    "With patients i and j in one batch, the gradient of i's loss may depend on i alone: then removing j changes the sum of "
    "clipped gradients by one vector of norm at most C, which is what the noise covers. Here removing j also changes the "
    "gradient of i and of everybody else, by up to 2C each."
)
TRIES = 3


def layer_problems(module: nn.Module) -> list[str]:
    """Every layer that is known to mix examples or to keep statistics of them, by name."""
    problems = []
    for name, layer in module.named_modules():
        where = f"{name or 'the network'} ({type(layer).__name__})"
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            problems.append(f"{where} divides by the mean and variance over the batch; use GroupNorm")
        elif isinstance(layer, nn.modules.instancenorm._InstanceNorm) and layer.track_running_stats:
            problems.append(f"{where} keeps running statistics of real images; set track_running_stats=False")
    return problems


def opacus_problems(module: nn.Module) -> list[str]:
    """What the module validator of Opacus finds: a second list of layer types, kept by others."""
    from opacus.validators import ModuleValidator

    return [str(error) for error in ModuleValidator.validate(module, strict=False)]


def _random_like(inputs: Inputs, rng: torch.Generator) -> dict[str, Tensor]:
    """Other inputs of the same shapes: arrays get normals added, one number an example (a noise level) keeps its sign."""

    def changed(value: Tensor) -> Tensor:
        if not value.is_floating_point():
            return value.clone()
        normal = torch.randn(value.shape, generator=rng, dtype=value.dtype)
        return value * (0.3 * normal).exp() if value.ndim == 1 else value + normal

    return {name: changed(value) for name, value in inputs.items()}


def _mixes(module: nn.Module, loss: Loss, inputs: Mapping[str, Tensor], rng: torch.Generator) -> str | None:
    """How row i of the loss depends on another row, or None."""
    parameters = {
        name: p.detach() + 0.1 * torch.randn(p.shape, generator=rng, dtype=p.dtype)
        for name, p in trained(module).items()
    }

    def forward(*args: Any, **kwargs: Any) -> Tensor:
        out: Tensor = functional_call(module, parameters, args, kwargs)
        return out

    leaves = {n: v.requires_grad_(True) if v.is_floating_point() else v for n, v in _random_like(inputs, rng).items()}
    losses = loss(forward, leaves)
    rows = next(iter(inputs.values())).shape[0]
    if losses.shape != (rows,):
        return f"the loss has shape {tuple(losses.shape)} for {rows} examples; one number an example is needed"
    if not bool(torch.isfinite(losses).all()):
        return "the loss of ordinary random inputs is not finite, so nothing can be tried"
    floats = [v for v in leaves.values() if v.is_floating_point()]
    for i in range(rows):
        gradients = torch.autograd.grad(losses[i], floats, retain_graph=True, allow_unused=True)
        others = torch.arange(rows) != i
        if any(g is not None and bool((g[others] != 0).any()) for g in gradients):
            return "the gradient of one example's loss with respect to another example is not zero"
    # Detached statistics have no gradient but still carry a value across.
    with torch.no_grad():
        again = loss(forward, leaves)
        if not torch.equal(again, losses.detach()):
            return "the loss of equal inputs differs from call to call: it keeps state or draws inside the loss"
        other = _random_like(inputs, rng)
        changed = {
            n: torch.cat([v.detach()[:1], other[n][1:] if v.is_floating_point() else v[1:]]) for n, v in leaves.items()
        }
        moved = (loss(forward, changed)[0] - losses[0]).abs() > 1e-4 * (1 + losses[0].abs())
    return "changing other examples changes one example's loss" if bool(moved) else None


def assert_patients_isolated(module: nn.Module, loss: Loss, inputs: Inputs, *, opacus: bool = True) -> None:
    """Refuse private training of a network or loss that mixes examples.

    Args:
        module: The network, about to be trained; it is put in training mode for the trial and then set back.
        loss: (forward, inputs) -> (N,) losses.
        inputs: Named tensors with leading axis N >= 2; only shapes and integer values are used, so any public example serves.
        opacus: Also ask Opacus' module validator.

    Raises:
        PolicyError: With every problem found and the mathematics of why it is refused.
    """
    rows = next(iter(inputs.values())).shape[0]
    if rows < 2:
        raise ValueError("two examples are needed to see whether they mix")
    was_training = module.training
    buffers = {name: value.clone() for name, value in module.named_buffers()}
    module.train()
    try:
        problems = layer_problems(module)
        if opacus:
            problems += opacus_problems(module)
        rng = torch.Generator().manual_seed(20260101)
        if not problems:
            for _ in range(TRIES):
                found = _mixes(module, loss, inputs, rng)
                if found is not None:
                    problems.append(found)
                    break
            if any(not torch.equal(value, buffers[name]) for name, value in module.named_buffers()):
                problems.append(
                    "the network's buffers change during the forward pass: they would hold statistics of real images"
                )
    finally:
        module.train(was_training)
        with torch.no_grad():
            for name, value in module.named_buffers():
                value.copy_(buffers[name])
    if problems:
        raise PolicyError(
            "this network cannot be trained privately: " + "; ".join(problems),
            fix=MATHEMATICS + " Remove the layer or loss, or choose privacy.mode: none.",
        )

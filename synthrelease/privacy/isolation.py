"""Refusal of networks and losses in which one patient reaches another patient's loss.

The guarantee bounds what one patient adds to a sum of clipped gradients. A layer that mixes examples (batch
normalisation, minibatch standard deviation, batch attention, contrastive losses) lets one patient change the
gradients of all the others, so that the sum moves by more than C and the noise covers too little: with a minibatch
standard deviation a change of ten times C was measured, and a validator of layer types let it pass.

So besides layer types, the loss itself is tried (:mod:`synthrelease.privacy.mixing`), and each cause is explained
(:mod:`synthrelease.privacy.mixing_causes`).

Spectral normalisation is a border case. Its power iteration reads weights only, which are private already; but inside the
forward pass it runs as often as there are blocks of drawn patients, a count that nothing noises. It is refused there
and allowed where it iterates outside of the loss, once a step.
"""

from __future__ import annotations

import torch
from torch import nn

from synthrelease.errors import PolicyError
from synthrelease.privacy.clipping import Inputs, Loss
from synthrelease.privacy.mixing import find_mixing

MATHEMATICS = (
    "With patients i and j in one batch, the gradient of i's loss may depend on i alone: then removing j changes the sum of "
    "clipped gradients by one vector of norm at most C, which is what the noise covers."
)
LAYERS = (
    "A statistic over the batch changes with every patient in it, and with it the vectors of all P patients, by up to 2C "
    "each: the sum moves by up to (2P - 1) C; a running statistic keeps real images without noise besides."
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


def assert_patients_isolated(module: nn.Module, loss: Loss, inputs: Inputs, *, opacus: bool = True) -> None:
    """Refuse private training of a network or loss that mixes examples.

    Args:
        module: The network, about to be trained; left as it is.
        loss: (forward, inputs) -> (N,) losses.
        inputs: Named tensors with leading axis N >= 2, 4 or more to tell pairs from statistics; only shapes and integer
            values are used, so any public example serves. Integers are dealt anew among the rows: give different ones.
        opacus: Also ask Opacus' module validator.

    Raises:
        PolicyError: With every problem found and the mathematics of why it is refused.
    """
    rows = len(next(iter(inputs.values())))
    if rows < 2:
        raise ValueError("two examples are needed to see whether they mix")
    problems = layer_problems(module)
    reasons = [LAYERS] if problems else []
    if opacus:
        problems += opacus_problems(module)
    rng = torch.Generator().manual_seed(20260101)
    for _ in () if problems else range(TRIES):
        cause = find_mixing(module, loss, inputs, rng)
        if cause is not None:
            problems, reasons = [cause.what], [cause.mathematics]
            break
    if problems:
        raise PolicyError(
            "this network cannot be trained privately: " + "; ".join(problems),
            fix=" ".join([MATHEMATICS, *reasons, "Remove the layer or loss, or choose privacy.mode: none."]),
        )

"""Weights of a network as others use them: standing still, or by name out of a whole generator's."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn
from torch.func import functional_call

from synthrelease.errors import IntegrityError
from synthrelease.generators.protocol import Forward


def still(network: nn.Module) -> Forward:
    """A network with its weights as they stand: no gradient of theirs is wanted."""
    weights = {name: p.detach() for name, p in network.named_parameters()}

    def forward(*args: Tensor) -> Tensor:
        out: Tensor = functional_call(network, weights, args)
        return out

    return forward


def under(state: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """The tensors of one network of several, which stand under ``name/``."""
    prefix = f"{name}/"
    return {key.removeprefix(prefix): tensor for key, tensor in state.items() if key.startswith(prefix)}


def put(network: nn.Module, state: Mapping[str, Tensor], what: str) -> None:
    """Give a network the weights of a checkpoint; ``what`` names it in the error.

    Raises:
        IntegrityError: A tensor is missing or has another shape.
    """
    try:
        network.load_state_dict(dict(state))
    except RuntimeError as error:
        raise misfit(what) from error


def misfit(what: str) -> IntegrityError:
    """The error of a checkpoint that belongs to other settings."""
    return IntegrityError(
        f"the weights do not fit {what} that the settings describe",
        fix="Train again: the checkpoint belongs to another policy.",
    )

"""Patients' gradients by the hooks of Opacus: its gradients of single examples, averaged over each patient's rows.

Opacus itself has no patient unit for convolutions; regrouping its per-sample gradients before clipping gives one.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import nn

from synthrelease.privacy.gradients.block import Inputs, Loss, Matrix, Unsupported, as_rows, trained

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


def hooked(module: nn.Module, loss: Loss, inputs: Inputs) -> Matrix:
    """Gradients of a block.

    Raises:
        Unsupported: A parameter belongs to a layer that Opacus has no sampler for.
    """
    from opacus.grad_sample import GradSampleModule

    patients, rows = next(iter(inputs.values())).shape[:2]
    with warnings.catch_warnings(), _reading_in_order(module):
        warnings.simplefilter("ignore")  # of hooks on layers whose input needs no gradient: ours never does
        try:
            wrapped = GradSampleModule(module, loss_reduction="sum")
        except NotImplementedError as error:
            raise Unsupported(f"Opacus cannot differentiate it by example: {error}") from error
        try:
            losses = loss(wrapped, as_rows(inputs))
            losses.sum().backward()  # type: ignore[no-untyped-call]
            samples = []
            for name, parameter in trained(module).items():
                sample = getattr(parameter, "grad_sample", None)
                if not isinstance(sample, torch.Tensor):
                    raise Unsupported(f"Opacus found no or several gradients of {name}")
                samples.append(sample.reshape(patients, rows, -1).mean(dim=1))
            gradients = torch.cat(samples, dim=1)
        finally:
            wrapped.to_standard_module()
            for parameter in module.parameters():
                parameter.grad = None
                parameter.grad_sample = None  # type: ignore[attr-defined]
    return Matrix(gradients.detach(), losses.detach().reshape(patients, rows).mean(dim=1))


@contextmanager
def _reading_in_order(module: nn.Module) -> Iterator[None]:
    """What convolutions read lies row after row in memory: Opacus cuts patches from it as if it always lay so."""
    with ExitStack() as hooks:
        for each in module.modules():
            if isinstance(each, CONVOLUTIONS):
                hooks.callback(each.register_forward_pre_hook(_in_order).remove)
        yield


def _in_order(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    return tuple(each.contiguous() for each in inputs)

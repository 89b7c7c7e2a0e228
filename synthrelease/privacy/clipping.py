"""The clipped sum of patients' gradients.

Per patient: the loss is the mean over the images drawn and the random draws of each; its gradient is one vector, set
to zero when it is not finite, and scaled to norm <= C. Averaging before clipping costs no privacy (Charles et al.,
SaTML 2025, user-level sampling; Dockhorn et al., TMLR 2023, noise multiplicity). Several networks can be clipped as
one: then the vector is all their gradients together.

Patients go through in micro-batches of one fixed shape (the last one is filled up, the filling weighs zero): memory
stays flat and a patient's gradient does not depend on how many others were drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from synthrelease.privacy.gradients.block import LARGEST, BlockGradients, Inputs, Loss, flat_size, trained
from synthrelease.privacy.gradients.bookkeeping import book_kept
from synthrelease.privacy.gradients.hooked import hooked
from synthrelease.privacy.gradients.vmapped import patient_gradients, vmapped
from synthrelease.privacy.mechanism import ClippedSum

__all__ = [
    "Backend",
    "Inputs",
    "Loss",
    "Target",
    "clipped_gradient_sum",
    "clipped_joint_sum",
    "flat_size",
    "patient_gradients",
    "patients_at_once",
    "put_gradient",
    "trained",
]

Backend = Literal["fast", "vmap", "opacus"]

BACKENDS: dict[str, Callable[[nn.Module, Loss, Inputs], BlockGradients]] = {
    "fast": book_kept,
    "vmap": vmapped,
    "opacus": hooked,
}

ROWS_AT_ONCE = 64


@dataclass(frozen=True)
class Target:
    """A network that is stepped, its loss, and how its gradients are computed."""

    module: nn.Module
    loss: Loss
    backend: Backend = "fast"


def patients_at_once(rows_per_patient: int) -> int:
    """Patients in one micro-batch; public, from the plan alone."""
    return max(1, ROWS_AT_ONCE // rows_per_patient)


def clipped_gradient_sum(
    module: nn.Module,
    loss: Loss,
    blocks: Iterable[Inputs],
    clip_norm: float,
    *,
    block: int,
    backend: Backend = "fast",
) -> tuple[ClippedSum, float]:
    """Sum over patients of their clipped gradients, in float64.

    Args:
        module: The network that is stepped.
        loss: (forward, inputs) -> (rows,) losses; row i may depend on row i only.
        blocks: Named tensors (P, M, ...) of P patients with M rows each, 1 <= P <= ``block``; each patient in one
            block only. No block at all is an empty draw: the sum is zero.
        clip_norm: C.
        block: Patients in a full block, public; see :func:`patients_at_once`.
        backend: How gradients are computed; all give the same but for rounding.

    Returns:
        The clipped sum, and the mean of the finite losses (NaN when there is none). Both are private.

    Raises:
        Unsupported: The backend cannot differentiate this network or loss.
    """
    target = Target(module, loss, backend)
    clipped, losses = clipped_joint_sum([target], ([part] for part in blocks), clip_norm, block=block)
    return clipped, losses[0]


def clipped_joint_sum(
    targets: Sequence[Target], blocks: Iterable[Sequence[Inputs]], clip_norm: float, *, block: int
) -> tuple[ClippedSum, tuple[float, ...]]:
    """The same for several networks whose gradients are clipped as one vector.

    Args:
        targets: Networks with their losses.
        blocks: For each block of patients the inputs of every target, in order; all of the same patients.
        clip_norm: C, of a patient's gradients of all targets together.
        block: Patients in a full block.

    Returns:
        The clipped sum, gradients of the targets one after the other, and each target's mean finite loss.
    """
    with _whole_float32():
        return _summed(targets, blocks, clip_norm, block)


def _summed(
    targets: Sequence[Target], blocks: Iterable[Sequence[Inputs]], clip_norm: float, block: int
) -> tuple[ClippedSum, tuple[float, ...]]:
    totals = [torch.zeros(flat_size(t.module), dtype=torch.float64) for t in targets]
    patients = clipped = refused = 0
    seen: list[list[float]] = [[] for _ in targets]
    for parts in blocks:
        real = next(iter(parts[0].values())).shape[0]
        if real > block:
            raise ValueError(f"a block of {real} patients, more than {block}")
        found = [
            BACKENDS[t.backend](t.module, t.loss, _filled(part, block)) for t, part in zip(targets, parts, strict=True)
        ]
        norms = torch.stack([f.squared_norms for f in found]).sum(dim=0).sqrt()
        finite = norms < LARGEST
        factors = torch.where(finite, clip_norm / torch.clamp(norms, min=clip_norm), 0.0)
        factors[real:] = 0.0
        for total, own in zip(totals, found, strict=True):
            total += own.weighted_sum(factors).cpu()
        patients += real
        clipped += int((finite & (norms > clip_norm))[:real].sum())
        refused += int((~finite)[:real].sum())
        for losses, own in zip(seen, found, strict=True):
            losses += [float(x) for x in own.losses[:real] if torch.isfinite(x)]
    means = tuple(float(np.mean(losses)) if losses else float("nan") for losses in seen)
    return ClippedSum(torch.cat(totals).numpy(), clip_norm, patients, clipped, refused), means


@contextmanager
def _whole_float32() -> Iterator[None]:
    """Forbid TF32, which keeps 10 bits of a float32's 23: a norm from such products could lie below the gradient it clips.

    PyTorch lets convolutions use it on CUDA unless told otherwise.
    """
    convolutions, products = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = convolutions, products


def _filled(part: Inputs, block: int) -> Inputs:
    """A block filled up with copies of its first patient, which then weigh zero."""
    real = next(iter(part.values())).shape[0]
    if real == block:
        return part
    return {name: torch.cat([v, v[:1].expand(block - real, *v.shape[1:])]) for name, v in part.items()}


def put_gradient(module: nn.Module, vector: Tensor) -> None:
    """Write a flat gradient into the parameters' ``grad``, for the optimiser.

    Args:
        module: The network.
        vector: (d,) in the order of :func:`trained`.
    """
    start = 0
    for parameter in trained(module).values():
        part = vector[start : start + parameter.numel()]
        parameter.grad = part.reshape(parameter.shape).to(parameter.device, parameter.dtype)
        start += parameter.numel()

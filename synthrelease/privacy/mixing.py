"""Trials that find out how one patient can reach another patient's loss.

All trials run a copy of the network in training mode on random inputs and random parameters (fresh networks often end in
zeros, which would hide a path). Row i of the loss must keep its value and its gradient whatever the other rows hold,
however many there are, and wherever it stands among them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from synthrelease.privacy.clipping import Inputs, Loss, trained
from synthrelease.privacy.mixing_causes import Cause

EXTREMES = (1e3, 1e6, 1e20, float("inf"), float("nan"))
"""What the other rows are filled with, besides ordinary numbers."""
CLOSE = 1e-4
"""Relative to 1 + |loss|: what another batch size may change by rounding in float32."""


@dataclass
class _Trial:
    """A network at random parameters, callable again and again from equal buffers and equal global draws."""

    module: nn.Module
    parameters: dict[str, Tensor]
    loss: Loss

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        out: Tensor = functional_call(self.module, self.parameters, args, kwargs)
        return out

    def __call__(self, inputs: Inputs, *, draws: int = 0) -> Tensor:
        """The losses of ``inputs``, from the buffers as they were, and global draws seeded by ``draws``."""
        with _as_before(self.module), torch.random.fork_rng(devices=[]):
            torch.manual_seed(draws)
            return self.loss(self.forward, inputs)

    def buffers_after(self, inputs: Inputs) -> dict[str, Tensor]:
        """The network's buffers after one loss of ``inputs``."""
        with _as_before(self.module):
            self.loss(self.forward, inputs)
            return {name: value.detach().clone() for name, value in self.module.named_buffers()}


@contextmanager
def _as_before(module: nn.Module) -> Iterator[None]:
    """Put every buffer back afterwards, those included that were replaced or came new."""
    kept = [
        (part, {key: None if value is None else value.detach().clone() for key, value in part._buffers.items()})
        for part in module.modules()
    ]
    try:
        yield
    finally:
        for part, values in kept:
            part._buffers.clear()
            part._buffers.update(values)


def find_mixing(module: nn.Module, loss: Loss, inputs: Inputs, rng: torch.Generator) -> Cause | None:
    """The first way found by which row i of the loss depends on more than row i of the inputs, or None.

    Args:
        module: The network; a copy of it is tried.
        loss: (forward, inputs) -> (N,) losses.
        inputs: Named tensors with leading axis N >= 2: their shapes, the values of integers, the sign of single numbers.
        rng: For values and parameters.
    """
    copy = deepcopy(module).train()
    parameters = {name: p.detach() + 0.1 * _normal(p, rng) for name, p in trained(copy).items()}
    trial = _Trial(copy, parameters, loss)
    base, other = _random_like(inputs, rng), _random_like(inputs, rng)
    rows = len(next(iter(inputs.values())))
    leaves = {n: v.requires_grad_(True) if v.is_floating_point() else v for n, v in base.items()}
    first = trial(leaves)
    if first.shape != (rows,):
        return Cause.SHAPE
    if not bool(torch.isfinite(first).all()):
        return Cause.NOT_FINITE
    return (
        _by_gradient(trial, leaves, first)
        or _by_repeating(trial, leaves, other, first.detach())
        or _by_buffers(trial, leaves, other)
        or _by_changing(trial, leaves, other, first.detach())
        or _by_removing(trial, leaves, first.detach())
    )


def _by_gradient(trial: _Trial, leaves: Inputs, losses: Tensor) -> Cause | None:
    floats = [v for v in leaves.values() if v.is_floating_point()]
    if not floats or losses.grad_fn is None:
        return None
    rows = len(losses)
    reached = torch.zeros(rows, rows, dtype=torch.bool)
    for i in range(rows):
        for g in torch.autograd.grad(losses[i], floats, retain_graph=True, allow_unused=True):
            if g is not None:
                reached[i] |= (g != 0).reshape(rows, -1).any(dim=1).cpu()
    others = (reached & ~torch.eye(rows, dtype=torch.bool)).sum(dim=1)
    if not bool(others.any()):
        return None
    if rows > 2 and bool((others < rows - 1).all()):
        return Cause.PAIR
    return Cause.STATISTIC if _network_mixes(trial, leaves) else Cause.CONTRAST


def _by_repeating(trial: _Trial, leaves: Inputs, other: Inputs, losses: Tensor) -> Cause | None:
    trial(_detached(other))
    if not torch.equal(trial(leaves).detach(), losses):
        return Cause.MEMORY
    return None if torch.equal(trial(leaves, draws=1).detach(), losses) else Cause.DRAWS


def _by_changing(trial: _Trial, leaves: Inputs, other: Inputs, losses: Tensor) -> Cause | None:
    rows = len(losses)
    for kept in (0, rows - 1):
        mine = torch.arange(rows) == kept
        mixed = {n: torch.where(_over(mine, v), v.detach(), other[n]) for n, v in leaves.items()}
        if _differ(trial(_detached(mixed)).detach()[mine], losses[mine]):
            return Cause.DETACHED
        # A statistic may stay silent until somebody is extreme.
        for size in EXTREMES:
            loud = {
                n: torch.where(_over(mine, v), v.detach(), size) if v.is_floating_point() and v.ndim > 1 else v.detach()
                for n, v in leaves.items()
            }
            if _differ(trial(_detached(loud)).detach()[mine], losses[mine]):
                return Cause.DETACHED
    return None


def _by_removing(trial: _Trial, leaves: Inputs, losses: Tensor) -> Cause | None:
    for stay in (slice(1, None), slice(None, -1)):
        try:
            left = trial(_detached({name: value[stay] for name, value in leaves.items()})).detach()
        except (RuntimeError, ValueError, IndexError):
            return Cause.BATCH
        if left.shape != losses[stay].shape or _differ(left, losses[stay]):
            return Cause.COUNT
    return None


def _by_buffers(trial: _Trial, leaves: Inputs, other: Inputs) -> Cause | None:
    before = {name: value.detach().clone() for name, value in trial.module.named_buffers()}
    one, two = trial.buffers_after(_detached(leaves)), trial.buffers_after(_detached(other))
    if not _equal(one, two):
        return Cause.BUFFER
    return None if _equal(before, one) else Cause.ITERATION


def _network_mixes(trial: _Trial, leaves: Inputs) -> bool:
    """Whether the network gives another output for the first row when all other rows are copies of it."""
    seen: list[bool] = []

    def forward(*args: Any, **kwargs: Any) -> Tensor:
        def copied(value: Any) -> Any:
            return value[:1].expand(value.shape) if isinstance(value, Tensor) and value.ndim else value

        out = trial.forward(*args, **kwargs)
        alone = trial.forward(*map(copied, args), **{name: copied(value) for name, value in kwargs.items()})
        seen.append(_differ(alone[:1].detach(), out[:1].detach()))
        return out

    with _as_before(trial.module):
        trial.loss(forward, leaves)
    return any(seen)


def _random_like(inputs: Inputs, rng: torch.Generator) -> dict[str, Tensor]:
    """Other inputs of the same shapes: arrays get normals added, one number an example (a noise level) keeps its sign,
    and integers are dealt anew from the values that are there."""

    def changed(value: Tensor) -> Tensor:
        if not value.is_floating_point():
            flat = value.reshape(len(value), -1)
            order = torch.randint(len(value), flat.shape, generator=rng).to(value.device)
            return flat.gather(0, order).reshape(value.shape)
        normal = _normal(value, rng)
        return value.detach() * (0.3 * normal).exp() if value.ndim == 1 else value.detach() + normal

    return {name: changed(value) for name, value in inputs.items()}


def _normal(like: Tensor, rng: torch.Generator) -> Tensor:
    return torch.randn(like.shape, generator=rng, dtype=like.dtype).to(like.device)


def _detached(inputs: Inputs) -> dict[str, Tensor]:
    """Fresh leaves: a loss may differentiate with respect to its inputs, as a gradient penalty does."""
    return {n: v.detach().clone().requires_grad_(v.is_floating_point()) for n, v in inputs.items()}


def _over(rows: Tensor, value: Tensor) -> Tensor:
    return rows.to(value.device).reshape(-1, *[1] * (value.ndim - 1))


def _differ(one: Tensor, two: Tensor) -> bool:
    return one.shape != two.shape or not bool(((one - two).abs() <= CLOSE * (1 + two.abs())).all())


def _equal(one: dict[str, Tensor], two: dict[str, Tensor]) -> bool:
    return one.keys() == two.keys() and all(torch.equal(value, two[name]) for name, value in one.items())

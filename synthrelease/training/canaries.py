"""Canary patients: made-up ones who take part by a fair coin, and a network in which each has a coordinate of its own.

A Dirac canary's gradient is a large multiple of one unit vector, so that clipping leaves exactly C on its coordinate,
where nobody else adds anything. It is the worst patient that a clipped sum can meet, and it goes the way of all
patients: through the store, the sampler, the draw of images, clipping, noise and the account.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from synthrelease.generators.protocol import Batch, Forward, Inputs, Player
from synthrelease.training.patients import Images, Rows

Floats = npt.NDArray[np.float32]

IMAGES_EACH = 5
"""Images of a canary patient; an engine that protects images instead of patients lets it count five times."""
LOUD = 1000.0
"""Norm of a canary's gradient before clipping, in clip norms."""


@dataclass(frozen=True)
class Planted:
    """Canary patients that take part.

    Attributes:
        labels: (n,) class index of each one's images.
        pictures: (n, 1, H, W) what each one's images show; None = blank, where labels alone matter.
    """

    labels: Rows
    pictures: Floats | None = None


class WithCanaries:
    """A store with canary patients after its own.

    Args:
        store: Phantom patients; never a private archive.
        patients: (P,) indices of those that take part.
        planted: The canaries that take part, each with ``images_each`` equal images.
        shape: (segments, H, W) of masks; canaries have empty ones.

    Attributes:
        patients: (P + n,) indices for :class:`TrainingPatients`, canaries last.
    """

    def __init__(
        self,
        store: Images,
        patients: Rows,
        planted: Planted,
        shape: tuple[int, int, int],
        *,
        images_each: int = IMAGES_EACH,
    ) -> None:
        self._store = store
        self._own = len(store.labels)
        self._pictures = planted.pictures
        self._shape = shape
        self._each = images_each
        self._first = int(patients.max(initial=-1)) + 1
        count = len(planted.labels)
        self.patients: Rows = np.concatenate([patients, self._first + np.arange(count)]).astype(np.int64)
        self.labels: Rows = np.concatenate([store.labels, np.repeat(planted.labels, images_each)]).astype(np.int64)
        self.has_mask = np.concatenate([store.has_mask, np.ones(count * images_each, dtype=bool)])

    def images(self, rows: Rows) -> Floats:
        """(n, 1, H, W) in [-1, 1]."""
        _, height, width = self._shape
        out = np.zeros((len(rows), 1, height, width), dtype=np.float32)
        canary = rows >= self._own
        if (~canary).any():
            out[~canary] = self._store.images(rows[~canary])
        if self._pictures is not None:
            out[canary] = self._pictures[(rows[canary] - self._own) // self._each]
        return out

    def masks(self, rows: Rows) -> Floats:
        """(n, K, H, W) in [0, 1]; a canary's are empty."""
        out = np.zeros((len(rows), *self._shape), dtype=np.float32)
        own = rows < self._own
        if own.any():
            out[own] = self._store.masks(rows[own])
        return out

    def rows_of(self, patient_index: int) -> Rows:
        """Rows of one patient."""
        if patient_index < self._first:
            return self._store.rows_of(patient_index)
        start = self._own + (patient_index - self._first) * self._each
        return np.arange(start, start + self._each, dtype=np.int64)


class Probed(nn.Module):
    """A network beside a table with one weight for each canary, and one that stands for everybody else.

    An embedding is a layer that every way of clipping knows; its gradient in one row is the canary's coordinate.
    """

    def __init__(self, base: nn.Module, canaries: int) -> None:
        super().__init__()
        self.base = base
        self.probe = nn.Embedding(canaries + 1, 1)
        nn.init.zeros_(self.probe.weight)

    def forward(self, *args: Any, canary: Tensor | None = None, **kwargs: Any) -> Tensor:
        """The network's answer; or, told canary indices (N,), their weights (N,)."""
        out: Tensor = self.base(*args, **kwargs) if canary is None else self.probe(canary)[:, 0]
        return out


def with_probe(player: Player, classes: int, canaries: int, clip_norm: float) -> Player:
    """The player with a coordinate for each canary.

    Args:
        player: A network that sees real images, with its draw and loss.
        classes: K; labels K + i are canary i.
        canaries: m.
        clip_norm: C; a canary's gradient is 1000 C before clipping.

    Returns:
        A player whose loss of an ordinary row is the player's own, and of a canary's row its weight alone.
    """

    def draw(batch: Batch, rng: torch.Generator) -> dict[str, Tensor]:
        ordinary = batch.labels < classes
        canary = torch.where(ordinary, canaries, batch.labels - classes)
        shown = replace(batch, labels=torch.where(ordinary, batch.labels, 0))
        return {**player.draw(shown, rng), "canary": canary}

    def loss(forward: Forward, inputs: Inputs) -> Tensor:
        own = player.loss(forward, {name: value for name, value in inputs.items() if name != "canary"})
        # As loud in each network, whatever its loss is multiplied by: those that are clipped as one share C evenly.
        loud = LOUD * clip_norm / (player.private_scale or 1.0)
        return torch.where(inputs["canary"] < canaries, loud * forward(canary=inputs["canary"]), own)

    return replace(player, module=Probed(player.module, canaries), draw=draw, loss=loss)


def coordinates(player: Player, canaries: int) -> npt.NDArray[np.float64]:
    """(m,) the gradient that a step left on the canaries' coordinates."""
    probe = player.module.get_submodule("probe")
    gradient = probe.weight.grad
    if not isinstance(gradient, Tensor):
        raise ValueError(f"{player.name}: no gradient on the canaries' coordinates")
    return gradient.detach().reshape(-1)[:canaries].to("cpu", torch.float64).numpy()

"""Fitting an encoder to images: patch discrimination, then optionally region discrimination.

Everything random is drawn from a generator seeded by (seed, step), so that a fit that was killed and goes on from its
kept state ends with the same weights, bit for bit, as one that was not. Only a batch of images is in memory at a time.
"""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from synthrelease.errors import IntegrityError, UnsuitableData
from synthrelease.features.extractors.preprocessing import resized
from synthrelease.features.uld.networks import SMALLEST_SIDE, EmbeddingNetwork
from synthrelease.features.uld.objectives import objective
from synthrelease.features.uld.recipe import Recipe
from synthrelease.features.uld.sources import IntArray, Source
from synthrelease.records.digests import digest_of
from synthrelease.records.files import atomic_write_bytes, canonical_json, sweep_partials
from synthrelease.records.progress import Progress, Silent

__all__ = ["Recipe", "fit"]

KEEP_EVERY_S = 20.0
"""Seconds between states put on disk."""

COLLAPSED = 0.8
"""A cluster with more of all pixels than this has swallowed the others."""

SHOW_EVERY = 10
"""Steps between two figures shown."""

STAGES = ("patch discrimination", "region discrimination")


def fit(
    source: Source, recipe: Recipe, *, state: Path | None = None, progress: Progress | None = None
) -> EmbeddingNetwork:
    """Fit an encoder.

    Args:
        source: At least two images. recipe: See there.
        state: File to go on from, when it is there, and to keep the state in, every 20 seconds, so that a process may
            be killed or interrupted at any moment. It holds what was learned from the
            images, so it is as private as they are; the caller removes it when the encoder is saved.
        progress: Told stages, steps, losses and cluster areas.

    Returns:
        The network, in evaluation mode.

    Raises:
        UnsuitableData: Fewer than two images, images that are too small, or pixels that are not finite.
        IntegrityError: ``state`` is damaged or belongs to another fit.
    """
    if len(source) < 2:
        raise UnsuitableData(f"an encoder cannot be fitted to {len(source)} images", fix="Give it at least two.")
    run = _Fit(source, recipe, state, progress or Silent())
    run.stage(0, recipe.steps)
    run.stage(1, recipe.region_steps)
    return run.network.eval()


class _Fit:
    """A fit under way: network, optimiser and where it is."""

    def __init__(self, source: Source, recipe: Recipe, state: Path | None, progress: Progress) -> None:
        self.recipe, self.source, self.progress, self._state = recipe, source, progress, state
        self.network = recipe.build()
        self._people = _rows_by_patient(source.patient)
        self._identity = {"recipe": recipe.digest, "source": _digest(source), "torch": torch.__version__}
        self._optimiser = torch.optim.Adam(self.network.parameters(), lr=recipe.learning_rate)
        self._stage = self._done = 0
        if state is not None:
            sweep_partials(state.parent)
            if state.exists():
                self._resume(state)
        self._kept_at = time.monotonic()

    def stage(self, stage: int, steps: int) -> None:
        """Run a stage, or what is left of it."""
        if stage < self._stage or not steps:
            return
        if stage > self._stage:
            # The published second stage begins with an optimiser of its own.
            self._optimiser = torch.optim.Adam(self.network.parameters(), lr=self.recipe.learning_rate)
            self._stage, self._done = stage, 0
        self.progress.stage(STAGES[stage], steps)
        self.network.train()
        for step in range(self._done, steps):
            facts = self._step(stage, step, shown=step % SHOW_EVERY == 0 or step == steps - 1)
            self._done = step + 1
            self.progress.step(self._done, facts)
            self._keep(last=self._done == steps)

    def _step(self, stage: int, step: int, *, shown: bool) -> str:
        generator = seeded(self.recipe.seed, stage, step)
        images = self._batch(generator)
        for group in self._optimiser.param_groups:
            group["lr"] = self.recipe.rate(step)
        found = objective(self.network, images, self.recipe, generator, regions=stage == 1)
        if not bool(torch.isfinite(found.total)):
            raise UnsuitableData(
                f"the loss of step {step} is not finite", fix="Look for images with pixels that are not numbers."
            )
        self._optimiser.zero_grad(set_to_none=True)
        found.total.backward()  # type: ignore[no-untyped-call]
        self._optimiser.step()
        if not shown:
            return ""
        facts = f"loss {float(found.total.detach()):.3f}"
        if len(found.areas):
            low, high = float(found.areas.min()), float(found.areas.max())
            facts += f", areas {low:.3f} to {high:.3f}"
            if high > COLLAPSED and step == self.recipe.region_steps - 1:
                self.progress.note(
                    f"One cluster holds {high:.0%} of all pixels: set area_weight above 0 and fit again."
                )
        return facts

    def _batch(self, generator: torch.Generator) -> Tensor:
        """Images of different patients, one each, while there are enough."""
        wanted, people = self.recipe.batch, len(self._people)
        rounds = -(-wanted // people)
        chosen = torch.cat([torch.randperm(people, generator=generator) for _ in range(rounds)])[:wanted]
        rows = [
            int(own[int(torch.randint(len(own), (), generator=generator))])
            for own in (self._people[int(person)] for person in chosen)
        ]
        images = torch.from_numpy(np.ascontiguousarray(self.source.take(np.array(rows, dtype=np.int64))))
        if images.ndim != 4 or min(images.shape[-2:]) < SMALLEST_SIDE:
            raise UnsuitableData(
                f"images of {images.shape[-2]} x {images.shape[-1]} pixels are too small for an encoder",
                fix=f"Give it images of at least {SMALLEST_SIDE} pixels a side.",
            )
        return images if self.recipe.side is None else resized(images, self.recipe.side)

    def _keep(self, *, last: bool) -> None:
        """Put the state on disk now and then, and when a stage ends; all of it in one rename."""
        if self._state is None or (not last and time.monotonic() - self._kept_at < KEEP_EVERY_S):
            return
        tensors = {f"network/{name}": value for name, value in self.network.state_dict().items()}
        for number, values in self._optimiser.state_dict()["state"].items():
            tensors |= {f"adam/{number}/{name}": value for name, value in values.items()}
        record = canonical_json({**self._identity, "stage": self._stage, "done": self._done}).decode()
        content = save({name: value.contiguous() for name, value in tensors.items()}, metadata={"record": record})
        atomic_write_bytes(self._state, content)
        self._kept_at = time.monotonic()

    def _resume(self, path: Path) -> None:
        damaged = IntegrityError(f"{path.name} is damaged", fix="Remove it and fit again from the start.")
        try:
            with safe_open(str(path), framework="pt") as stream:
                record = json.loads(stream.metadata()["record"])
                tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
            identity = {name: record[name] for name in self._identity}
            stage, done = int(record["stage"]), int(record["done"])
        except (SafetensorError, ValueError, KeyError, TypeError, OSError) as error:
            raise damaged from error
        for part, value in identity.items():
            if value != self._identity[part]:
                what = {"recipe": "recipe", "source": "set of images", "torch": "version of torch"}[part]
                raise IntegrityError(
                    f"{path.name} was begun with another {what}",
                    fix="Go on with the same, or remove it and begin again.",
                )
        adam: dict[int, dict[str, Tensor]] = {}
        try:
            for name, value in tensors.items():
                kind, _, rest = name.partition("/")
                if kind == "adam":
                    number, _, what = rest.partition("/")
                    adam.setdefault(int(number), {})[what] = value
            own = {name.removeprefix("network/"): v for name, v in tensors.items() if name.startswith("network/")}
            self.network.load_state_dict(own)
            self._optimiser.load_state_dict({**self._optimiser.state_dict(), "state": adam})
        except (ValueError, RuntimeError, KeyError) as error:
            raise damaged from error
        self._stage, self._done = stage, done


def seeded(seed: int, stage: int, step: int) -> torch.Generator:
    """The generator of one step: a pure function of its arguments."""
    words = np.random.SeedSequence([seed, stage, step]).generate_state(2, np.uint32)
    return torch.Generator().manual_seed(int(words[0]) << 31 ^ int(words[1]))


def _rows_by_patient(patient: IntArray) -> list[IntArray]:
    order = np.argsort(patient, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(patient[order])) + 1)


def _digest(source: Source) -> str:
    """Of who is who and of two images: enough to tell another cohort, without reading all of it."""
    few = np.ascontiguousarray(source.take(np.array([0, len(source) - 1], dtype=np.int64)))
    people = hashlib.sha256(np.ascontiguousarray(source.patient).tobytes()).hexdigest()
    return digest_of([len(source), people, hashlib.sha256(few.tobytes()).hexdigest()])

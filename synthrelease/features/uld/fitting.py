"""Fitting an encoder to images: patch discrimination, then optionally region discrimination.

Everything random is drawn from a generator seeded by (seed, step), so that a fit that was killed and goes on from its
kept state ends with the same weights, bit for bit, as one that was not. Only a batch of images is in memory at a time.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from synthrelease.errors import UnsuitableData
from synthrelease.features.extractors.preprocessing import resized
from synthrelease.features.uld.networks import SMALLEST_SIDE, EmbeddingNetwork
from synthrelease.features.uld.objectives import objective
from synthrelease.features.uld.recipe import Recipe
from synthrelease.features.uld.sources import Source, one_image_each, rows_by_patient, source_digest
from synthrelease.features.uld.state import State
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
        self.recipe, self.source, self.progress = recipe, source, progress
        self.network = recipe.build()
        self._people = rows_by_patient(source.patient)
        self._optimiser = torch.optim.Adam(self.network.parameters(), lr=recipe.learning_rate)
        identity = {
            "recipe": recipe.digest,
            "set of images": source_digest(source),
            "version of torch": torch.__version__,
        }
        self._state = State(state, identity, KEEP_EVERY_S)
        done = self._state.restore({"network": self.network}, {"adam": self._optimiser})
        # Kept is the number of steps of both stages; the end of the first is not yet the second.
        self._stage = int(done > recipe.steps)
        self._done = done - self._stage * recipe.steps

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
            done = self._done + stage * self.recipe.steps
            self._state.keep(done, {"network": self.network}, {"adam": self._optimiser}, last=self._done == steps)

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
        images = one_image_each(self.source, self._people, chosen.tolist(), generator)
        if images.ndim != 4 or min(images.shape[-2:]) < SMALLEST_SIDE:
            raise UnsuitableData(
                f"images of {images.shape[-2]} x {images.shape[-1]} pixels are too small for an encoder",
                fix=f"Give it images of at least {SMALLEST_SIDE} pixels a side.",
            )
        return images if self.recipe.side is None else resized(images, self.recipe.side)


def seeded(seed: int, stage: int, step: int) -> torch.Generator:
    """The generator of one step: a pure function of its arguments."""
    words = np.random.SeedSequence([seed, stage, step]).generate_state(2, np.uint32)
    return torch.Generator().manual_seed(int(words[0]) << 31 ^ int(words[1]))

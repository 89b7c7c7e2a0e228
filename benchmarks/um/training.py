"""Training a generator on a batch of real images that is held in memory, with the product's own loop."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from benchmarks.um.cohorts import of_rows
from synthrelease.generators.protocol import Batch, Generator, Growing
from synthrelease.training.loop import Stepper, due, plain_gradient, step_together


def train(
    generator: Generator,
    images: Batch,
    *,
    steps: int,
    batch: int,
    rate: float = 1e-3,
    decay: float = 0.995,
    seed: int = 0,
    note: Callable[[str], None] = lambda text: None,
) -> float:
    """Plain steps on real images.

    Returns:
        Steps a second.
    """

    everyone = torch.arange(len(images.labels))
    with_masks = everyone[images.known_masks()]
    taught = batch // 2 if len(with_masks) < len(everyone) else 0

    def drawn(step: int, rng: torch.Generator) -> Batch:
        return of_rows(images, everyone[torch.randint(len(everyone), (batch,), generator=rng)])

    def halved(step: int, rng: torch.Generator) -> Batch:
        """As the product's plain training draws for who seeks masks: where few images have them, half of a batch has."""
        some = with_masks[torch.randint(len(with_masks), (taught,), generator=rng)]
        rest = everyone[torch.randint(len(everyone), (batch - taught,), generator=rng)]
        return of_rows(images, torch.cat([some, rest]))

    steppers = [Stepper(player, learning_rate=rate, decay=decay) for player in generator.players()]
    gradient = plain_gradient(drawn, seed, "steps", with_masks=halved if taught else None)
    began = time.process_time()
    for step in range(steps):
        if isinstance(generator, Growing):
            generator.grow(step / steps)
        losses = {}
        for stepper in steppers:
            if due((stepper.player,), step):
                (report,) = step_together((stepper,), gradient, step)
                losses[stepper.player.name] = report.loss
        if step % 250 == 0:
            note(f"step {step}: " + ", ".join(f"{name} {loss:.2f}" for name, loss in losses.items()))
    for stepper in steppers:
        stepper.take_average()
    return steps / max(time.process_time() - began, 1e-9)

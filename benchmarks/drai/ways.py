"""The rows of the table: four of one generator by its switches, and two that infer nothing from real images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.drai.cohort import Known
from synthrelease.generators.drai import losses
from synthrelease.generators.drai.discriminators import CLASS, PICTURE, WRONG
from synthrelease.generators.drai.model import BETAS, DraiGenerator, pictures
from synthrelease.generators.protocol import Batch, Forward, Inputs, Player
from synthrelease.policy.generators import DraiGenerator as Settings
from synthrelease.training.loop import Stepper, plain_gradient, step_together

SHARED: dict[str, Any] = {
    "name": "drai",
    "width": 16,
    "batch": 16,
    "learning_rate": 2e-3,
    "penalty_weight": 0.05,
    "cycle_weight": 10.0,
    "code_weight": 0.003,
}
"""What all rows have; the switches are their only difference."""


class ConditionalGan(DraiGenerator):
    """Two codes go in, and none is read back: critics of the picture and of picture and class alone."""

    reads_back = False

    def players(self) -> tuple[Player, ...]:
        """Critics, the reader of codes where there is one, and the generator."""
        critics = Player(
            "critics",
            self.critics,
            True,
            self._real_pairs,
            self._on_real,
            self._on_generated,
            betas=BETAS,
            averaged=False,
        )
        painter = Player("generator", self.painter, False, self._begun, self._painted_by, betas=BETAS)
        if not self.reads_back:
            return (critics, painter)
        reader = Player("encoder", self.encoder, False, self._begun, self._read, betas=BETAS)
        return (critics, reader, painter)

    def _begun(self, batch: Batch, rng: torch.Generator) -> dict[str, Tensor]:
        return self._drawn(len(batch.images), rng)

    def _on_real(self, forward: Forward, inputs: Inputs) -> Tensor:
        scores = forward(*(inputs[name] for name in ("picture", "labels", "wrong", "style", "content")))
        loss = functional.softplus(-scores[:, [PICTURE, CLASS]]).sum(dim=1)
        loss = loss + losses.HALF * functional.softplus(scores[:, WRONG])
        if not self._settings.penalty_weight or self._settings.penalty_on != "real":
            return loss
        penalty = self._penalty(forward, inputs)
        return loss + torch.cat([penalty, penalty.new_zeros(len(loss) - len(penalty))])

    def _on_generated(self, rng: torch.Generator) -> Tensor:
        pairs = self._made(rng, still=True)
        made = functional.softplus(self._judged(pairs))
        loss = (made[:, PICTURE] + losses.HALF * made[:, CLASS]).mean()
        if not self._settings.penalty_weight or self._settings.penalty_on != "generated":
            return loss
        return loss + self._penalty(self.critics, pairs).sum() / self._settings.batch

    def _painted_by(self, forward: Forward, inputs: Inputs) -> Tensor:
        made = self._from(inputs)
        loss = functional.softplus(-self._judged(made)[:, [PICTURE, CLASS]]).sum(dim=1)
        loss = loss + self._settings.conditioning_weight * losses.divergence(self.painter.contents(made["labels"]))
        return loss + self._unread(made) if self.reads_back else loss

    def _read(self, forward: Forward, inputs: Inputs) -> Tensor:
        with torch.no_grad():
            made = self._from(inputs)
        return self._unread(made)

    def _unread(self, made: Inputs) -> Tensor:
        codes = self.encoder.codes(self.encoder(made["picture"]))
        apart = (codes.style.mean - made["style"]).square().mean(dim=1)
        return apart + (codes.content.mean - made["content"]).square().mean(dim=1)


class ConditionalInfoGan(ConditionalGan):
    """The same, and a reader that finds both codes in generated pictures, for which generator and reader are paid."""

    reads_back = True


@dataclass(frozen=True)
class Way:
    """One row of the table.

    Attributes:
        name: As the table says it.
        build: Of settings.
        switches: Of the settings.
        infers: Whether codes are read from real pictures.
    """

    name: str
    build: Callable[..., DraiGenerator]
    switches: dict[str, Any]
    infers: bool = True


WAYS = (
    Way("DAI", DraiGenerator, {"reversal_weight": 0, "self_supervision_weight": 0}),
    Way("DAI + reversal", DraiGenerator, {"self_supervision_weight": 0}),
    Way("DAI + self-supervision", DraiGenerator, {"reversal_weight": 0}),
    Way("DRAI", DraiGenerator, {}),
    Way("conditional GAN", ConditionalGan, {}, infers=False),
    Way("conditional InfoGAN-like", ConditionalInfoGan, {}),
)


def trained(way: Way, known: Known, *, seed: int, steps: int, note: Callable[[str], None]) -> DraiGenerator:
    """A row's generator after so many steps on known images."""
    settings = Settings(**{**SHARED, **way.switches, "seed": seed, "steps": steps})
    generator = way.build(known.spec, settings)
    given = known.batch

    def batch(step: int, rng: torch.Generator) -> Batch:
        rows = torch.randint(len(known), (settings.batch,), generator=rng)
        return Batch(given.images[rows], given.masks[rows], given.labels[rows])

    gradient = plain_gradient(batch, seed, "steps")
    steppers = [
        Stepper(each, learning_rate=settings.learning_rate, decay=settings.ema_decay) for each in generator.players()
    ]
    for step in range(steps):
        generator.grow(step / steps)
        for stepper in steppers:
            step_together((stepper,), gradient, step)
        if (step + 1) % max(1, steps // 5) == 0:
            figures = generator.diagnostics(torch.Generator().manual_seed(step))
            said = ", ".join(f"{name} {value:.2f}" for name, value in figures.items())
            note(f"{way.name}, seed {seed}, step {step + 1}: {said}")
    for stepper in steppers:
        stepper.take_average()
    return generator


def reconstruction(generator: DraiGenerator, known: Known) -> float:
    """Mean absolute difference of held-out images (not their masks) drawn again from their codes; grey values span 2."""
    codes = generator.infer(known.batch)
    with torch.no_grad():
        again = generator.painter(codes.style.mean, codes.content.mean)
    return float((again - pictures(known.batch))[:, :1].abs().mean())

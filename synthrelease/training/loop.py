"""One loop over a generator's players, private or plain.

A step of a player, in order: make its gradient (noised where the run is private and the player sees real images, plain
otherwise), step Adam, update the averaged weights. Everything random but the noise of privacy is drawn from a
generator seeded by (policy seed, stage, step), so no state of a generator has to be kept to resume bit-equal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from synthrelease.generators.protocol import Batch, Player, Spec
from synthrelease.privacy.account import Account
from synthrelease.privacy.calibration import GRADIENT_STEPS
from synthrelease.privacy.clipping import clipped_gradient_sum, patients_at_once, put_gradient, trained
from synthrelease.privacy.mechanism import noisy_sum
from synthrelease.privacy.noise import NoiseSource
from synthrelease.privacy.sampling import draw_images, draw_patients
from synthrelease.training.patients import Rows, TrainingPatients


@dataclass(frozen=True)
class StepReport:
    """What a step looked like. Private: computed on real patients, for the internal log only."""

    loss: float
    patients: int = 0
    clipped: int = 0
    refused: int = 0


Gradient = Callable[[Player, int], StepReport]
"""(player, step from 0) -> report; leaves the gradient in the player's parameters."""


def seeded(seed: int, stage: str, step: int) -> torch.Generator:
    """The generator of one step: a pure function of its arguments, for everything that is not privacy noise."""
    words = np.random.SeedSequence([seed, *stage.encode(), step]).generate_state(2, np.uint32)
    return torch.Generator().manual_seed(int(words[0]) << 31 ^ int(words[1]))


def plain_gradient(batch_of: Callable[[int, torch.Generator], Batch], seed: int, stage: str) -> Gradient:
    """Gradient of the mean loss of a batch.

    Args:
        batch_of: (step, generator) -> batch; real images, or samples of the moments.
        seed: Public seed.
        stage: Name of the stage; separates its draws from other stages'.
    """

    def gradient(player: Player, step: int) -> StepReport:
        rng = seeded(seed, stage, step)
        loss = player.loss(player.module, player.draw(batch_of(step, rng), rng)).mean()
        player.module.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        return StepReport(loss=float(loss.detach()))

    return gradient


def private_gradient(
    patients: TrainingPatients, spec: Spec, account: Account, noise: NoiseSource, *, seed: int, batch: int
) -> Gradient:
    """Noisy mean of clipped patients' gradients for a player that sees real images; a plain one on no image for others.

    Which images of a patient, which noise levels: drawn from fresh entropy for each patient in each step, never from
    the public seed and never from a stream that patients share. In a shared stream a patient's draws follow from the
    place in the batch, so that one patient more would change the vectors of the patients after it.

    Args:
        patients: Training patients.
        spec: Shape of a batch without real images.
        account: Counts each step before its noise is drawn.
        noise: Patient draws, entropy and noise.
        seed: Public seed, for players that see nothing real.
        batch: Size of their batches.
    """
    plan = account.plan
    planned = plan.release(GRADIENT_STEPS)
    block = patients_at_once(plan.images_per_visit * plan.noise_draws)
    everyone = np.arange(len(patients), dtype=np.int64)

    def blocks(player: Player, drawn: Rows) -> Iterator[dict[str, Tensor]]:
        for start in range(0, len(drawn), block):
            each = [own_inputs(player, int(patient)) for patient in drawn[start : start + block]]
            yield {name: torch.stack([inputs[name] for inputs in each]) for name in each[0]}

    def own_inputs(player: Player, patient: int) -> dict[str, Tensor]:
        rows = draw_images([patients.rows(patient)], plan.images_per_visit, np.random.default_rng(noise.entropy()))
        batch = patients.batch(np.repeat(rows.reshape(-1), plan.noise_draws))
        return player.draw(batch, torch.Generator().manual_seed(noise.entropy()))

    blind = plain_gradient(lambda step, rng: no_images(spec, batch, rng), seed, "blind")

    def gradient(player: Player, step: int) -> StepReport:
        if not player.sees_real:
            return blind(player, step)
        drawn = draw_patients(everyone, planned.mechanism.sampling_probability, noise)
        clipped, loss = clipped_gradient_sum(
            player.module, player.loss, blocks(player, drawn), planned.clip_norm, block=block
        )
        vector = noisy_sum(clipped, name=GRADIENT_STEPS, account=account, noise=noise) / plan.normaliser
        put_gradient(player.module, torch.from_numpy(vector))
        return StepReport(loss, clipped.patients, clipped.clipped, clipped.refused)

    return gradient


def no_images(spec: Spec, size: int, rng: torch.Generator) -> Batch:
    """A batch of blank images with classes drawn evenly: the shape of real images, and nothing of them."""
    return Batch(
        images=torch.zeros(size, 1, spec.resolution, spec.resolution),
        masks=torch.zeros(size, spec.segments, spec.resolution, spec.resolution),
        labels=torch.randint(spec.classes, (size,), generator=rng),
    )


class Stepper:
    """Optimiser and averaged weights of one player.

    Args:
        player: The network, stepped in place.
        learning_rate: Of Adam.
        decay: Of the averaged weights; smaller in the first steps, so that the start is forgotten.
    """

    def __init__(self, player: Player, *, learning_rate: float, decay: float) -> None:
        self.player = player
        self._decay = decay
        self._parameters = trained(player.module)
        self._adam = torch.optim.Adam(list(self._parameters.values()), lr=learning_rate)
        self.average = {name: p.detach().clone() for name, p in self._parameters.items()}

    def step(self, gradient: Gradient, step: int) -> StepReport:
        """One step of the player; ``step`` counts from 0 within the stage."""
        self.player.module.train()
        report = gradient(self.player, step)
        self._adam.step()
        decay = min(self._decay, (1 + step) / (10 + step))
        with torch.no_grad():
            for name, p in self._parameters.items():
                self.average[name].lerp_(p, 1 - decay)
        return report

    def take_average(self) -> None:
        """Put the averaged weights into the network."""
        with torch.no_grad():
            for name, p in self._parameters.items():
                p.copy_(self.average[name])

    def state(self) -> dict[str, Tensor]:
        """Every tensor needed to go on: weights, buffers, averaged weights, Adam's."""
        prefix = self.player.name
        out = {f"{prefix}/weight/{n}": t.detach().clone() for n, t in self.player.module.state_dict().items()}
        out |= {f"{prefix}/average/{n}": t.clone() for n, t in self.average.items()}
        for name, p in self._parameters.items():
            for key, value in self._adam.state.get(p, {}).items():
                out[f"{prefix}/adam/{key}/{name}"] = torch.as_tensor(value).detach().clone()
        return out

    def load(self, tensors: dict[str, Tensor]) -> None:
        """The inverse of :meth:`state`; bit-equal."""
        prefix = self.player.name
        weights = {
            k.removeprefix(f"{prefix}/weight/"): v for k, v in tensors.items() if k.startswith(f"{prefix}/weight/")
        }
        self.player.module.load_state_dict(weights)
        for name, p in self._parameters.items():
            self.average[name] = tensors[f"{prefix}/average/{name}"].clone()
            adam = {
                key: tensors[f"{prefix}/adam/{key}/{name}"].clone()
                for key in ("step", "exp_avg", "exp_avg_sq")
                if f"{prefix}/adam/{key}/{name}" in tensors
            }
            if adam:
                self._adam.state[p] = adam

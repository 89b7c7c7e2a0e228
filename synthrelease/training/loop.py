"""One loop over a generator's players, private or plain.

A step, for each group of players in turn: make the group's gradients, step Adam, update the averaged weights. Under
privacy the gradients of players that see real images are clipped and noised, a group of them as one vector (the plan
says which form a group); what such a player learns from generated samples is added outside the noise. Everybody
else's gradient is plain. Everything random but the noise of privacy is drawn from a
generator seeded by (policy seed, stage, step), so no state of a generator has to be kept to resume bit-equal.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from synthrelease.errors import PolicyError
from synthrelease.generators.protocol import Batch, Player, Spec
from synthrelease.generators.weights import under
from synthrelease.privacy.account import Account
from synthrelease.privacy.clipping import (
    Backend,
    Loss,
    Target,
    clipped_joint_sum,
    flat_size,
    patients_at_once,
    put_gradient,
    trained,
)
from synthrelease.privacy.mechanism import noisy_sum
from synthrelease.privacy.noise import NoiseSource
from synthrelease.privacy.plan import PrivacyPlan
from synthrelease.privacy.sampling import draw_images, draw_patients
from synthrelease.training.patients import Rows, TrainingPatients


@dataclass(frozen=True)
class StepReport:
    """What a step looked like. Private: computed on real patients, for the internal log only."""

    loss: float
    patients: int = 0
    clipped: int = 0
    refused: int = 0


Players = tuple[Player, ...]
Batches = Callable[[int, torch.Generator], Batch]
"""(step, generator) -> batch."""
Gradient = Callable[[Players, int], tuple[StepReport, ...]]
"""(a group of players, step from 0) -> a report for each; leaves the gradients in the players' parameters."""


def seeded(seed: int, stage: str, step: int) -> torch.Generator:
    """The generator of one step: a pure function of its arguments, for everything that is not privacy noise."""
    words = np.random.SeedSequence([seed, *stage.encode(), step]).generate_state(2, np.uint32)
    return torch.Generator().manual_seed(int(words[0]) << 31 ^ int(words[1]))


def plain_gradient(batch_of: Batches, seed: int, stage: str, *, with_masks: Batches | None = None) -> Gradient:
    """Gradient of the mean loss of a batch.

    Args:
        batch_of: (step, generator) -> batch; real images, or samples of the moments.
        seed: Public seed.
        stage: Name of the stage; separates its draws from other stages'.
        with_masks: Batches of players that seek masks; None: as everybody's.
    """

    def of(player: Player, step: int) -> StepReport:
        rng = seeded(seed, f"{stage}/{player.name}", step)
        drawn = with_masks if with_masks is not None and player.seeks_masks else batch_of
        loss = player.loss(player.module, player.draw(drawn(step, rng), rng)).mean()
        if player.generated is not None:
            loss = loss + player.generated(rng)
        player.module.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        return StepReport(loss=float(loss.detach()))

    return lambda players, step: tuple(of(player, step) for player in players)


def private_gradient(
    patients: TrainingPatients,
    spec: Spec,
    account: Account,
    noise: NoiseSource,
    *,
    seed: int,
    batch: int,
    backends: Mapping[str, Backend] | None = None,
) -> Gradient:
    """Noisy mean of clipped patients' gradients for players that see real images; a plain one on no image for others.

    Which images of a patient, which noise levels: drawn from fresh entropy for each patient in each step, never from
    the public seed and never from a stream that patients share. In a shared stream a patient's draws follow from the
    place in the batch, so that one patient more would change the vectors of the patients after it.

    Args:
        patients: Training patients.
        spec: Shape of a batch without real images.
        account: Counts each step before its noise is drawn; its plan says which players form a group.
        noise: Patient draws, entropy and noise.
        seed: Public seed, for everything that sees nothing real.
        batch: Size of the batches of players that see nothing real.
        backends: How gradients are computed, by player; the plan's backend where a player is not named.
    """
    plan = account.plan
    block = patients_at_once(plan.images_per_visit * plan.noise_draws)
    everyone = np.arange(len(patients), dtype=np.int64)
    chosen = backends or {}

    def blocks(players: Players, drawn: Rows) -> Iterator[list[dict[str, Tensor]]]:
        for start in range(0, len(drawn), block):
            each = [own_inputs(players, int(patient)) for patient in drawn[start : start + block]]
            yield [_stacked([inputs[i] for inputs in each]) for i in range(len(players))]

    def own_inputs(players: Players, patient: int) -> list[dict[str, Tensor]]:
        rows = draw_images([patients.rows(patient)], plan.images_per_visit, np.random.default_rng(noise.entropy()))
        batch = patients.batch(np.repeat(rows.reshape(-1), plan.noise_draws))
        return [player.draw(batch, torch.Generator().manual_seed(noise.entropy())) for player in players]

    blind = plain_gradient(lambda step, rng: no_images(spec, batch, rng), seed, "blind")

    def gradient(players: Players, step: int) -> tuple[StepReport, ...]:
        if not any(player.sees_real for player in players):
            return blind(players, step)
        name = plan.group_of(players[0].name)
        if plan.step_groups[name] != tuple(player.name for player in players):
            raise ValueError(f"{name} is planned for {plan.step_groups[name]}, not for these players")
        planned = plan.release(name)
        targets = [Target(p.module, _scaled(p), chosen.get(p.name, plan.backend)) for p in players]
        drawn = draw_patients(everyone, planned.mechanism.sampling_probability, noise)
        clipped, losses = clipped_joint_sum(targets, blocks(players, drawn), planned.clip_norm, block=block)
        vector = torch.from_numpy(noisy_sum(clipped, name=name, account=account, noise=noise) / plan.normaliser)
        for player, own in zip(players, torch.split(vector, [flat_size(p.module) for p in players]), strict=True):
            if player.generated is not None:
                # Added outside clipping and noise: no patient is in it but by what was noised before.
                made = player.generated(seeded(seed, f"generated/{player.name}", step))
                own = own + _beside_clipped(player, made, planned.clip_norm / math.sqrt(len(players))).to(own)
            put_gradient(player.module, own)
        return tuple(
            StepReport(loss / (p.private_scale or 1.0), clipped.patients, clipped.clipped, clipped.refused)
            for p, loss in zip(players, losses, strict=True)
        )

    return gradient


def _scaled(player: Player) -> Loss:
    """The loss as private steps take it."""
    scale, loss = player.private_scale, player.loss
    return loss if scale is None else lambda forward, inputs: scale * loss(forward, inputs)


def _beside_clipped(player: Player, made: Tensor, most: float) -> Tensor:
    """Gradient (d,) of a loss on generated samples, to be added to that of clipped patients.

    Args:
        player: Whose parameters; nobody else's, whatever else the loss reaches.
        made: The loss.
        most: Where the player's private losses are scaled, the norm that the gradient is held to: no patient has more either.
    """
    parameters = list(trained(player.module).values())
    parts = torch.autograd.grad(made, parameters, allow_unused=True, materialize_grads=True)
    whole = torch.cat([part.flatten().double() for part in parts])
    if player.private_scale is None:
        return whole
    whole = player.private_scale * whole
    held: Tensor = whole * (most / whole.norm().clamp_min(most))
    return held


def _stacked(each: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    return {name: torch.stack([inputs[name] for inputs in each]) for name in each[0]}


def groups_of(players: Players, plan: PrivacyPlan | None) -> tuple[Players, ...]:
    """The players in the order in which they are stepped, those that the plan noises as one vector together.

    Raises:
        PolicyError: A player sees real images and the plan does not pay for it, or the other way round.
    """
    if plan is None:
        return tuple((player,) for player in players)
    named = {player.name: player for player in players}
    real = {player.name for player in players if player.sees_real}
    paid = {name for group in plan.step_groups.values() for name in group}
    if plan.steps and real != paid:
        raise PolicyError(
            f"players that see real images: {sorted(real)}; the privacy plan pays for {sorted(paid)}",
            fix="This is a fault of the generator's registry entry; choose another generator.",
        )
    together = [tuple(named[name] for name in group) for group in plan.step_groups.values()]
    grouped = {player.name for group in together for player in group}
    # A group stands where its first player stands.
    out: list[Players] = []
    for player in players:
        if player.name not in grouped:
            out.append((player,))
        else:
            out += [group for group in together if group[0].name == player.name]
    return tuple(out)


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
        learning_rate: Of Adam, before the player's own rate.
        decay: Of the averaged weights; smaller in the first steps after a beginning, so that it is forgotten.
        private: Whether the steps are private.

    Attributes:
        turns: Steps of the player in a row; one where steps are private.
    """

    def __init__(self, player: Player, *, learning_rate: float, decay: float, private: bool = False) -> None:
        self.player = player
        self._decay = decay
        self.turns = 1 if private else player.turns
        self._learning_rate = learning_rate * player.rate
        self.average: dict[str, Tensor] = {}
        self.begin_anew()

    def begin_anew(self) -> None:
        """Take up the parameters that are trained now: fresh moments for all, averages that begin for those that joined."""
        self._parameters = trained(self.player.module)
        self._adam = torch.optim.Adam(list(self._parameters.values()), lr=self._learning_rate, betas=self.player.betas)
        for name, p in self._parameters.items():
            self.average.setdefault(name, p.detach().clone())

    def advance(self) -> None:
        """Step along the gradient that is in the parameters."""
        self._adam.step()
        # Since the last new beginning: layers that joined then were random, and their average forgets it as soon as at first.
        taken = max((int(of["step"]) for of in self._adam.state.values()), default=0)
        decay = min(self._decay, taken / (9 + taken))
        with torch.no_grad():
            for name, p in self._parameters.items():
                self.average[name].lerp_(p, 1 - decay)

    def take_average(self) -> None:
        """Put the averaged weights into the network, where the player is averaged."""
        if not self.player.averaged:
            return
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
        self.player.module.load_state_dict(under(tensors, f"{prefix}/weight"))
        self.average = {name: t.clone() for name, t in under(tensors, f"{prefix}/average").items()}
        for name, p in self._parameters.items():
            adam = {
                key: tensors[f"{prefix}/adam/{key}/{name}"].clone()
                for key in ("step", "exp_avg", "exp_avg_sq")
                if f"{prefix}/adam/{key}/{name}" in tensors
            }
            if adam:
                self._adam.state[p] = adam


def due(group: Players, step: int, *, private: bool = False) -> bool:
    """Whether a group is stepped in a step of the loop; members of a group see real images and always are, together."""
    return all((step + 1) % waits(player, private=private) == 0 for player in group)


def waits(player: Player, *, private: bool) -> int:
    """Steps of the loop for one of the player's."""
    return player.every_private or player.every if private else player.every


def step_together(steppers: tuple[Stepper, ...], gradient: Gradient, step: int) -> tuple[StepReport, ...]:
    """One step of a group: gradients of all, then each one's optimiser; as often as the group takes turns.

    Returns:
        A report for each, of the last turn.

    Raises:
        ValueError: Players of one group take different numbers of turns.
    """
    if len({stepper.turns for stepper in steppers}) > 1:
        raise ValueError("players that are stepped together take as many turns each")
    turns = steppers[0].turns
    for stepper in steppers:
        stepper.player.module.train()
    reports: tuple[StepReport, ...] = ()
    for number in range(step * turns, (step + 1) * turns):
        # What is drawn follows from the number: no two turns see one batch.
        reports = gradient(tuple(stepper.player for stepper in steppers), number)
        for stepper in steppers:
            stepper.advance()
    return reports

"""One run through its stages: moments, warm-up on their samples, steps on real patients.

private, moments     three noisy sums -> closed form
private, diffusion   three noisy sums -> warm-up on samples of the closed form (free) -> private steps
none, moments        three exact sums -> closed form
none, diffusion      plain steps on real images
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from synthrelease.errors import IntegrityError
from synthrelease.generators.moments.basis import Basis
from synthrelease.generators.moments.model import MomentsGenerator
from synthrelease.generators.protocol import Batch, Generator, Player, Spec
from synthrelease.generators.registry import build
from synthrelease.policy.schema import DiffusionGenerator, Policy
from synthrelease.privacy.account import Account
from synthrelease.privacy.accounting import EpsilonMeter, meter
from synthrelease.privacy.clipping import Backend
from synthrelease.privacy.noise import NoiseSource
from synthrelease.records.progress import Progress
from synthrelease.training.backends import TRIAL_ROWS, backend_for
from synthrelease.training.checkpoint import Array, Checkpoint, Position
from synthrelease.training.events import EventLog
from synthrelease.training.interrupt import StopRequest
from synthrelease.training.loop import (
    Gradient,
    Stepper,
    groups_of,
    no_images,
    plain_gradient,
    private_gradient,
    step_together,
)
from synthrelease.training.moments import COUNTS, SECOND, SUMS, fit_moments
from synthrelease.training.patients import TrainingPatients

WARM_UP, STEPS = "warm-up", "steps"
SAVE_SHARE = 20
"""Saving takes at most one part in this of the time, and happens at most once a second."""


@dataclass
class TrainingRun:
    """Everything a run works with.

    Attributes:
        policy: The policy.
        spec: Its shapes.
        patients: Training patients.
        account: Pays for private releases; None makes no claim.
        noise: Source of all privacy randomness.
        checkpoint: Where the run is kept.
        events: Internal log.
        progress: What is shown.
        stop: Set when the run shall stop after the step in flight.
        stop_after: Stop after so many steps of this process; None = run to the end.
    """

    policy: Policy
    spec: Spec
    patients: TrainingPatients
    account: Account | None
    noise: NoiseSource
    checkpoint: Checkpoint
    events: EventLog
    progress: Progress
    stop: StopRequest
    stop_after: int | None = None
    _done: int = 0
    _backends: dict[str, Backend] = field(default_factory=dict)

    def train(self) -> tuple[Generator, Position]:
        """Go from where the checkpoint stands to the end.

        Returns:
            The finished generator, and the last position.

        Raises:
            Interrupted: Stopped on request; the state is kept.
            PolicyError: The network mixes patients.
            BudgetExceeded, IntegrityError: The account does not fit the checkpoint.
        """
        settings = self.policy.generator
        moments: MomentsGenerator | None = None
        generator = build(settings, self.spec)
        if self.account is not None and isinstance(settings, DiffusionGenerator):
            self._check_players(generator.players())
        if not isinstance(settings, DiffusionGenerator) or self.account is not None:
            moments = self._moments()
        if not isinstance(settings, DiffusionGenerator):
            assert moments is not None
            return moments, Position(STEPS, 0, 0, 0)
        return generator, self._steps(generator, moments, settings)

    def _check_players(self, players: tuple[Player, ...]) -> None:
        """Refuse what mixes patients, and find how each player's gradients are computed."""
        assert self.account is not None
        groups_of(players, self.account.plan)
        rng = torch.Generator().manual_seed(0)
        for player in players:
            if player.sees_real:
                inputs = player.draw(no_images(self.spec, TRIAL_ROWS, rng), rng)
                backend, why = backend_for(player, inputs, self.account.plan.backend)
                if why is not None:
                    self.progress.note(
                        f"gradients of {player.name} are taken patient by patient, which is slower: {why}"
                    )
                self._backends[player.name] = backend

    def _moments(self) -> MomentsGenerator:
        settings = self.policy.generator
        self.progress.stage("training: moments", 3)
        sums = self.checkpoint.sums()

        def keep(name: str, value: Array) -> None:
            sums[name] = value
            self.checkpoint.keep_sums(sums)
            self.events.write("sum released", name=name)
            self.progress.step(len(sums))
            if self.stop.asked and len(sums) < len((COUNTS, SUMS, SECOND)):
                raise self.stop.stopped("between moments")

        basis = Basis(self.spec, settings)
        found = fit_moments(
            self.patients,
            basis,
            self.spec.classes,
            account=self.account,
            noise=self.noise,
            known=dict(sums),
            keep=keep,
        )
        # Noise may leave every count at zero; the shrinkage of means then divides by nothing and rightly keeps nothing.
        with np.errstate(over="ignore", divide="ignore"):
            return MomentsGenerator.from_moments(
                self.spec,
                settings,
                found.counts,
                found.means,
                found.covariance,
                mean_noise=found.mean_noise,
                covariance_noise=found.covariance_noise,
            )

    def _steps(self, generator: Generator, moments: MomentsGenerator | None, settings: DiffusionGenerator) -> Position:
        warm_up = settings.warmup_steps if moments is not None else 0
        kept = self.checkpoint.load(self.account)
        position = self._caught_up(Position(WARM_UP if warm_up else STEPS, 0, 0, 0) if kept is None else kept[0])
        steppers = self._steppers(generator, settings, position.stage)
        if kept is not None:
            for stepper in steppers:
                stepper.load(kept[1])
        if position.stage == WARM_UP:
            assert moments is not None

            def sampled(step: int, rng: torch.Generator) -> Batch:
                labels = torch.randint(self.spec.classes, (settings.batch,), generator=rng)
                return moments.sample(labels, rng)

            gradient = plain_gradient(sampled, settings.seed, WARM_UP)
            position = self._stage(steppers, gradient, position, warm_up, None)
            for stepper in steppers:
                stepper.take_average()
            position = replace(position, stage=STEPS, step=0)
            steppers = self._steppers(generator, settings, STEPS)
            self._save(position, steppers)
        if self.account is None:
            total, epsilons = settings.steps, None
            gradient = plain_gradient(self._real_batch(settings), settings.seed, STEPS)
        elif self.account.plan.steps == 0:
            return position
        else:
            plan = self.account.plan
            total = plan.steps
            others = [m for m in plan.mechanisms if m.name not in plan.step_groups]
            epsilons = meter(others, plan.stepped, plan.delta)
            gradient = private_gradient(
                self.patients,
                self.spec,
                self.account,
                self.noise,
                seed=settings.seed,
                batch=settings.batch,
                backends=self._backends,
            )
        position = self._stage(steppers, gradient, position, total, epsilons)
        for stepper in steppers:
            stepper.take_average()
        return position

    def _caught_up(self, position: Position) -> Position:
        """The position with the steps that a killed process counted but did not keep: spent, and not run again."""
        if self.account is None or self.account.plan.steps == 0:
            return position
        lost = self._counted(self.account) - position.counted
        if lost < 0 or (lost and position.stage != STEPS):
            raise IntegrityError(
                "the account and the checkpoint are not of one run",
                fix="Start a new run; the ledger keeps this one charged in full.",
            )
        if lost:
            self.events.write("steps lost", counted=position.counted + lost, lost=lost)
        return replace(position, step=position.step + lost, counted=position.counted + lost, lost=position.lost + lost)

    @staticmethod
    def _counted(account: Account) -> int:
        """Gradient steps that any group has used; a group that a crash left behind skips what the others used."""
        return max(account.used(name) for name in account.plan.step_groups)

    def _steppers(self, generator: Generator, settings: DiffusionGenerator, stage: str) -> list[Stepper]:
        private = stage == STEPS and self.account is not None
        rate = settings.private_learning_rate if private else settings.learning_rate
        return [Stepper(p, learning_rate=rate, decay=settings.ema_decay) for p in generator.players()]

    def _real_batch(self, settings: DiffusionGenerator) -> Callable[[int, torch.Generator], Batch]:
        rows = self.patients.all_rows

        def batch(step: int, rng: torch.Generator) -> Batch:
            return self.patients.batch(rows[torch.randint(len(rows), (settings.batch,), generator=rng).numpy()])

        return batch

    def _stage(
        self,
        steppers: list[Stepper],
        gradient: Gradient,
        position: Position,
        total: int,
        epsilons: EpsilonMeter | None,
    ) -> Position:
        """Steps of one stage, from the position to ``total``; kept now and then, and always when stopped."""
        self.progress.stage(f"training: {position.stage}", total)
        saved_at, cost = time.monotonic(), 0.0
        of = {stepper.player.name: stepper for stepper in steppers}
        plan = self.account.plan if self.account and epsilons else None
        groups = [tuple(of[p.name] for p in g) for g in groups_of(tuple(s.player for s in steppers), plan)]
        while position.step < total:
            for group in groups:
                reports = step_together(group, gradient, position.step)
                for stepper, report in zip(group, reports, strict=True):
                    self.events.write(
                        "step", stage=position.stage, step=position.step, player=stepper.player.name, **report.__dict__
                    )
            counted = self._counted(self.account) if epsilons and self.account else position.counted
            position = replace(position, step=position.step + 1, counted=counted)
            self._done += 1
            self.progress.step(position.step, f"epsilon so far {epsilons.at(position.counted):.3f}" if epsilons else "")
            stop = self.stop.asked or (self.stop_after is not None and self._done >= self.stop_after)
            now = time.monotonic()
            if stop or position.step == total or now - saved_at > max(1.0, SAVE_SHARE * cost):
                self._save(position, steppers)
                saved_at, cost = time.monotonic(), time.monotonic() - now
            if stop and position.step < total:
                raise self.stop.stopped(f"after {position.stage} {position.step} of {total}")
        return position

    def _save(self, position: Position, steppers: list[Stepper]) -> None:
        tensors = {name: tensor for stepper in steppers for name, tensor in stepper.state().items()}
        self.checkpoint.save(position, tensors, self.account)

"""One run through its stages: moments, warm-up on their samples, steps on real patients.

private, moments     three noisy sums -> closed form
private, networks    three noisy sums -> warm-up on samples of the closed form (free) -> private steps
none, moments        three exact sums -> closed form
none, networks       plain steps on real images

Networks that grow do so in the first stage that trains them; what has to be calibrated is, after the last step.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from synthrelease.errors import IntegrityError
from synthrelease.generators.moments.basis import Basis
from synthrelease.generators.moments.model import MomentsGenerator
from synthrelease.generators.protocol import Batch, Calibrated, Diagnosed, Generator, Growing, Spec
from synthrelease.policy.generators import Stepped
from synthrelease.policy.schema import Policy
from synthrelease.privacy.account import Account
from synthrelease.privacy.accounting import EpsilonMeter, meter
from synthrelease.privacy.clipping import Backend
from synthrelease.privacy.noise import NoiseSource
from synthrelease.records.progress import Progress
from synthrelease.training.checkpoint import Array, Checkpoint, Position
from synthrelease.training.events import EventLog
from synthrelease.training.interrupt import StopRequest
from synthrelease.training.loop import (
    Batches,
    Gradient,
    Stepper,
    due,
    groups_of,
    plain_gradient,
    private_gradient,
    seeded,
    step_together,
)
from synthrelease.training.moments import SECOND, fit_moments, queries
from synthrelease.training.patients import Rows, TrainingPatients

WARM_UP, STEPS = "warm-up", "steps"
CALIBRATION_BATCHES = 64
"""Batches of the moments' samples that a private run is calibrated on."""
DIAGNOSES = 20
"""A generator that tells how its training stands is asked so often in a stage."""
SAVE_SHARE = 20
"""Saving takes at most one part in this of the time, and happens at most once a second."""


@dataclass
class TrainingRun:
    """Everything a run works with.

    Attributes:
        policy: The policy.
        spec: Its shapes.
        generator: Untrained; with the guide and the maps that it takes from elsewhere.
        patients: Training patients.
        apart: Patients set apart to calibrate, whom no network sees; None: there are none.
        account: Pays for private releases; None makes no claim.
        noise: Source of all privacy randomness.
        checkpoint: Where the run is kept.
        events: Internal log.
        progress: What is shown.
        stop: Set when the run shall stop after the step in flight.
        stop_after: Stop after so many steps of this process; None = run to the end.
        backends: How the gradients of each player that sees real images are computed, by its name; needed with an account.
    """

    policy: Policy
    spec: Spec
    generator: Generator
    patients: TrainingPatients
    account: Account | None
    noise: NoiseSource
    checkpoint: Checkpoint
    events: EventLog
    progress: Progress
    stop: StopRequest
    stop_after: int | None = None
    backends: dict[str, Backend] = field(default_factory=dict)
    apart: TrainingPatients | None = None
    _done: int = 0

    def train(self) -> tuple[Generator, Position]:
        """Go from where the checkpoint stands to the end.

        Returns:
            The finished generator, and the last position.

        Raises:
            Interrupted: Stopped on request; the state is kept.
            BudgetExceeded, IntegrityError: The account does not fit the checkpoint.
        """
        settings = self.policy.generator
        moments: MomentsGenerator | None = None
        generator = self.generator
        if not isinstance(settings, Stepped) or self.account is not None:
            moments = self._moments()
        if not isinstance(settings, Stepped):
            assert moments is not None
            return moments, Position(STEPS, 0, 0, 0)
        position = self._steps(generator, moments, settings)
        if isinstance(generator, Calibrated):
            generator.calibrate(self._unseen(moments, settings))
        return generator, position

    def _unseen(self, moments: MomentsGenerator | None, settings: Stepped) -> Iterator[Batch]:
        """Images for calibration: of patients that no network saw, or samples of the private moments."""
        apart = self.apart
        if apart is not None:
            for start in range(0, len(apart.all_rows), settings.batch):
                yield apart.batch(apart.all_rows[start : start + settings.batch])
            return
        assert moments is not None
        for number in range(CALIBRATION_BATCHES):
            rng = seeded(settings.seed, "calibration", number)
            yield moments.sample(torch.randint(self.spec.classes, (settings.batch,), generator=rng), rng)

    def _moments(self) -> MomentsGenerator:
        settings = self.policy.generator
        basis = Basis(self.spec, settings)
        self.progress.stage("training: moments", len(queries(basis, some_masks=self.patients.some_masks)))
        sums = self.checkpoint.sums()

        def keep(name: str, value: Array) -> None:
            sums[name] = value
            self.checkpoint.keep_sums(sums)
            self.events.write("sum released", name=name)
            self.progress.step(len(sums))
            if self.stop.asked and name != SECOND:  # the last one
                raise self.stop.stopped("between moments")

        found = fit_moments(
            self.patients,
            basis,
            self.spec.classes,
            account=self.account,
            noise=self.noise,
            known=dict(sums),
            keep=keep,
        )
        return found.generator(self.spec, settings)

    def _steps(self, generator: Generator, moments: MomentsGenerator | None, settings: Stepped) -> Position:
        warm_up = settings.warmup_steps if moments is not None else 0
        kept = self.checkpoint.load(self.account)
        position = self._caught_up(Position(WARM_UP if warm_up else STEPS, 0, 0, 0) if kept is None else kept[0])
        growing = _Growth(generator, WARM_UP if moments is not None else STEPS)
        growing.as_kept(position, warm_up or settings.steps)
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
            position = self._stage(steppers, gradient, position, warm_up, None, growing)
            for stepper in steppers:
                stepper.take_average()
            position = replace(position, stage=STEPS, step=0)
            growing.to(position, warm_up)
            steppers = self._steppers(generator, settings, STEPS)
            self._save(position, steppers)
        if self.account is None:
            total, epsilons = settings.steps, None
            batches, with_masks = self._real_batches(settings)
            gradient = plain_gradient(batches, settings.seed, STEPS, with_masks=with_masks)
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
                backends=self.backends,
            )
        position = self._stage(steppers, gradient, position, total, epsilons, growing)
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

    def _steppers(self, generator: Generator, settings: Stepped, stage: str) -> list[Stepper]:
        private = stage == STEPS and self.account is not None
        rate = settings.private_learning_rate if private else settings.learning_rate
        return [Stepper(p, learning_rate=rate, decay=settings.ema_decay, private=private) for p in generator.players()]

    def _real_batches(self, settings: Stepped) -> tuple[Batches, Batches]:
        """Real images, drawn evenly; and for who seeks masks, where few have them, half of a batch from those who have."""
        rows, masked = self.patients.all_rows, self.patients.labelled_rows()
        taught = settings.batch // 2 if len(masked) < len(rows) else 0

        def drawn(among: Rows, size: int, rng: torch.Generator) -> Rows:
            chosen: Rows = among[torch.randint(len(among), (size,), generator=rng).numpy()]
            return chosen

        def even(step: int, rng: torch.Generator) -> Batch:
            return self.patients.batch(drawn(rows, settings.batch, rng))

        def halved(step: int, rng: torch.Generator) -> Batch:
            own = drawn(rows, settings.batch - taught, rng)
            return self.patients.batch(np.concatenate([drawn(masked, taught, rng), own]))

        return even, halved if taught else even

    def _stage(
        self,
        steppers: list[Stepper],
        gradient: Gradient,
        position: Position,
        total: int,
        epsilons: EpsilonMeter | None,
        growing: _Growth,
    ) -> Position:
        """Steps of one stage, from the position to ``total``; kept now and then, and always when stopped."""
        self.progress.stage(f"training: {position.stage}", total)
        saved_at, cost = time.monotonic(), 0.0
        of = {stepper.player.name: stepper for stepper in steppers}
        plan = self.account.plan if self.account and epsilons else None
        groups = [tuple(of[p.name] for p in g) for g in groups_of(tuple(s.player for s in steppers), plan)]
        while position.step < total:
            if growing.to(position, total):
                for stepper in steppers:
                    stepper.begin_anew()
            for group in groups:
                if not due(tuple(stepper.player for stepper in group), position.step, private=epsilons is not None):
                    continue
                reports = step_together(group, gradient, position.step)
                for stepper, report in zip(group, reports, strict=True):
                    self.events.write(
                        "step", stage=position.stage, step=position.step, player=stepper.player.name, **report.__dict__
                    )
            growing.diagnose(position, total, self.events)
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


class _Growth:
    """Where the networks of a generator that grows are, and how they do; nothing for one that does not tell.

    Args:
        generator: Any.
        stage: The stage in which it grows; in later ones it is of full size.
    """

    def __init__(self, generator: Generator, stage: str) -> None:
        self._generator = generator if isinstance(generator, Growing) else None
        self._diagnosed = generator if isinstance(generator, Diagnosed) else None
        self._stage = stage

    def diagnose(self, position: Position, total: int, events: EventLog) -> None:
        """Log, now and then, what the generator tells of its training."""
        if self._diagnosed is None or (position.step + 1) % max(1, total // DIAGNOSES):
            return
        figures = self._diagnosed.diagnostics(seeded(0, f"diagnostics/{position.stage}", position.step))
        facts: dict[str, Any] = {"stage": position.stage, "step": position.step, **figures}
        events.write("diagnostics", **facts)

    def to(self, position: Position, total: int) -> bool:
        """Bring the networks to where they are in the next step; whether parameters joined or left."""
        if self._generator is None:
            return False
        return self._generator.grow(position.step / total if position.stage == self._stage else 1.0)

    def as_kept(self, position: Position, total: int) -> None:
        """Bring the networks to where they were when the position was kept: after its last step, not before its next."""
        self.to(replace(position, step=max(0, position.step - 1)), total)

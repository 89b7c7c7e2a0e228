"""Under privacy: real and generated maps push the critics alike, painter and critics share the clip norm, and canaries too."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from discs_archive import Archive, policy
from torch import Tensor, nn

from synthrelease.generators.protocol import Player
from synthrelease.generators.um.model import UmGenerator
from synthrelease.policy.generators import UmGenerator as Settings
from synthrelease.privacy.account import Account
from synthrelease.privacy.accounting import Mechanism
from synthrelease.privacy.noise import OsNoise
from synthrelease.privacy.plan import GaussianRelease, PrivacyPlan
from synthrelease.training.canaries import Planted, WithCanaries, coordinates, with_probe
from synthrelease.training.loop import Gradient, Stepper, groups_of, plain_gradient, private_gradient, step_together
from synthrelease.training.patients import TrainingPatients
from synthrelease.training.planning import spec_of

SMALL = {"width": 8, "latent": 4, "superpixels": 36, "batch": 8}
RULES = policy("um", "none", SMALL)
SPEC = spec_of(RULES)
PATIENTS = 12


class Quiet(OsNoise):
    """Everybody in every step and no noise: to see the sum."""

    def normal(self, size: int) -> npt.NDArray[np.float64]:
        """Zeros."""
        return np.zeros(size)

    def bernoulli(self, size: int, probability: float) -> npt.NDArray[np.bool_]:
        """All."""
        return np.ones(size, dtype=bool)

    def entropy(self) -> int:
        """Constant."""
        return 5


def private(folder: Path, clip_norm: float, patients: TrainingPatients | None = None) -> tuple[Gradient, PrivacyPlan]:
    """Steps on a few patients, of whom all take part; the normaliser is their number."""
    archive = Archive(patients=PATIENTS, images_each=1)
    plan = PrivacyPlan(
        8.0,
        8.0,
        1e-5,
        (GaussianRelease(Mechanism("gradient_steps", 1.0, 1.0, 100), clip_norm),),
        PATIENTS,
        1,
        1,
        {"gradient_steps": ("critics", "painter")},
    )
    account = Account(folder / "account.jsonl", plan, "r" * 64, resume=False)
    given = patients or TrainingPatients(archive, archive.patients, 1)
    return private_gradient(given, SPEC, account, Quiet(), seed=0, batch=8), plan


def warmed_up(steps: int) -> UmGenerator:
    """A generator after plain steps on other discs."""
    settings = RULES.generator
    assert isinstance(settings, Settings)
    generator, archive = UmGenerator(SPEC, settings), Archive(patients=16, seed=1)
    others = TrainingPatients(archive, archive.patients, 1)
    gradient = plain_gradient(lambda step, rng: others.batch(others.all_rows[:8]), 0, "warm-up")
    steppers = [Stepper(each, learning_rate=3e-3, decay=0.9) for each in generator.players()]
    for step in range(steps):
        for stepper in steppers:
            step_together((stepper,), gradient, step)
    return generator


def of_maps(module: nn.Module) -> Tensor:
    """What the critic of maps is left to step along."""
    return torch.cat(
        [p.grad.flatten() for name, p in module.named_parameters() if name.startswith("maps.") and p.grad is not None]
    )


@pytest.mark.parametrize("clip_norm", [1.0, 0.01])
@pytest.mark.parametrize("steps", [0, 15])
def test_real_maps_push_the_critic_about_as_hard_as_generated_ones(
    steps: int, clip_norm: float, tmp_path: Path
) -> None:
    """Patients were clipped beside a painter whose gradient is far longer, and generated maps by nobody."""
    generator = warmed_up(steps)
    gradient, plan = private(tmp_path, clip_norm)
    together, *_ = groups_of(generator.players(), plan)
    deaf = tuple(replace(each, generated=None) for each in together)
    gradient(deaf, 0)
    real = of_maps(generator.critics)
    gradient(together, 0)
    generated = of_maps(generator.critics) - real
    assert 1 / 3 < float(real.norm() / generated.norm()) < 3


@pytest.mark.parametrize("steps", [0, 15])
def test_critics_and_painter_share_the_clip_norm(steps: int, tmp_path: Path) -> None:
    generator = warmed_up(steps)
    gradient, plan = private(tmp_path, 0.01)
    together, *_ = groups_of(generator.players(), plan)
    gradient(tuple(replace(each, generated=None) for each in together), 0)
    norms = [
        math.hypot(*(float(p.grad.norm()) for p in each.module.parameters() if p.grad is not None)) for each in together
    ]
    assert 1 / 5 < norms[0] / norms[1] < 5
    assert math.hypot(*norms) <= 0.01 * (1 + 1e-3)  # the mean of vectors that are clipped as one


def test_generated_maps_never_push_beyond_the_critics_share(tmp_path: Path) -> None:
    generator = warmed_up(15)
    gradient, plan = private(tmp_path, 0.01)
    together, *_ = groups_of(generator.players(), plan)
    gradient(tuple(replace(each, generated=None) for each in together), 0)
    real = of_maps(generator.critics)
    gradient(together, 0)
    assert float((of_maps(generator.critics) - real).norm()) == pytest.approx(0.01 / math.sqrt(2), rel=1e-3)


def test_the_log_tells_the_loss_that_was_not_scaled(tmp_path: Path) -> None:
    generator = warmed_up(0)
    gradient, plan = private(tmp_path, 1.0)
    together, *_ = groups_of(generator.players(), plan)
    scaled = gradient(together, 0)
    plain = gradient(tuple(replace(each, private_scale=None) for each in together), 0)
    assert [each.loss for each in scaled] == pytest.approx([each.loss for each in plain], rel=1e-4)


def test_a_canary_is_as_loud_in_the_painter_as_in_the_critics(tmp_path: Path) -> None:
    """The mechanism's audit reads both coordinates as an even share of C: one that is drowned hides half of a fault."""
    store = Archive(patients=2, images_each=1)
    planted = Planted(SPEC.classes + np.arange(2, dtype=np.int64))
    birds = WithCanaries(store, store.patients, planted, (SPEC.segments, SPEC.resolution, SPEC.resolution))
    patients = TrainingPatients(birds, birds.patients[2:], SPEC.segments)
    gradient, plan = private(tmp_path, 0.5, patients)
    probe: Callable[[Player], Player] = lambda each: with_probe(each, SPEC.classes, 2, 0.5)  # noqa: E731
    together = tuple(probe(each) for each in groups_of(warmed_up(0).players(), plan)[0])
    gradient(tuple(replace(each, generated=None) for each in together), 0)
    for each in together:
        assert coordinates(each, 2) == pytest.approx([0.5 / math.sqrt(2) / PATIENTS] * 2, rel=1e-3)


def test_plain_steps_know_no_scale() -> None:
    generator = warmed_up(0)
    batch = TrainingPatients(Archive(), np.arange(8), 1).batch(np.arange(8))
    gradient = plain_gradient(lambda step, rng: batch, 0, "steps")
    found = []
    for player in (generator.players()[1], replace(generator.players()[1], private_scale=None)):
        gradient((player,), 0)
        found.append([p.grad.clone() for p in generator.painter.parameters() if p.grad is not None])
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))

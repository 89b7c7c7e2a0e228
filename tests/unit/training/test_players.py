"""Several networks see real images: each is paid for, clipped alone or with others, and generated samples stay outside."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from discs_archive import Archive
from torch import Tensor, nn
from torch.nn import functional

from synthrelease.errors import PolicyError
from synthrelease.generators.protocol import Batch, Forward, Inputs, Player, Spec
from synthrelease.privacy.account import Account
from synthrelease.privacy.accounting import Mechanism
from synthrelease.privacy.noise import OsNoise
from synthrelease.privacy.plan import GaussianRelease, PrivacyPlan
from synthrelease.training.loop import (
    Stepper,
    StepReport,
    groups_of,
    plain_gradient,
    private_gradient,
    step_together,
)
from synthrelease.training.patients import TrainingPatients

SPEC = Spec(resolution=16, classes=2, segments=1)


class Quiet(OsNoise):
    """Everybody in every step, the same draws, no noise: to see the sum."""

    def normal(self, size: int) -> np.ndarray:
        """Zeros."""
        return np.zeros(size)

    def bernoulli(self, size: int, probability: float) -> np.ndarray:
        """All."""
        return np.ones(size, dtype=bool)

    def entropy(self) -> int:
        """Constant."""
        return 5


class Adversaries:
    """A critic and an encoder that see real images, and a generator that does not."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.critic = nn.Sequential(nn.Flatten(), nn.Linear(256, 8), nn.LeakyReLU(0.2), nn.Linear(8, 1))
        self.encoder = nn.Sequential(nn.Conv2d(1, 4, 4, 4), nn.Flatten(), nn.Linear(64, 2))
        self.generator = nn.Sequential(nn.Linear(3, 256), nn.Tanh())

    def made(self, rng: torch.Generator) -> Tensor:
        """(8, 1, 16, 16) samples."""
        return torch.as_tensor(self.generator(torch.randn(8, 3, generator=rng))).reshape(8, 1, 16, 16)

    def players(self) -> tuple[Player, ...]:
        """All three."""

        def draw(batch: Batch, rng: torch.Generator) -> dict[str, Tensor]:
            return {"images": batch.images, "labels": batch.labels}

        def real(forward: Forward, inputs: Inputs) -> Tensor:
            return functional.softplus(-forward(inputs["images"])[:, 0])

        def fake(rng: torch.Generator) -> Tensor:
            return functional.softplus(self.critic(self.made(rng).detach())[:, 0]).mean()

        def classified(forward: Forward, inputs: Inputs) -> Tensor:
            return functional.cross_entropy(forward(inputs["images"]), inputs["labels"], reduction="none")

        def nothing(forward: Forward, inputs: Inputs) -> Tensor:
            return 0.0 * inputs["images"].flatten(1).sum(dim=1)

        def fooled(rng: torch.Generator) -> Tensor:
            return functional.softplus(-self.critic(self.made(rng))[:, 0]).mean()

        return (
            Player("critic", self.critic, True, draw, real, fake),
            Player("encoder", self.encoder, True, draw, classified),
            Player("generator", self.generator, False, draw, nothing, fooled),
        )


def plan(groups: dict[str, tuple[str, ...]], clip_norm: float = 0.1) -> PrivacyPlan:
    """Two steps of each group."""
    return PrivacyPlan(
        target_epsilon=8.0,
        epsilon=8.0,
        delta=1e-5,
        releases=tuple(GaussianRelease(Mechanism(name, 1.0, 0.5, 2), clip_norm) for name in groups),
        expected_patients=24,
        images_per_visit=1,
        noise_draws=1,
        step_groups=groups,
    )


JOINT = {"gradient_steps": ("critic", "encoder")}
SEPARATE = {"gradient_steps.critic": ("critic",), "gradient_steps.encoder": ("encoder",)}


def gradients(
    groups: dict[str, tuple[str, ...]], folder: Path, clip_norm: float = 0.1, *, blind: bool = False
) -> tuple[Adversaries, Account]:
    """Gradients of one step in the networks."""
    archive, networks = Archive(patients=10, images_each=1), Adversaries()
    account = Account(folder / "account.jsonl", plan(groups, clip_norm), "r" * 64, resume=False)
    patients = TrainingPatients(archive, archive.patients, 1)
    gradient = private_gradient(patients, SPEC, account, Quiet(), seed=3, batch=4)
    for group in groups_of(networks.players(), account.plan):
        if group[0].sees_real or blind:
            gradient(group, 0)
    return networks, account


def flat(module: nn.Module) -> Tensor:
    """The gradient in a module."""
    return torch.cat([p.grad.flatten() for p in module.parameters() if p.grad is not None])


def of_generated(networks: Adversaries) -> Tensor:
    """Gradient of the critic on what the generator makes, by an ordinary backward pass."""
    from synthrelease.training.loop import seeded

    fresh = Adversaries()
    critic = fresh.players()[0]
    assert critic.generated is not None
    critic.generated(seeded(3, "generated/critic", 0)).backward()
    return flat(fresh.critic)


def test_players_clipped_together_are_one_mechanism_of_norm_c(tmp_path: Path) -> None:
    networks, account = gradients(JOINT, tmp_path, clip_norm=1e-3)
    assert account.used("gradient_steps") == 1
    real = torch.cat([flat(networks.critic) - of_generated(networks), flat(networks.encoder)])
    # Ten patients of norm C, over the normaliser 12.
    assert float(real.norm()) <= 10 * 1e-3 / 12 * (1 + 1e-3)
    assert float(real.norm()) > 0.3 * 10 * 1e-3 / 12


def test_players_clipped_apart_are_counted_apart(tmp_path: Path) -> None:
    networks, account = gradients(SEPARATE, tmp_path, clip_norm=1e-3)
    assert {m.name: m.steps for m in account.mechanisms()} == dict.fromkeys(SEPARATE, 1)
    for part in (flat(networks.critic) - of_generated(networks), flat(networks.encoder)):
        assert 0.3 * 10 * 1e-3 / 12 < float(part.norm()) <= 10 * 1e-3 / 12 * (1 + 1e-3)


def test_the_gradient_of_generated_samples_is_neither_clipped_nor_noised_nor_counted(tmp_path: Path) -> None:
    networks, _ = gradients(JOINT, tmp_path, clip_norm=1e-9)
    generated = of_generated(networks)
    assert float(generated.norm()) > 0.01
    assert torch.allclose(flat(networks.critic), generated, atol=1e-7)


def test_a_player_that_sees_nothing_real_is_stepped_without_privacy(tmp_path: Path) -> None:
    networks, account = gradients(JOINT, tmp_path, blind=True)
    assert float(flat(networks.generator).norm()) > 0
    assert [m.name for m in account.mechanisms()] == ["gradient_steps"]


def test_a_player_that_nobody_pays_for_is_refused() -> None:
    with pytest.raises(PolicyError, match=r"\['critic', 'encoder'\].*\['critic'\]"):
        groups_of(Adversaries().players(), plan({"gradient_steps": ("critic",)}))


def test_groups_keep_the_order_of_the_players() -> None:
    players = Adversaries().players()
    named = [tuple(p.name for p in group) for group in groups_of(players[::-1], plan(JOINT))]
    assert named == [("generator",), ("critic", "encoder")]
    assert [len(g) for g in groups_of(players, plan(SEPARATE))] == [1, 1, 1]
    assert [len(g) for g in groups_of(players, None)] == [1, 1, 1]


def test_players_learn_together_plain_and_private(tmp_path: Path) -> None:
    archive = Archive(patients=24, images_each=1)
    patients = TrainingPatients(archive, archive.patients, 1)
    for private in (False, True):
        networks = Adversaries()
        steppers = {p.name: Stepper(p, learning_rate=1e-2, decay=0.5) for p in networks.players()}
        if private:
            long = PrivacyPlan(
                8.0, 8.0, 1e-5, (GaussianRelease(Mechanism("gradient_steps", 0.3, 0.5, 60), 1.0),), 24, 1, 1, JOINT
            )
            account = Account(tmp_path / "account.jsonl", long, "r" * 64, resume=False)
            gradient = private_gradient(patients, SPEC, account, OsNoise(), seed=0, batch=4)
            groups = groups_of(networks.players(), long)
        else:
            gradient = plain_gradient(lambda step, rng: patients.batch(patients.all_rows), 0, "steps")
            groups = groups_of(networks.players(), None)
        for step in range(60):
            for group in groups:
                step_together(tuple(steppers[p.name] for p in group), gradient, step)
        batch = patients.batch(patients.all_rows)
        right = (networks.encoder(batch.images).argmax(dim=1) == batch.labels).float().mean()
        assert right > 0.8
        scores = networks.critic(batch.images).mean() - networks.critic(networks.made(torch.Generator())).mean()
        assert torch.isfinite(scores)


def test_a_player_takes_its_turns_in_plain_steps_and_one_in_private_ones() -> None:
    networks = Adversaries()
    critic, encoder, _ = networks.players()
    quick = replace(encoder, turns=3)
    asked: list[int] = []

    def gradient(players: tuple[Player, ...], step: int) -> tuple[StepReport, ...]:
        asked.append(step)
        for p in quick.module.parameters():
            p.grad = torch.ones_like(p)
        return (StepReport(float(step)),) * len(players)

    before = [p.detach().clone() for p in quick.module.parameters()]
    for step in range(2):
        report = step_together((Stepper(quick, learning_rate=0.1, decay=0.5),), gradient, step)
    assert asked == [0, 1, 2, 3, 4, 5]
    assert report == (StepReport(5.0),)
    for old, new in zip(before, quick.module.parameters(), strict=True):
        torch.testing.assert_close(old - new, torch.full_like(old, 0.6))
    step_together((Stepper(quick, learning_rate=0.1, decay=0.5, private=True),), gradient, 7)
    assert asked[6:] == [7]
    with pytest.raises(ValueError, match="as many turns"):
        step_together(tuple(Stepper(p, learning_rate=0.1, decay=0.5) for p in (critic, quick)), gradient, 0)
    for turns in ({"turns": 0}, {"turns": 2, "every_private": 2, "sees_real": False}):
        with pytest.raises(ValueError, match="turns"):
            replace(encoder, **turns)

"""Networks that grow: in the first stage that trains them, with optimisers begun anew, and bit-equal after an interruption."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from discs_archive import Archive, policy
from torch import Tensor, nn

from synthrelease.errors import Interrupted
from synthrelease.generators.pggan.model import PgganGenerator
from synthrelease.generators.protocol import Batch, Player, Spec
from synthrelease.generators.registry import load_generator
from synthrelease.privacy.account import Account
from synthrelease.privacy.accounting import Mechanism
from synthrelease.privacy.noise import OsNoise
from synthrelease.privacy.plan import GaussianRelease, PrivacyPlan
from synthrelease.records.ledger import Ledger
from synthrelease.records.progress import Silent
from synthrelease.training.loop import Stepper, due, private_gradient, step_together
from synthrelease.training.patients import TrainingPatients
from synthrelease.training.train import train_with


def trained(
    folder: Path, mode: str, *, resume: bool = False, stop_after: int | None = None, **settings: Any
) -> dict[str, Any]:
    """A run on the discs."""
    archive = Archive()
    return train_with(
        policy("pggan", mode, settings),
        archive,
        archive.patients,
        "cohort",
        folder / "run",
        ledger=Ledger(folder / "discs.jsonl"),
        resume=resume,
        progress=Silent(),
        stop_after=stop_after,
        noise=OsNoise(),
    )


@pytest.mark.parametrize("interrupted", [(1,), (6, 3), (13,)])
def test_an_interrupted_plain_run_ends_bit_equal(interrupted: tuple[int, ...], tmp_path: Path) -> None:
    trained(tmp_path / "whole", "none")
    for number, steps in enumerate(interrupted):
        with pytest.raises(Interrupted):
            trained(tmp_path / "parts", "none", resume=number > 0, stop_after=steps)
    trained(tmp_path / "parts", "none", resume=True)
    whole, parts = (load_generator(tmp_path / name / "run" / "checkpoint").state() for name in ("whole", "parts"))
    assert whole.keys() == parts.keys()
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_it_grows_through_every_scale_in_the_warm_up_and_meets_real_images_at_full_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[float] = []
    grown = PgganGenerator.grow
    monkeypatch.setattr(PgganGenerator, "grow", lambda self, share: (seen.append(share), grown(self, share))[1])
    sizes: list[int] = []
    real = PgganGenerator._real

    def noted(self: PgganGenerator, batch: Batch, rng: torch.Generator) -> dict[str, Tensor]:
        out = real(self, batch, rng)
        sizes.append(out["real"].shape[-1])
        return out

    monkeypatch.setattr(PgganGenerator, "_real", noted)
    record = trained(tmp_path, "private")
    warm_up = [k / 12 for k in range(12)]
    first = seen.index(0.0)
    assert seen[first : first + 1] == [0.0]
    assert [share for share in seen if share < 1.0][-12:] == warm_up
    assert set(seen[-6:]) == {1.0}
    assert {4, 8, 16} <= set(sizes)
    assert sizes[-1] == 16
    assert record["privacy"]["epsilon"] <= 1.0
    assert record["guide"] == {"kind": "trained"}


def test_a_new_scale_starts_the_optimiser_anew_and_goes_on_averaging() -> None:
    module = nn.ModuleDict({"old": nn.Linear(2, 1, bias=False), "new": nn.Linear(2, 1, bias=False)})
    module["new"].requires_grad_(False)
    player = Player("p", module, False, lambda b, r: {}, lambda f, i: torch.zeros(1))
    stepper = Stepper(player, learning_rate=0.1, decay=0.5)

    def step() -> None:
        for p in module.parameters():
            p.grad = torch.ones_like(p) if p.requires_grad else None
        stepper.advance()

    step()
    average = stepper.average["old.weight"].clone()
    assert "new.weight" not in stepper.average
    module["new"].requires_grad_(True)
    stepper.begin_anew()
    assert not any("adam" in name for name in stepper.state())
    assert torch.equal(stepper.average["old.weight"], average)
    assert torch.equal(stepper.average["new.weight"], module["new"].weight)
    step()
    assert {name for name in stepper.state() if "exp_avg/" in name} == {
        "p/adam/exp_avg/old.weight",
        "p/adam/exp_avg/new.weight",
    }


def test_a_layer_that_joins_late_is_forgotten_as_it_was_born() -> None:
    """Its average would else be of random weights for as long as the decay remembers: a thousand steps at 0.999."""
    module = nn.ModuleDict({"old": nn.Linear(1, 1, bias=False), "new": nn.Linear(1, 1, bias=False)})
    module["new"].requires_grad_(False)
    player = Player("p", module, False, lambda b, r: {}, lambda f, i: torch.zeros(1))
    stepper = Stepper(player, learning_rate=0.01, decay=0.999)

    def steps(count: int) -> None:
        for _ in range(count):
            for p in module.parameters():
                p.grad = torch.ones_like(p) if p.requires_grad else None
            stepper.advance()

    steps(200)
    with torch.no_grad():
        module["new"].weight.fill_(100.0)
    module["new"].requires_grad_(True)
    stepper.begin_anew()
    with torch.no_grad():
        module["new"].weight.zero_()
    steps(30)
    assert abs(float(stepper.average["new.weight"])) < 1.0


def test_a_parameter_that_has_not_joined_gets_neither_step_nor_noise(tmp_path: Path) -> None:
    archive, spec = Archive(), Spec(resolution=16, classes=2, segments=1)
    generator = PgganGenerator(spec, policy("pggan", "private").generator)  # type: ignore[arg-type]
    generator.grow(0.0)
    steppers = {p.name: Stepper(p, learning_rate=0.1, decay=0.5, private=True) for p in generator.players()}
    together = ("critic", "guide")
    plan = PrivacyPlan(
        target_epsilon=8.0,
        epsilon=8.0,
        delta=1e-5,
        releases=(GaussianRelease(Mechanism("gradient_steps", 1.0, 0.5, 2), 1.0),),
        expected_patients=24,
        images_per_visit=1,
        noise_draws=1,
        step_groups={"gradient_steps": together},
    )
    account = Account(tmp_path / "account.jsonl", plan, "r" * 64, resume=False)
    patients = TrainingPatients(archive, archive.patients, 1)
    gradient = private_gradient(patients, spec, account, OsNoise(), seed=0, batch=4)
    parameters = dict(generator.critic.named_parameters(prefix="critic"))
    parameters |= dict(generator.painter.named_parameters(prefix="generator"))
    before = {name: p.detach().clone() for name, p in parameters.items()}
    joined = ("critic.last", "critic.dense", "critic.score", "critic.ends.0")
    joined += ("generator.start", "generator.first", "generator.ends.0")
    for names in (together, ("generator",)):
        step_together(tuple(steppers[name] for name in names), gradient, 0)
    for stepper in steppers.values():
        stepper.take_average()
    assert {m.name: m.steps for m in account.mechanisms()} == {"gradient_steps": 1}
    moved = {name for name, p in parameters.items() if not torch.equal(p, before[name])}
    assert moved == {name for name in parameters if name.startswith(joined)}
    assert len(moved) < len(parameters)


def test_a_critic_keeps_its_last_weights_and_others_their_average() -> None:
    module = nn.Linear(1, 1, bias=False)
    for averaged in (True, False):
        player = Player("p", module, False, lambda b, r: {}, lambda f, i: torch.zeros(1), averaged=averaged)
        stepper = Stepper(player, learning_rate=0.1, decay=0.5)
        stepper.average["weight"] += 1.0
        wanted = stepper.average["weight"].clone() if averaged else module.weight.detach().clone()
        stepper.take_average()
        assert torch.equal(module.weight, wanted)


def test_a_player_may_be_stepped_in_every_few_steps_unless_it_sees_real_images() -> None:
    module = nn.Linear(1, 1)
    rare = Player("g", module, False, lambda b, r: {}, lambda f, i: torch.zeros(1), every=3)
    assert [due((rare,), step) for step in range(6)] == [False, False, True, False, False, True]
    slow = Player("g", module, False, lambda b, r: {}, lambda f, i: torch.zeros(1), every_private=2)
    assert [due((slow,), step, private=True) for step in range(4)] == [False, True, False, True]
    assert all(due((slow,), step) for step in range(4))
    with pytest.raises(ValueError, match="every 2 steps"):
        Player("d", module, True, lambda b, r: {}, lambda f, i: torch.zeros(1), every=2)


def test_calibration_patients_are_seen_by_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: set[float] = set()
    apart: set[float] = set()
    real, calibrate = PgganGenerator._real, PgganGenerator.calibrate

    def fingerprints(batch: Batch) -> set[float]:
        return {float(image.double().sum()) for image in batch.images}

    def noted(self: PgganGenerator, batch: Batch, rng: torch.Generator) -> dict[str, Tensor]:
        seen.update(fingerprints(batch))
        return real(self, batch, rng)

    def kept(self: PgganGenerator, batches: Any) -> None:
        own = list(batches)
        for batch in own:
            apart.update(fingerprints(batch))
        calibrate(self, own)

    monkeypatch.setattr(PgganGenerator, "_real", noted)
    monkeypatch.setattr(PgganGenerator, "calibrate", kept)
    trained(tmp_path, "none")
    assert len(apart) == 4  # two of 24 patients, two images each
    assert len(seen) > 20
    assert not seen & apart

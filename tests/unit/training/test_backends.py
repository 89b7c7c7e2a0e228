"""Every way of computing gradients trains; one that cannot is replaced, and the operator is told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from discs_archive import Archive, policy
from test_players import SPEC, Adversaries
from torch import Tensor, nn

from synthrelease.errors import PolicyError
from synthrelease.generators.protocol import Batch, Generator, Player
from synthrelease.generators.registry import build
from synthrelease.policy.schema import Policy
from synthrelease.privacy.clipping import BACKENDS, Backend, trained
from synthrelease.privacy.noise import OsNoise
from synthrelease.records.ledger import Ledger
from synthrelease.records.progress import Silent
from synthrelease.training import planning
from synthrelease.training import train as train_stage
from synthrelease.training.backends import TRIAL_ROWS, backend_for
from synthrelease.training.loop import no_images
from synthrelease.training.train import train_with


class Told(Silent):
    """Keeps what the operator is told."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        """One sentence."""
        self.notes.append(text)


def trained_run(
    folder: Path,
    progress: Any = None,
    noise: Any = None,
    *,
    rules: Policy | None = None,
    resume: bool = False,
    **privacy: Any,
) -> dict[str, Any]:
    """A private run on the discs."""
    archive = Archive()
    return train_with(
        rules or policy("diffusion", "private", **privacy),
        archive,
        archive.patients,
        "cohort",
        folder / "run",
        ledger=Ledger(folder / "discs.jsonl"),
        resume=resume,
        progress=progress or Silent(),
        stop_after=None,
        noise=noise or OsNoise(),
    )


@pytest.mark.parametrize("backend", ["fast", "vmap", "opacus"])
def test_a_run_keeps_its_claim_with_every_backend(backend: str, tmp_path: Path) -> None:
    told = Told()
    record = trained_run(tmp_path, told, backend=backend)
    assert record["privacy"]["epsilon"] <= 1.0
    assert record["privacy"]["backend"] == backend
    assert not told.notes


def test_backends_step_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the noise off and everybody drawn, the sums that reach the mechanism are equal but for rounding."""
    from synthrelease.privacy import mechanism

    class Same(OsNoise):
        def bernoulli(self, size: int, probability: float) -> np.ndarray:
            return np.ones(size, dtype=bool)

        def entropy(self) -> int:
            return 5

    sums: dict[str, list[np.ndarray]] = {}
    for backend in ("fast", "vmap", "opacus"):
        own = sums.setdefault(backend, [])

        def silent(total: np.ndarray, *, own: list[np.ndarray] = own, **_: Any) -> np.ndarray:
            own.append(total.copy())
            return total

        monkeypatch.setattr(mechanism, "add_noise", silent)
        trained_run(tmp_path / backend, noise=Same(), backend=backend)
    for backend in ("vmap", "opacus"):
        assert len(sums[backend]) == len(sums["fast"]) == 3 + 6
        for ours, theirs in zip(sums["fast"][:4], sums[backend][:4], strict=True):
            assert np.linalg.norm(ours - theirs) <= 1e-4 * np.linalg.norm(theirs)


class Scaled(nn.Module):
    """The denoiser with a parameter of its own."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.inner = module
        self.gain = nn.Parameter(torch.ones(1))

    def forward(self, *args: Tensor) -> Tensor:
        """As the denoiser."""
        return torch.as_tensor(self.inner(*args) * self.gain)


def test_a_network_beyond_the_fast_way_is_trained_patient_by_patient_and_the_operator_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def scaled(settings: Any, spec: Any) -> Generator:
        generator = build(settings, spec)
        player = generator.players()[0]
        changed = replace(player, module=Scaled(player.module))
        monkeypatch.setattr(generator, "players", lambda: (changed,))
        return generator

    monkeypatch.setattr(train_stage, "build", scaled)
    told = Told()
    trained_run(tmp_path, told)
    assert any("patient by patient" in note and "parameters of its own" in note for note in told.notes)


def wasserstein(backend: Backend) -> Policy:
    """A critic whose loss on a patient's images holds a gradient with respect to pictures."""
    return policy("pggan", "private", {"loss": "wgan_gp", "penalty_weight": 10.0}, backend=backend)


def critic_of(rules: Policy) -> tuple[Player, dict[str, Tensor]]:
    """The critic at full size, moved away from its start, and public inputs of three patients with two rows each."""
    spec, rng = planning.spec_of(rules), torch.Generator().manual_seed(0)
    generator = build(rules.generator, spec)
    generator.grow(1.0)  # type: ignore[attr-defined]
    critic = next(player for player in generator.players() if player.name == "critic")
    with torch.no_grad():
        for parameter in critic.module.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=rng))
    return critic, dict(critic.draw(no_images(spec, TRIAL_ROWS, rng), rng))


def test_opacus_is_refused_for_a_gradient_penalty_before_anything_is_charged(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match=r"privacy\.backend: opacus .* this generator's critic: it cannot be") as told:
        trained_run(tmp_path, rules=wasserstein("opacus"))
    assert "Choose privacy.backend: fast" in str(told.value.fix)
    assert not Ledger(tmp_path / "discs.jsonl").path.exists()


@pytest.mark.parametrize("backend", ["fast", "vmap"])
def test_a_gradient_penalty_is_trained_patient_by_patient(backend: Backend, tmp_path: Path) -> None:
    told = Told()
    record = trained_run(tmp_path, told, rules=wasserstein(backend))
    assert record["privacy"]["epsilon"] <= 1.0
    assert [note.split(" are")[0] for note in told.notes] == ["gradients of critic"] * (backend == "fast")


def test_a_gradient_penaltys_gradients_are_those_of_patients_taken_apart() -> None:
    critic, inputs = critic_of(wasserstein("fast"))
    backend, why = backend_for(critic, inputs, "fast")
    assert (backend, why is None) == ("vmap", False)
    by_patient = {name: value.reshape(3, 2, *value.shape[1:]) for name, value in inputs.items()}
    found = BACKENDS[backend](critic.module, critic.loss, by_patient)
    for patient in range(3):
        loss = critic.loss(critic.module, {name: value[patient] for name, value in by_patient.items()}).mean()
        apart = torch.autograd.grad(
            loss, list(trained(critic.module).values()), allow_unused=True, materialize_grads=True
        )
        one = torch.eye(3, dtype=torch.float64)[patient]
        expected = torch.cat([part.flatten() for part in apart]).to(torch.float64)
        torch.testing.assert_close(found.weighted_sum(one), expected, rtol=0, atol=1e-5 * float(expected.abs().max()))
        torch.testing.assert_close(found.squared_norms[patient], expected.square().sum(), rtol=1e-5, atol=0)


@pytest.mark.parametrize("backend", ["vmap", "opacus"])
def test_a_backend_that_was_asked_for_and_gives_other_gradients_is_refused(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = BACKENDS["vmap"]
    monkeypatch.setitem(BACKENDS, backend, lambda module, loss, own: right(module, lambda f, x: 1.1 * loss(f, x), own))
    with pytest.raises(PolicyError, match="differ from those of patients taken apart"):
        backend_for(*critic_of(wasserstein(backend)), backend)


def test_where_no_backend_gives_the_gradients_of_patients_the_network_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    critic, inputs = critic_of(wasserstein("fast"))
    monkeypatch.setitem(BACKENDS, "vmap", BACKENDS["opacus"])
    with pytest.raises(PolicyError, match=r"privacy\.backend: vmap does not give") as told:
        backend_for(critic, inputs, "fast")
    assert "another loss" in str(told.value.fix)


class Gan:
    """Adversaries as a generator."""

    def __init__(self) -> None:
        self.networks = Adversaries()
        self.spec = SPEC

    def players(self) -> tuple[Player, ...]:
        """Three."""
        return self.networks.players()

    def sample(self, labels: Tensor, rng: torch.Generator) -> Batch:
        """Not needed."""
        raise NotImplementedError

    def state(self) -> dict[str, Tensor]:
        """The generator's weights."""
        return {n: t.detach() for n, t in self.networks.generator.state_dict().items()}


@pytest.mark.parametrize("clipping", ["joint", "separate"])
def test_a_generator_with_several_players_is_planned_paid_and_resumed(
    clipping: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "players_on_real_images", lambda settings: ("critic", "encoder"))
    monkeypatch.setattr(train_stage, "build", lambda settings, spec: Gan())
    names = {"joint": ["gradient_steps"], "separate": ["gradient_steps.critic", "gradient_steps.encoder"]}[clipping]

    class Dies(OsNoise):
        """Fails while the last group's noise of the third step is drawn: the first group's is on the account already."""

        calls = 0

        def normal(self, size: int) -> np.ndarray:
            Dies.calls += 1
            if Dies.calls == 3 + 3 * len(names):
                raise KeyboardInterrupt
            return super().normal(size)

    shares = {"critic": 3.0, "encoder": 1.0} if clipping == "separate" else None
    with pytest.raises(KeyboardInterrupt):
        trained_run(tmp_path, noise=Dies(), clipping=clipping, player_shares=shares)
    record = trained_run(tmp_path, resume=True, clipping=clipping, player_shares=shares)
    steps = {m["name"]: m["steps"] for m in record["privacy"]["mechanisms"] if m["name"].startswith("gradient")}
    assert steps == dict.fromkeys(names, 6)
    assert 0.95 < record["privacy"]["epsilon"] <= 1.0
    if clipping == "separate":
        noise = {m["name"]: m["noise_multiplier"] for m in record["privacy"]["mechanisms"]}
        assert noise["gradient_steps.critic"] < noise["gradient_steps.encoder"]

"""The audit of the mechanism: silent on correct code, loud on broken code, all of it through the code that trains."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from discs_archive import policy
from torch import nn

from synthrelease.errors import PolicyError, UnsuitableData
from synthrelease.generators.protocol import Player
from synthrelease.policy.schema import Policy
from synthrelease.privacy.accounting import Mechanism
from synthrelease.privacy.empirical.bounds import LowerBound, Method
from synthrelease.privacy.noise import OsNoise
from synthrelease.privacy.plan import GaussianRelease
from synthrelease.records.progress import Silent
from synthrelease.training import canary_dirac
from synthrelease.training.canary_audit import (
    DIRAC,
    IMAGE,
    Finding,
    MechanismAudit,
    audit_dirac,
    audit_images,
    audit_mechanism,
    claimed_plan,
    highest,
)
from synthrelease.training.canary_dirac import Parts, dirac_outcomes

Array = npt.NDArray[np.float64]

QUIET = Silent()


def rules(generator: str, **privacy: Any) -> Policy:
    """Epsilon 8 on discs, with steps that take no time."""
    return policy(
        generator, "private", **{"epsilon": 8.0, "noise_draws": 1, "images_per_visit": 1, "steps": 5, **privacy}
    )


@pytest.fixture(autouse=True)
def _repeatable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Coins and noise repeat, so that no run of these tests fails by chance."""
    monkeypatch.setattr(os, "urandom", np.random.default_rng(20).bytes)


class Scaled(OsNoise):
    """The noise times a factor."""

    def __init__(self, factor: float) -> None:
        self._factor = factor

    def normal(self, size: int) -> Array:
        """(size,) normals of that deviation."""
        return self._factor * super().normal(size)


@pytest.mark.parametrize("backend", ["fast", "vmap"])
def test_without_noise_each_canary_leaves_exactly_its_clip_norm_wherever_it_was_drawn(backend: str) -> None:
    settings = rules("diffusion", backend=backend)
    plan = claimed_plan(settings)
    included = np.arange(24) % 2 == 0
    outcomes = dirac_outcomes(settings, plan, included, Parts(noise=Scaled(0.0)), QUIET)
    assert set(outcomes) == {m.name for m in plan.mechanisms}
    for m in plan.mechanisms:
        found = outcomes[m.name]
        assert found.shape == (m.steps, 24)
        assert np.allclose(found[:, ~included], 0, atol=1e-6)
        if m.sampling_probability == 1:
            assert np.allclose(found[:, included], 1, atol=1e-6)
        else:
            taken = found[:, included]
            assert np.all(np.isclose(taken, 0, atol=1e-6) | np.isclose(taken, 1, atol=1e-4))
            assert 0.2 < taken.mean() < 0.8  # q is one half


@pytest.mark.parametrize("group", [{"gradient_steps": ("one", "two")}, {"steps.one": ("one",), "steps.two": ("two",)}])
def test_networks_clipped_together_are_read_along_the_canarys_direction(
    group: dict[str, tuple[str, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def player(name: str) -> Player:
        return Player(
            name=name,
            module=nn.Linear(1, 1),
            sees_real=True,
            draw=lambda batch, rng: {"x": batch.images.mean(dim=(2, 3))},
            loss=lambda forward, inputs: forward(inputs["x"])[:, 0],
        )

    class Two:
        def players(self) -> tuple[Player, ...]:
            return (player("one"), player("two"))

    monkeypatch.setattr(canary_dirac, "build", lambda settings, spec: Two())
    settings = rules("diffusion")
    plan = claimed_plan(settings)
    kept = [r for r in plan.releases if r.mechanism.name not in plan.step_groups]
    steps = [GaussianRelease(Mechanism(name, 1.0, 0.5, 4), 0.3) for name in group]
    plan = replace(plan, releases=(*kept, *steps), step_groups=group)
    included = np.arange(20) % 2 == 0
    outcomes = dirac_outcomes(settings, plan, included, Parts(noise=Scaled(0.0)), QUIET)
    for name in group:
        assert set(np.round(outcomes[name][:, included], 3).ravel()) == {0.0, 1.0}
        assert not np.round(outcomes[name][:, ~included], 6).any()


@pytest.mark.parametrize("generator", ["moments", "diffusion"])
def test_correct_code_stays_below_its_claim(generator: str) -> None:
    settings = rules(generator)
    plan = claimed_plan(settings)
    findings = audit_dirac(settings, plan, 200, QUIET)
    assert {f.bound.method for f in findings} == set(Method)
    assert not any(f.above for f in findings)
    assert highest(findings, Method.GAUSSIAN) > 1


@pytest.mark.parametrize("factor", [0.0, 0.5])
def test_noise_that_is_off_or_halved_is_found(factor: float) -> None:
    settings = rules("moments")
    plan = claimed_plan(settings)
    findings = audit_dirac(settings, plan, 400, QUIET, Parts(noise=Scaled(factor)))
    assert highest(findings, Method.GAUSSIAN) > plan.epsilon


def test_noise_that_is_off_in_training_steps_alone_is_found() -> None:
    class OnlySums(OsNoise):
        calls = 0

        def normal(self, size: int) -> Array:
            self.calls += 1
            return super().normal(size) if self.calls <= 3 else np.zeros(size)

    settings = rules("diffusion", steps=10)
    plan = claimed_plan(settings)
    assert any(f.above for f in audit_dirac(settings, plan, 200, QUIET, Parts(noise=OnlySums())))


def test_a_network_that_mixes_patients_is_refused_before_a_canary_is_drawn() -> None:
    def mixing(player: Player, classes: int, canaries: int, clip_norm: float) -> Player:
        probed = canary_dirac.with_probe(player, classes, canaries, clip_norm)
        return replace(probed, loss=lambda forward, inputs: (own := probed.loss(forward, inputs)) - own.mean())

    settings = rules("diffusion")
    with pytest.raises(PolicyError, match="cannot be trained privately"):
        audit_dirac(settings, claimed_plan(settings), 20, QUIET, Parts(probed=mixing))


def test_a_release_that_no_canary_goes_through_is_refused_rather_than_left_out() -> None:
    settings = rules("moments")
    plan = claimed_plan(settings)
    further = GaussianRelease(Mechanism("intensities", 10.0), 1.0)
    plan = replace(plan, releases=(*plan.releases, further))
    with pytest.raises(PolicyError, match="does not know the release intensities"):
        audit_dirac(settings, plan, 50, QUIET)


def test_a_policy_without_a_claim_cannot_be_audited() -> None:
    with pytest.raises(PolicyError, match="nothing to audit"):
        audit_mechanism(policy("moments", "none"), canaries=100, image_canaries=0, progress=QUIET)


def test_too_few_canaries_are_refused() -> None:
    settings = rules("moments")
    with pytest.raises(UnsuitableData, match="canaries tell nothing"):
        audit_dirac(settings, claimed_plan(settings), 19, QUIET)


@pytest.mark.parametrize("generator", ["moments", "diffusion"])
def test_image_canaries_go_through_a_whole_training_and_get_no_gaussian_bound(generator: str) -> None:
    settings = rules(generator)
    findings = audit_images(settings, claimed_plan(settings), 30, QUIET)
    assert [f.bound.method for f in findings] == [Method.ONE_RUN, Method.FDP_ONE_RUN]
    assert {f.kind for f in findings} == {IMAGE}
    assert not any(f.above for f in findings)


def test_an_audit_asks_for_no_cohort_and_leaves_nothing_behind(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = rules("moments")
    settings = settings.model_copy(update={"cohort": settings.cohort.model_copy(update={"source": "/nowhere"})})
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    audit = audit_mechanism(settings, canaries=50, image_canaries=20, progress=QUIET)
    assert {f.kind for f in audit.findings} == {DIRAC, IMAGE}
    assert audit.expected > 0
    assert list(tmp_path.iterdir()) == []
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_record_says_for_each_bound_whether_it_is_above_the_claim() -> None:
    def finding(epsilon: float) -> Finding:
        return Finding(DIRAC, 100, LowerBound(Method.GAUSSIAN, "sum", epsilon, 1.0), 8.0)

    audit = MechanismAudit(8.0, 1e-5, (finding(3.0), finding(9.0)), expected=5.0)
    record = audit.to_json()
    assert audit.above
    assert record["verdict"] == "above the claim"
    assert [f["verdict"] for f in record["findings"]] == ["below the claim", "above the claim"]
    assert record["highest"] == {"one-run": 0.0, "f-DP one-run": 0.0, "Gaussian": 9.0}


def test_coins_are_fresh_in_every_audit(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bytes] = []
    known: Callable[..., dict[str, Array]] = canary_dirac.dirac_outcomes

    def spying(settings: Policy, plan: Any, included: Any, *rest: Any) -> dict[str, Array]:
        seen.append(included.tobytes())
        return known(settings, plan, included, *rest)

    monkeypatch.setattr("synthrelease.training.canary_audit.dirac_outcomes", spying)
    settings = rules("moments")
    plan = claimed_plan(settings)
    for _ in range(2):
        audit_dirac(settings, plan, 64, QUIET)
    assert seen[0] != seen[1]

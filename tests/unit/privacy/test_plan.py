"""The plan: one frozen value that couples sampling, clipping, noise and accounting."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from synthrelease.errors import PolicyError
from synthrelease.policy.delta import largest_delta
from synthrelease.policy.schema import Privacy
from synthrelease.privacy.accounting import Mechanism, epsilon_of
from synthrelease.privacy.names import GRADIENT_STEPS
from synthrelease.privacy.plan import GaussianRelease, PrivacyPlan, Query, plan_privacy

QUERIES = {"class_sums": Query(3.0, 1.0)}
TWO = ("critic", "guide")


def privacy(**changes: Any) -> Privacy:
    values = {
        "mode": "private",
        "epsilon": 4.0,
        "delta": 1e-4,
        "expected_patients": 100,
        "moments_share": 0.5,
        "sampling_probability": 1.0,
        "steps": 10,
    }
    return Privacy.model_validate(values | changes)


def test_one_network_is_one_release_beside_the_queries() -> None:
    plan = plan_privacy(privacy(sampling_probability=0.2), QUERIES, players=("denoiser",))
    assert [m.name for m in plan.mechanisms] == ["class_sums", GRADIENT_STEPS]
    assert plan.step_groups == {GRADIENT_STEPS: ("denoiser",)}
    assert plan.group_of("denoiser") == GRADIENT_STEPS
    assert plan.steps == 10
    assert plan.normaliser == pytest.approx(20)
    assert plan.epsilon == epsilon_of(plan.mechanisms, 1e-4) <= 4.0


def test_networks_clipped_jointly_are_one_release_and_cost_what_one_costs() -> None:
    alone = plan_privacy(privacy(), QUERIES, players=("critic",))
    both = plan_privacy(privacy(), QUERIES, players=TWO)
    assert both.mechanisms == alone.mechanisms
    assert both.step_groups == {GRADIENT_STEPS: TWO}
    assert both.digest != alone.digest


def test_networks_clipped_separately_have_a_release_each_with_equal_shares() -> None:
    plan = plan_privacy(privacy(clipping="separate"), QUERIES, players=TWO)
    assert plan.step_groups == {"gradient_steps.critic": ("critic",), "gradient_steps.guide": ("guide",)}
    critic, guide = plan.stepped
    assert replace(critic, name="") == replace(guide, name="")
    assert [r.clip_norm for r in plan.releases] == [3.0, 1.0, 1.0]
    assert plan.steps == 10
    assert plan.normaliser == pytest.approx(100)
    assert 3.99 <= plan.epsilon <= 4.0


def test_declared_shares_decide_who_gets_less_noise() -> None:
    chosen = privacy(clipping="separate", player_shares={"critic": 0.8, "guide": 0.2})
    critic, guide = plan_privacy(chosen, QUERIES, players=TWO).stepped
    assert (guide.noise_multiplier / critic.noise_multiplier) ** 2 == pytest.approx(4)


@pytest.mark.parametrize("shares", [{"critic": 1.0}, {"critic": 0.5, "encoder": 0.5}])
def test_shares_of_other_networks_are_refused(shares: dict[str, float]) -> None:
    with pytest.raises(PolicyError, match="critic, guide"):
        plan_privacy(privacy(clipping="separate", player_shares=shares), QUERIES, players=TWO)


def test_one_network_separately_is_one_network() -> None:
    plan = plan_privacy(privacy(clipping="separate"), QUERIES, players=("denoiser",))
    assert plan.step_groups == {GRADIENT_STEPS: ("denoiser",)}


@pytest.mark.parametrize(("changes", "players"), [({}, ()), ({"steps": 0, "moments_share": 1.0}, ("denoiser",))])
def test_a_closed_form_has_no_steps_and_spends_all_on_its_queries(
    changes: dict[str, Any], players: tuple[str, ...]
) -> None:
    plan = plan_privacy(privacy(**changes), QUERIES, players=players)
    assert plan.step_groups == {}
    assert plan.steps == 0
    assert 3.99 <= plan.epsilon <= 4.0
    with pytest.raises(ValueError, match="no normaliser"):
        assert plan.normaliser
    with pytest.raises(KeyError, match="denoiser"):
        plan.group_of("denoiser")


def test_the_plan_names_groups_and_engine_in_its_json() -> None:
    plan = plan_privacy(privacy(clipping="separate", backend="vmap"), QUERIES, players=TWO)
    value = plan.to_json()
    assert value["step_groups"] == {"gradient_steps.critic": ["critic"], "gradient_steps.guide": ["guide"]}
    assert value["backend"] == plan.backend == "vmap"


def plan_with(groups: dict[str, tuple[str, ...]], *mechanisms: Mechanism) -> PrivacyPlan:
    return PrivacyPlan(
        target_epsilon=1.0,
        epsilon=1.0,
        delta=1e-5,
        releases=tuple(GaussianRelease(m, 1.0) for m in mechanisms),
        expected_patients=100,
        images_per_visit=1,
        noise_draws=1,
        step_groups=groups,
    )


@pytest.mark.parametrize(
    ("groups", "mechanisms"),
    [
        ({"a": ("x",)}, (Mechanism("a", 1.0), Mechanism("a", 2.0))),
        ({"a": ("x",), "b": ("x",)}, (Mechanism("a", 1.0), Mechanism("b", 1.0))),
        ({"a": ()}, (Mechanism("a", 1.0),)),
        ({"a": ("x",), "b": ("y",)}, (Mechanism("a", 1.0, 0.1, 5), Mechanism("b", 1.0, 0.1, 6))),
        ({"a": ("x",), "b": ("y",)}, (Mechanism("a", 1.0, 0.1, 5), Mechanism("b", 1.0, 0.2, 5))),
    ],
    ids=["one name twice", "one player twice", "nobody", "unequal steps", "unequal sampling"],
)
def test_a_plan_that_contradicts_itself_cannot_be_built(
    groups: dict[str, tuple[str, ...]], mechanisms: tuple[Mechanism, ...]
) -> None:
    with pytest.raises(ValueError, match=r"two releases|exactly one group|differ"):
        plan_with(groups, *mechanisms)


def test_steps_without_a_release_cannot_be_planned() -> None:
    with pytest.raises(KeyError, match="no release b"):
        plan_with({"b": ("x",)}, Mechanism("a", 1.0))


def test_delta_has_one_bound_in_policy_and_plan() -> None:
    assert largest_delta(100) == 1e-3
    assert plan_privacy(privacy(delta=1e-3), QUERIES, players=()).delta == 1e-3
    with pytest.raises(PolicyError, match="too large") as refusal:
        plan_privacy(privacy(delta=1.1e-3), QUERIES, players=())
    assert "1.0e-03" in refusal.value.fix


@pytest.mark.parametrize("missing", ["epsilon", "delta", "expected_patients"])
def test_a_claim_without_its_constants_is_not_planned(missing: str) -> None:
    with pytest.raises(PolicyError, match=missing):
        plan_privacy(privacy(**{missing: None}), QUERIES, players=())

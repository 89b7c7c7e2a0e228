"""What must hold of any composition of mechanisms, whatever their noise: tried on drawn ones."""

from __future__ import annotations

from dataclasses import replace
from math import hypot, inf

import dp_accounting
import pytest
from dp_accounting.pld import PLDAccountant
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from synthrelease.privacy.accounting import COARSE, Mechanism, epsilon_of, event_of
from synthrelease.privacy.renyi import rdp_epsilon

FEW = settings(max_examples=12, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
SLACK = 5e-3
"""Of epsilon: several grid cells of 1e-3, since the estimate is rounded up on the grid."""

NOISE = st.floats(0.8, 8.0)
CHANCE = st.floats(0.01, 0.9)
STEPS = st.integers(1, 150)
DELTA = st.sampled_from([1e-6, 1e-5, 1e-4])

SAMPLED = st.builds(Mechanism, st.just("steps"), NOISE, CHANCE, STEPS)
FULL = st.builds(Mechanism, st.just("sum"), NOISE, st.just(1.0), st.integers(1, 4))
ANY = st.one_of(SAMPLED, FULL)


def cost(*mechanisms: Mechanism, delta: float) -> float:
    return epsilon_of(mechanisms, delta, COARSE)


def by_reference(*mechanisms: Mechanism, delta: float, relation: dp_accounting.NeighboringRelation) -> float:
    """Epsilon by the accountant of dp-accounting, which groups and merges nothing."""
    accountant = PLDAccountant(relation, value_discretization_interval=COARSE)
    accountant.compose(event_of(mechanisms))
    return float(accountant.get_epsilon(delta))


ADD_OR_REMOVE = dp_accounting.NeighboringRelation.ADD_OR_REMOVE_ONE
REPLACE = dp_accounting.NeighboringRelation.REPLACE_ONE


@FEW
@given(a=ANY, b=ANY, c=ANY, delta=DELTA)
@example(
    a=Mechanism("sum", 6.0), b=Mechanism("sum", 1.0078125), c=Mechanism("sum", 1.6), delta=1e-6
)  # sums of these differ by order in the last bit
def test_the_order_of_mechanisms_does_not_matter(a: Mechanism, b: Mechanism, c: Mechanism, delta: float) -> None:
    assert cost(a, b, c, delta=delta) == cost(c, a, b, delta=delta) == cost(b, c, a, delta=delta)


@FEW
@given(a=ANY, b=ANY, delta=DELTA)
def test_what_is_composed_costs_what_the_reference_says_in_any_order(a: Mechanism, b: Mechanism, delta: float) -> None:
    found = cost(a, b, delta=delta)
    assert found == pytest.approx(by_reference(a, b, delta=delta, relation=ADD_OR_REMOVE), abs=SLACK)
    assert found == pytest.approx(by_reference(b, a, delta=delta, relation=ADD_OR_REMOVE), abs=SLACK)


@FEW
@given(a=ANY, b=ANY, delta=DELTA)
def test_two_mechanisms_cost_no_less_than_the_larger_and_no_more_than_the_sum(
    a: Mechanism, b: Mechanism, delta: float
) -> None:
    both = cost(a, b, delta=delta)
    assert both >= max(cost(a, delta=delta), cost(b, delta=delta)) - SLACK
    # Basic composition: epsilons add at deltas that add.
    assert both <= cost(a, delta=delta / 2) + cost(b, delta=delta / 2) + SLACK


@FEW
@given(a=SAMPLED, more=STEPS, delta=DELTA)
def test_more_steps_cost_more(a: Mechanism, more: int, delta: float) -> None:
    assert cost(replace(a, steps=a.steps + more), delta=delta) >= cost(a, delta=delta) - SLACK


@FEW
@given(a=SAMPLED, q=CHANCE, delta=DELTA)
def test_drawing_patients_more_often_costs_more(a: Mechanism, q: float, delta: float) -> None:
    rare, often = sorted((a.sampling_probability, q))
    assert cost(replace(a, sampling_probability=often), delta=delta) >= (
        cost(replace(a, sampling_probability=rare), delta=delta) - SLACK
    )
    assert cost(replace(a, sampling_probability=1.0), delta=delta) >= cost(a, delta=delta) - SLACK


@FEW
@given(a=ANY, factor=st.floats(1.05, 3.0), delta=DELTA)
def test_more_noise_costs_less(a: Mechanism, factor: float, delta: float) -> None:
    assert cost(replace(a, noise_multiplier=a.noise_multiplier * factor), delta=delta) <= cost(a, delta=delta)


@FEW
@given(a=ANY, delta=DELTA)
def test_a_smaller_delta_costs_more(a: Mechanism, delta: float) -> None:
    assert cost(a, delta=delta / 10) >= cost(a, delta=delta)


@FEW
@given(one=NOISE, two=NOISE, delta=DELTA)
def test_full_batch_gaussians_merge_exactly(one: float, two: float, delta: float) -> None:
    merged = Mechanism("both", 1 / hypot(1 / one, 1 / two))
    both = cost(Mechanism("one", one), Mechanism("two", two), delta=delta)
    assert both == pytest.approx(cost(merged, delta=delta), abs=1e-9)


@FEW
@given(a=SAMPLED, more=STEPS, delta=DELTA)
def test_a_run_that_is_split_in_two_costs_what_one_run_costs(a: Mechanism, more: int, delta: float) -> None:
    whole = replace(a, steps=a.steps + more)
    assert cost(a, replace(a, name="again", steps=more), delta=delta) == cost(whole, delta=delta)


@FEW
@given(noise=NOISE, steps=st.integers(1, 6), delta=DELTA)
def test_drawing_everybody_is_the_full_batch(noise: float, steps: int, delta: float) -> None:
    sampled = Mechanism("steps", noise, 1.0, steps)
    full = [Mechanism(f"sum {i}", noise) for i in range(steps)]
    assert cost(sampled, delta=delta) == pytest.approx(cost(*full, delta=delta), abs=1e-9)
    nearly = replace(sampled, sampling_probability=1 - 1e-9)
    assert cost(nearly, delta=delta) == pytest.approx(cost(sampled, delta=delta), abs=SLACK)


@FEW
@given(a=ANY, delta=DELTA)
def test_nothing_costs_nothing_and_changes_nothing(a: Mechanism, delta: float) -> None:
    assert cost(delta=delta) == 0
    assert cost(replace(a, steps=0), delta=delta) == 0
    assert cost(a, replace(a, name="never", noise_multiplier=1.0, steps=0), delta=delta) == cost(a, delta=delta)


@FEW
@given(a=SAMPLED, delta=DELTA)
def test_replacing_a_patient_costs_no_less_than_adding_or_removing_one(a: Mechanism, delta: float) -> None:
    assert by_reference(a, delta=delta, relation=REPLACE) >= cost(a, delta=delta) - SLACK


@settings(FEW, max_examples=5)
@given(a=ANY, b=SAMPLED, delta=DELTA)
def test_the_upper_line_lies_above(a: Mechanism, b: Mechanism, delta: float) -> None:
    assert cost(a, b, delta=delta) <= rdp_epsilon([a, b], delta) < inf


@FEW
@given(a=SAMPLED, other=NOISE, delta=DELTA)
def test_networks_that_share_their_draws_would_cost_more_than_is_accounted_for_separate_draws(
    a: Mechanism, other: float, delta: float
) -> None:
    """Why each group of steps draws its own patients: with shared draws both noises protect one draw, q is paid once."""
    shared = replace(a, noise_multiplier=1 / hypot(1 / a.noise_multiplier, 1 / other))
    apart = cost(a, replace(a, name="other", noise_multiplier=other), delta=delta)
    assert cost(shared, delta=delta) >= apart - SLACK

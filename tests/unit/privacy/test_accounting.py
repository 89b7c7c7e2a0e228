"""Epsilon is right, and two accountants say so."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest

from synthrelease.privacy.accounting import (
    COARSE,
    FINE,
    Mechanism,
    epsilon_of,
    event_of,
    meter,
)
from synthrelease.privacy.cross_check import prv_epsilon
from synthrelease.privacy.renyi import rdp_epsilon

TABLE = [
    # sigma, q, steps, delta, epsilon by PLD, by Opacus' PRV, by Opacus' RDP, by Opacus' GDP
    (1.0, 0.01, 1000, 1e-5, 1.828, 1.838, 2.101, 1.618),
    (1.0, 0.05, 500, 1e-4, 6.478, 6.488, 7.262, 6.030),
    (0.8, 0.1, 500, 1e-3, 19.848, 19.859, 22.32, 22.09),
    (0.6, 0.02, 2000, 1e-4, 17.438, 17.449, 19.60, 18.28),
    (5.0, 0.25, 2000, 1e-4, 10.382, 10.392, 11.28, 10.363),
    (2.0, 1.0, 20, 1e-5, 11.480, 11.491, 12.30, 12.43),
    (10.0, 0.5, 3000, 1e-3, 11.579, 11.590, 12.77, 11.588),
    (0.5, 0.01, 5000, 1e-5, 28.939, 28.950, 31.97, 34.75),
    (20.0, 0.1, 100_000, 1e-5, 7.519, 7.529, 8.087, 7.517),
]


@pytest.mark.parametrize(("sigma", "q", "steps", "delta", "pld", "prv", "rdp", "gdp"), TABLE)
def test_epsilon_matches_the_published_comparison_of_accountants(
    sigma: float, q: float, steps: int, delta: float, pld: float, prv: float, rdp: float, gdp: float
) -> None:
    del gdp
    ran = [Mechanism("steps", sigma, q, steps)]
    found = epsilon_of(ran, delta, FINE if steps == 100_000 else COARSE)
    assert found == pytest.approx(pld, abs=0.011)
    assert prv_epsilon(ran, delta) == pytest.approx(prv, abs=0.011)
    assert abs(prv_epsilon(ran, delta) - found) <= 0.02
    assert found <= rdp_epsilon(ran, delta) <= rdp + 0.011


@pytest.mark.parametrize("row", [0, 1, 4])
def test_gaussian_dp_by_the_central_limit_reads_below_the_truth_which_is_why_it_is_refused(row: int) -> None:
    from opacus.accountants.analysis.gdp import compute_eps_poisson

    sigma, q, steps, delta, _, _, _, gdp = TABLE[row]
    found = compute_eps_poisson(steps=steps, noise_multiplier=sigma, sample_rate=q, delta=delta)
    assert found == pytest.approx(gdp, abs=0.011)
    assert found < epsilon_of([Mechanism("steps", sigma, q, steps)], delta, COARSE)


def test_the_coarse_grid_never_reads_below_the_fine_one() -> None:
    for sigma, q, steps, delta, *_ in TABLE[4:7]:
        mechanism = [Mechanism("steps", sigma, q, steps)]
        assert epsilon_of(mechanism, delta, COARSE) >= epsilon_of(mechanism, delta, FINE) - 1e-6


def test_epsilon_equals_the_accountant_of_dp_accounting_on_the_exported_event() -> None:
    from dp_accounting.pld import PLDAccountant

    mechanisms = [Mechanism("class_counts", 5.0), Mechanism("class_sums", 3.0), Mechanism("steps", 2.0, 0.1, 100)]
    accountant = PLDAccountant(value_discretization_interval=COARSE)
    accountant.compose(event_of(mechanisms))
    assert epsilon_of(mechanisms, 1e-5, COARSE) == pytest.approx(accountant.get_epsilon(1e-5), abs=5e-3)


def test_two_full_batch_gaussians_are_one_of_less_noise() -> None:
    two = epsilon_of([Mechanism("a", 2.0), Mechanism("b", 2.0)], 1e-5, COARSE)
    assert two == pytest.approx(epsilon_of([Mechanism("c", 2.0 / 2**0.5)], 1e-5, COARSE), abs=1e-9)


def test_the_same_mechanism_in_two_runs_adds_its_steps() -> None:
    once = Mechanism("steps", 2.0, 0.1, 100)
    twice = Mechanism("steps", 2.0, 0.1, 200)
    assert epsilon_of([once, once], 1e-5, COARSE) == epsilon_of([twice], 1e-5, COARSE)


def test_nothing_run_costs_nothing() -> None:
    assert epsilon_of([], 1e-5) == 0.0
    assert epsilon_of([Mechanism("steps", 1.0, 0.1, 0)], 1e-5) == 0.0
    assert prv_epsilon([], 1e-5) == 0.0
    assert rdp_epsilon([Mechanism("steps", 1.0, 0.1, 0)], 1e-5) == 0.0


def test_every_step_counts() -> None:
    values = [epsilon_of([Mechanism("steps", 1.0, 0.2, t)], 1e-5, COARSE) for t in (1, 2, 50, 51)]
    assert values == sorted(values)
    assert len(set(values)) == 4


@pytest.mark.parametrize(
    ("sigma", "q", "steps"),
    [(0.0, 0.1, 1), (-1.0, 0.1, 1), (float("inf"), 0.1, 1), (1.0, 0.0, 1), (1.0, 1.1, 1), (1.0, 0.1, -1)],
)
def test_a_mechanism_that_means_nothing_cannot_be_written_down(sigma: float, q: float, steps: int) -> None:
    with pytest.raises(ValueError, match="steps"):
        Mechanism("steps", sigma, q, steps)


def test_mechanisms_survive_json() -> None:
    mechanism = Mechanism("steps", 1.2345678901234567, 0.1, 300)
    assert Mechanism.from_json(mechanism.to_json()) == mechanism


def test_the_progress_meter_is_an_upper_bound_and_exact_at_the_end() -> None:
    before, stepped = [Mechanism("counts", 4.0)], Mechanism("steps", 1.5, 0.1, 110)
    shown = meter(before, stepped, 1e-5)
    for t in (0, 1, 7, 55, 109):
        exact = epsilon_of([*before, Mechanism("steps", 1.5, 0.1, t)], 1e-5, COARSE)
        assert exact - 1e-9 <= shown.at(t) <= exact + 0.35
    assert shown.at(110) == pytest.approx(epsilon_of([*before, stepped], 1e-5, COARSE), abs=1e-9)
    with pytest.raises(ValueError, match="beyond the plan"):
        shown.at(111)


def test_the_meter_counts_networks_that_are_stepped_together() -> None:
    critic, guide = Mechanism("critic", 1.5, 0.1, 40), Mechanism("guide", 2.5, 0.1, 40)
    shown = meter([Mechanism("counts", 4.0)], [critic, guide], 1e-5)
    both = [Mechanism("counts", 4.0), critic, guide]
    assert shown.at(40) == pytest.approx(epsilon_of(both, 1e-5, COARSE), abs=1e-9)
    half = [replace(critic, steps=20), replace(guide, steps=20), Mechanism("counts", 4.0)]
    assert shown.at(20) == pytest.approx(epsilon_of(half, 1e-5, COARSE), abs=1e-9)
    assert shown.at(40) > meter([Mechanism("counts", 4.0)], critic, 1e-5).at(40)
    with pytest.raises(ValueError, match="stepped together"):
        meter([], [critic, replace(guide, steps=39)], 1e-5)


def test_accounting_and_ledger_need_no_torch() -> None:
    code = (
        "import sys\n"
        "import synthrelease.privacy.accounting, synthrelease.privacy.risk, synthrelease.privacy.plan\n"
        "import synthrelease.privacy.budget, synthrelease.records.ledger\n"
        "sys.exit('torch' in sys.modules or 'opacus' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

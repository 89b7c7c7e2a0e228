"""Epsilon is right, and two accountants say so."""

from __future__ import annotations

import subprocess
import sys

import pytest

from synthrelease.privacy.accounting import (
    COARSE,
    FINE,
    Mechanism,
    epsilon_of,
    event_of,
    meter,
    prv_epsilon,
)

TABLE = [
    # sigma, q, steps, delta, epsilon by PLD; by Opacus' PRV
    (1.0, 0.01, 1000, 1e-5, 1.828, 1.838),
    (1.0, 0.05, 500, 1e-4, 6.478, 6.488),
    (0.8, 0.1, 500, 1e-3, 19.848, 19.859),
    (0.6, 0.02, 2000, 1e-4, 17.438, 17.449),
    (5.0, 0.25, 2000, 1e-4, 10.382, 10.392),
    (2.0, 1.0, 20, 1e-5, 11.480, 11.491),
    (10.0, 0.5, 3000, 1e-3, 11.579, 11.590),
    (0.5, 0.01, 5000, 1e-5, 28.939, 28.950),
    (20.0, 0.1, 100_000, 1e-5, 7.519, 7.529),
]


@pytest.mark.parametrize(("sigma", "q", "steps", "delta", "pld", "prv"), TABLE)
def test_epsilon_matches_the_published_comparison(
    sigma: float, q: float, steps: int, delta: float, pld: float, prv: float
) -> None:
    del prv
    interval = FINE if steps == 100_000 else COARSE
    assert epsilon_of([Mechanism("steps", sigma, q, steps)], delta, interval) == pytest.approx(pld, abs=0.02)


@pytest.mark.parametrize("row", [1, 4, 5, 6])
def test_a_second_accountant_agrees_within_two_hundredths(row: int) -> None:
    sigma, q, steps, delta, pld, prv = TABLE[row]
    second = prv_epsilon([Mechanism("steps", sigma, q, steps)], delta)
    assert second == pytest.approx(prv, abs=0.005)
    assert abs(second - pld) <= 0.02


def test_the_coarse_grid_never_reads_below_the_fine_one() -> None:
    for sigma, q, steps, delta, _, _ in TABLE[4:7]:
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


def test_accounting_and_ledger_need_no_torch() -> None:
    code = (
        "import sys\n"
        "import synthrelease.privacy.accounting, synthrelease.privacy.risk, synthrelease.privacy.plan\n"
        "import synthrelease.privacy.budget, synthrelease.records.ledger\n"
        "sys.exit('torch' in sys.modules or 'opacus' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

"""However many processes ask at once, no more is reserved than the cap allows."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest

from synthrelease.errors import BudgetExceeded
from synthrelease.privacy.accounting import Mechanism, epsilon_of
from synthrelease.privacy.budget import reserve, settle
from synthrelease.privacy.lifetime import standing
from synthrelease.privacy.overlap import Patients
from synthrelease.privacy.plan import GaussianRelease, PrivacyPlan
from synthrelease.records.ledger import Ledger, State

FORK = multiprocessing.get_context("fork")
SUMS = Mechanism("class_sums", 8.0)
PLAN = PrivacyPlan(
    target_epsilon=0.6,
    epsilon=0.5,
    delta=1e-5,
    releases=(GaussianRelease(SUMS, 1.0),),
    expected_patients=100,
    images_per_visit=1,
    noise_draws=1,
)
FITTING = 5
CAP = (epsilon_of([SUMS] * FITTING, 1e-5) + epsilon_of([SUMS] * (FITTING + 1), 1e-5)) / 2


def _ask(path: Path, name: str, gate: object, policy_cap: float | None) -> None:
    """Ask for three runs; settle each that is granted, as it was reserved."""
    gate.wait()  # type: ignore[attr-defined]
    for number in range(3):
        ledger = Ledger(path)
        try:
            charge = reserve(
                ledger,
                PLAN,
                run=f"{name}-{number}",
                policy_digest="p",
                cohort_digest="c",
                who="Operator",
                lifetime_epsilon=policy_cap,
                patients=Patients(("H|1", f"H|{path.stem}{number}")),
            )
        except BudgetExceeded:
            continue
        if number % 2:
            settle(ledger, charge.reservation, PLAN.mechanisms)


@pytest.mark.parametrize("cohorts", [("chest",), ("chest", "lung")])
@pytest.mark.parametrize("who", ["custodian", "policy"])
def test_processes_that_reserve_at_once_never_pass_the_cap(tmp_path: Path, cohorts: tuple[str, ...], who: str) -> None:
    ledgers = [Ledger(tmp_path / f"{name}.jsonl") for name in cohorts]
    if who == "custodian":
        ledgers[0].set_cap(CAP, 1e-5, by="Carl")
    gate = FORK.Barrier(6)
    askers = [
        FORK.Process(
            target=_ask,
            args=(ledgers[i % len(ledgers)].path, f"process{i}", gate, CAP if who == "policy" else None),
        )
        for i in range(6)
    ]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join()
    assert [asker.exitcode for asker in askers] == [0] * 6
    charges = [charge for ledger in ledgers for charge in ledger.charges()]
    assert len(charges) == FITTING
    assert {charge.state for charge in charges} <= {State.RESERVED, State.SPENT}
    for ledger in ledgers:
        ledger.verify()
    assert standing(ledgers[0]).together <= CAP

"""Whatever is reserved, spent and voided in whatever order, the ledger's epsilon is that of what counts, and no more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from synthrelease.errors import BudgetExceeded, IntegrityError
from synthrelease.privacy.accounting import Mechanism, composed_epsilon, epsilon_of
from synthrelease.privacy.budget import reserve, settle
from synthrelease.privacy.lifetime import standing
from synthrelease.privacy.overlap import Patients
from synthrelease.privacy.plan import GaussianRelease, PrivacyPlan
from synthrelease.records import ledger_chain
from synthrelease.records.ledger import Charge, Ledger

DELTA = 1e-5
COHORTS = ("chest", "knee", "lung")
PATIENTS = {"chest": ("H|1", "H|2"), "lung": ("H|2", "|3"), "knee": ("H|9",)}
FEW = settings(
    max_examples=15, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@dataclass(frozen=True)
class Act:
    """Something that happens to a ledger: a run of these mechanisms is reserved, and this becomes of it."""

    cohort: str
    noise: tuple[float, ...]
    steps: tuple[int, ...]
    private: bool
    fate: str
    ran: float


acts = st.builds(
    Act,
    cohort=st.sampled_from(COHORTS),
    noise=st.tuples(*[st.sampled_from((20.0, 45.0, 90.0))] * 2),
    steps=st.tuples(*[st.integers(1, 4)] * 2),
    private=st.sampled_from((True,) * 9 + (False,)),
    fate=st.sampled_from(("crashed", "spent", "spent", "voided")),
    ran=st.sampled_from((0.0, 0.4, 1.0)),
)


@pytest.fixture(autouse=True)
def _no_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Durability is another file's matter."""
    monkeypatch.setattr(ledger_chain.os, "fsync", lambda descriptor: None)


def plan_of(act: Act) -> PrivacyPlan:
    """Full-batch sums, which compose in closed form."""
    mechanisms = [
        Mechanism(f"sums_{i}", noise, 1.0, steps)
        for i, (noise, steps) in enumerate(zip(act.noise, act.steps, strict=True))
    ]
    return PrivacyPlan(9.0, 9.0, DELTA, tuple(GaussianRelease(m, 1.0) for m in mechanisms), 100, 1, 1)


def ran_of(act: Act) -> list[Mechanism]:
    """The part of a plan that was run."""
    found = [Mechanism(m.name, m.noise_multiplier, 1.0, int(m.steps * act.ran)) for m in plan_of(act).mechanisms]
    return [m for m in found if m.steps]


def reserved(folder: Path, act: Act, *, cap: float | None = None) -> Charge:
    return reserve(
        Ledger(folder / f"{act.cohort}.jsonl"),
        plan_of(act) if act.private else None,
        run="run",
        policy_digest="p",
        cohort_digest="c",
        who="Operator",
        lifetime_epsilon=cap,
        patients=Patients(PATIENTS[act.cohort]),
    )


def play(folder: Path, happened: Sequence[Act]) -> None:
    """Let it all happen."""
    for act in happened:
        ledger, charge = Ledger(folder / f"{act.cohort}.jsonl"), reserved(folder, act)
        if act.fate == "spent":
            settle(ledger, charge.reservation, ran_of(act) if act.private else [])
        elif act.fate == "voided":
            ledger.void(charge.reservation, who="Custodian", statement="Destroyed unseen.")


def expected(happened: Sequence[Act], cohorts: Sequence[str]) -> float:
    """Epsilon of the union of what counts."""
    counted = [act for act in happened if act.cohort in cohorts and act.fate != "voided"]
    if not all(act.private for act in counted):
        return inf
    return epsilon_of(
        [m for act in counted for m in (ran_of(act) if act.fate == "spent" else plan_of(act).mechanisms)], DELTA
    )


@FEW
@given(happened=st.lists(acts, max_size=5), order=st.randoms(use_true_random=False))
def test_composed_epsilon_is_that_of_the_union_of_charges_in_any_order(happened: list[Act], order: object) -> None:
    shuffled = list(happened)
    order.shuffle(shuffled)  # type: ignore[attr-defined]
    for sequence in (happened, shuffled):
        with TemporaryDirectory() as name:
            play(Path(name), sequence)
            for cohort in COHORTS:
                ledger = Ledger(Path(name) / f"{cohort}.jsonl")
                assert composed_epsilon(ledger, DELTA) == pytest.approx(expected(happened, [cohort]), rel=1e-9)
                begun = {act.cohort for act in happened}
                around = [cohort, *(o for o in ("chest", "lung") if "knee" != cohort != o and {cohort, o} <= begun)]
                now = standing(ledger, DELTA)
                assert now.epsilon == composed_epsilon(ledger, DELTA)
                assert now.together == pytest.approx(expected(happened, around), rel=1e-9)
                assert set(now.overlapping) == set(around[1:])


@FEW
@given(happened=st.lists(acts, max_size=5), cap=st.sampled_from((0.1, 0.3, 0.6)))
def test_no_sequence_of_runs_passes_the_cap_and_a_refusal_changes_nothing(happened: list[Act], cap: float) -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        for act in happened:
            ledger = Ledger(folder / f"{act.cohort}.jsonl")
            before = ledger.head
            try:
                charge = reserved(folder, act, cap=cap)
            except BudgetExceeded:
                assert ledger.head == before
                continue
            if act.fate == "spent":
                settle(ledger, charge.reservation, ran_of(act) if act.private else [])
        for cohort in COHORTS:
            assert standing(Ledger(folder / f"{cohort}.jsonl"), DELTA).together <= cap


@FEW
@given(act=acts.filter(lambda act: act.private), more=st.lists(st.integers(0, 6), min_size=2, max_size=2))
def test_settling_never_costs_more_than_was_reserved(act: Act, more: list[int]) -> None:
    with TemporaryDirectory() as name:
        ledger, charge = Ledger(Path(name) / f"{act.cohort}.jsonl"), reserved(Path(name), act)
        full = composed_epsilon(ledger, DELTA)
        ran = [
            Mechanism(m.name, m.noise_multiplier, 1.0, steps)
            for m, steps in zip(plan_of(act).mechanisms, more, strict=True)
        ]
        outside = any(steps > planned for steps, planned in zip(more, act.steps, strict=True))
        if outside:
            with pytest.raises(IntegrityError, match="outside its reservation"):
                settle(ledger, charge.reservation, ran)
            assert composed_epsilon(ledger, DELTA) == full
        else:
            settle(ledger, charge.reservation, ran)
            assert composed_epsilon(ledger, DELTA) <= full

"""The lifetime budget of a cohort: reserve before the first look at the data, settle when done."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from math import inf, isinf
from typing import Any

from synthrelease.errors import BudgetExceeded, IntegrityError
from synthrelease.privacy.accounting import ACCOUNTANT, Mechanism, composed_epsilon, epsilon_of
from synthrelease.privacy.plan import PrivacyPlan
from synthrelease.records.ledger import Charge, Event, Ledger


def reserve(
    ledger: Ledger,
    plan: PrivacyPlan | None,
    *,
    run: str,
    policy_digest: str,
    cohort_digest: str,
    who: str,
    lifetime_epsilon: float | None,
    enforce: bool = True,
) -> Charge:
    """Charge a run to its cohort in full, before it starts. Looking and writing are one act under the ledger's lock.

    A run that is resumed goes on under the reservation in its account and does not come here again.

    Args:
        ledger: Of the cohort.
        plan: What the run may use; None for a run without privacy, which is recorded as unbounded.
        run: Name of the run.
        policy_digest: Of the resolved policy.
        cohort_digest: Of the cohort.
        who: The operator.
        lifetime_epsilon: Cap on everything ever charged, at the plan's delta; None = no cap.
        enforce: False for simulated patients: what is over the cap is recorded and warned of, not refused.

    Returns:
        The charge, with the hash that a resumed run needs; its body holds ``over_cap``, a sentence to show, when the
        cap was passed without being enforced.

    Raises:
        BudgetExceeded: The composition of everything charged so far and this plan is over the cap.
        IntegrityError: The ledger is broken.
    """
    body: dict[str, Any] = {
        "policy_digest": policy_digest,
        "cohort_digest": cohort_digest,
        "who": who,
        "unit": "patient",
        "adjacency": "add or remove one patient",
        "accountant": ACCOUNTANT,
        "accountant_version": version("dp-accounting"),
        "unbounded": plan is None,
    }
    with ledger.locked():
        if plan is not None:
            total = composed_epsilon(ledger, plan.delta, further=plan.mechanisms)
            if lifetime_epsilon is not None and total > lifetime_epsilon:
                body["over_cap"] = _over(total, lifetime_epsilon, enforce)
            body |= {
                "delta": plan.delta,
                "epsilon": plan.epsilon,
                "composed_epsilon": None if isinf(total) else total,
                "mechanisms": [m.to_json() for m in plan.mechanisms],
                "plan_digest": plan.digest,
            }
        elif lifetime_epsilon is not None:
            body["over_cap"] = _over(inf, lifetime_epsilon, enforce)
        entry = ledger.append(Event.RESERVED, run, body)
        return ledger.charge_of(entry.hash)


def _over(total: float, cap: float, enforce: bool) -> str:
    spent = "without bound, because of a run without privacy" if isinf(total) else f"{total:.3f}"
    message = f"with this run the cohort's epsilon would be {spent}; its lifetime cap is {cap:g}"
    if enforce:
        raise BudgetExceeded(message, fix="Lower privacy.epsilon, or ask the custodian whether the cap may be raised.")
    return f"{message} (simulated patients: recorded, not refused)"


def settle(ledger: Ledger, reservation: str, mechanisms: Sequence[Mechanism], *, training_digest: str = "") -> None:
    """Turn a reservation into what was run, which is never more than was reserved.

    Raises:
        IntegrityError: More was run than reserved, or the ledger holds no such reservation.
    """
    charge = ledger.charge_of(reservation)
    if not charge.unbounded:
        reserved = {m["name"]: Mechanism.from_json(m) for m in charge.mechanisms}
        for m in mechanisms:
            planned = reserved.get(m.name)
            if (
                planned is None
                or m.steps > planned.steps
                or m.noise_multiplier != planned.noise_multiplier
                or m.sampling_probability != planned.sampling_probability
            ):
                raise IntegrityError(
                    f"the run {charge.run} ran {m.name} outside its reservation",
                    fix="Do not release it; the reservation stays charged in full.",
                )
    epsilon = None if charge.unbounded or charge.delta is None else epsilon_of(mechanisms, charge.delta)
    ledger.spend(
        reservation,
        [m.to_json() for m in mechanisms],
        epsilon=epsilon,
        delta=charge.delta,
        training_digest=training_digest,
    )

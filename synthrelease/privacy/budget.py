"""The lifetime budget of a cohort: reserve before the first look at the data, settle when done."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from math import isinf
from typing import Any

from synthrelease.errors import BudgetExceeded, IntegrityError
from synthrelease.privacy.accounting import ACCOUNTANT, Mechanism, epsilon_of
from synthrelease.privacy.forecast import Forecast, forecast
from synthrelease.privacy.high_water import require_ledgers_of_uses
from synthrelease.privacy.overlap import Patients, digests_of, house_key, note_patients
from synthrelease.privacy.plan import PrivacyPlan
from synthrelease.records.ledger import Charge, Event, Ledger, State


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
    patients: Patients | None = None,
    claim: str = "",
) -> Charge:
    """Charge a run to its cohort in full, before it starts. Looking and writing are one act under the folder's lock.

    A run that is resumed goes on under the reservation in its account and does not come here again. One that died
    after its reservation and before it noted that hash comes with the same ``claim`` and finds its reservation.

    Args:
        ledger: Of the cohort.
        plan: What the run may use; None for a run without privacy, which is recorded as unbounded.
        run: Name of the run.
        policy_digest: Of the resolved policy.
        cohort_digest: Of the cohort.
        who: The operator.
        lifetime_epsilon: The policy's cap on everything ever charged, at the plan's delta; None = only the caps that
            stand in ledgers.
        enforce: False for simulated patients: what is over the policy's cap is recorded and warned of, not refused.
        patients: Everybody whom the run could read; they are noted, and cohorts that share one are composed.
        claim: A random word that the run keeps; empty = always a new reservation.

    Returns:
        The charge, with the hash that a resumed run needs. Its body holds what the caller should be told: ``over_cap``,
        a sentence, when a cap was passed without being enforced; ``overlapping`` and ``overlap_unknown``, names of
        cohorts that share patients, or may.

    Raises:
        BudgetExceeded: The composition of everything charged so far and this plan is over a cap.
        IntegrityError: A ledger, or the patient digests beside it, is broken.
        UnsuitableData: The disk refuses; nothing was charged.
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
        "claim": claim,
    }
    if plan is not None:
        body["plan_digest"] = plan.digest
    with ledger.locked():
        claimed = _claimed(ledger, run, body)
        if claimed is not None:
            return claimed
        require_ledgers_of_uses(ledger.path.parent)
        key = house_key(ledger.path.parent, make=patients is not None and bool(patients.ids))
        arriving = digests_of(patients, key) if patients is not None and key is not None else None
        seen = forecast(ledger, plan, lifetime_epsilon=lifetime_epsilon, enforce=enforce, arriving=arriving)
        if seen.refused:
            raise BudgetExceeded(
                seen.over, fix="Lower privacy.epsilon, or ask the custodian whether the cap may be raised."
            )
        body |= _facts(seen)
        if plan is not None:
            body |= {
                "delta": plan.delta,
                "epsilon": plan.epsilon,
                "mechanisms": [m.to_json() for m in plan.mechanisms],
            }
        if arriving and key is not None:
            # First who, then what: a charge whose patients are not noted could be missed by another cohort.
            note_patients(ledger, arriving, key)
            body["patients_noted"] = True
        entry = ledger.append(Event.RESERVED, run, body)
        return ledger.charge_of(entry.hash)


def _claimed(ledger: Ledger, run: str, body: dict[str, Any]) -> Charge | None:
    """The open reservation that this very run made before it died, on which nothing was drawn yet."""
    if not body["claim"]:
        return None
    same = ("claim", "policy_digest", "cohort_digest", "plan_digest")
    for charge in ledger.charges():
        if (
            charge.state is State.RESERVED
            and charge.run == run
            and all(charge.body.get(name) == body.get(name) for name in same)
        ):
            return charge
    return None


def _facts(seen: Forecast) -> dict[str, Any]:
    """What the entry keeps of the judgement; infinite figures become None."""
    facts: dict[str, Any] = {"composed_epsilon": None if isinf(seen.epsilon) else seen.epsilon}
    if seen.overlapping:
        facts["overlapping"] = list(seen.overlapping)
        facts["composed_with_overlapping"] = None if isinf(seen.together) else seen.together
    if seen.unknown:
        facts["overlap_unknown"] = list(seen.unknown)
    if seen.over:
        facts["over_cap"] = seen.over
    return facts


def settle(ledger: Ledger, reservation: str, mechanisms: Sequence[Mechanism], **facts: str) -> None:
    """Turn a reservation into what was run, which is never more than was reserved.

    Args:
        ledger: Of the cohort.
        reservation: Hash of the ``reserved`` entry.
        mechanisms: What was run.
        facts: Public facts kept in the entry, such as digests.

    Raises:
        IntegrityError: More was run than reserved, or the ledger holds no such reservation, or it was voided.
        UsageError: It was settled before.
    """
    with ledger.locked():
        charge = ledger.charge_of(reservation)
        if not charge.unbounded:
            _require_reserved(charge, mechanisms)
        epsilon = None if charge.unbounded or charge.delta is None else epsilon_of(mechanisms, charge.delta)
        ledger.spend(reservation, [m.to_json() for m in mechanisms], epsilon=epsilon, delta=charge.delta, **facts)


def _require_reserved(charge: Charge, mechanisms: Sequence[Mechanism]) -> None:
    left = {str(m["name"]): Mechanism.from_json(m) for m in charge.reserved}
    for m in mechanisms:
        planned = left.pop(m.name, None)  # each once: what is listed twice would be run twice
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

"""From a run's records to the facts of its statement."""

from __future__ import annotations

from datetime import datetime
from importlib.metadata import version
from math import isinf
from pathlib import Path
from typing import Any

from synthrelease.policy.schema import Policy
from synthrelease.policy.strict import STRICT_RULES, relaxed
from synthrelease.privacy import scope
from synthrelease.privacy.accounting import ACCOUNTANT, Mechanism
from synthrelease.privacy.adjacency import replace_one_epsilon
from synthrelease.privacy.lifetime import composed, shelf
from synthrelease.records.ledger import Charge, Ledger
from synthrelease.release.statement.checking import planned_steps, sound_mechanisms
from synthrelease.release.statement.facts import (
    CrossCheck,
    Guarantee,
    MechanismFact,
    Product,
    Scope,
    Spending,
    Statement,
)
from synthrelease.release.statement.reading import TrainedRun, charge_of, read_trained, released_on


def state(run_folder: Path, ledger: Ledger | None, now: datetime, *, releasing: bool = False) -> Statement:
    """Make the statement of a trained run. Reads records only; a few seconds for the accountant.

    Args:
        run_folder: The run.
        ledger: Of its cohort; None where it is not at hand, which the statement says.
        now: The time, with its zone.
        releasing: The statement goes into a pack that is sealed now; it then tells nothing of other cohorts.

    Raises:
        UsageError: The run was not trained.
        IntegrityError: Records disagree with themselves or each other, or the ledger does not hold the run.
    """
    run = read_trained(run_folder)
    charge = charge_of(run, ledger) if ledger is not None else None
    mechanisms = sound_mechanisms(run, charge)
    today = f"{now:%Y-%m-%d}"
    before = released_on(run, ledger) if ledger is not None else None
    statement = Statement(
        stated_on=today,
        released_on=before or (today if releasing else None),
        product=_product(run),
        guarantee=_guarantee(run, mechanisms, charge) if mechanisms is not None else None,
        spending=_spending(run.policy, ledger) if ledger is not None else None,
        scope=_scope(run),
        digests=run.digests,
        versions={
            "stated_by": f"synthrelease {version('synthrelease')}",
            "trained_by": f"synthrelease {(run.training.get('versions') or {}).get('synthrelease', 'unknown')}",
        },
    )
    return statement.for_others() if releasing else statement


def _product(run: TrainedRun) -> Product:
    policy, cohort = run.policy, run.policy.cohort
    missing = "; where it is missing, the study counts as the patient" if cohort.identity.missing == "study" else ""
    return Product(
        release=policy.release.name,
        run=run.name,
        purpose=" ".join(policy.purpose.split()),
        curator=policy.roles.custodian,
        cohort=cohort.name,
        simulated=cohort.source == "phantom",
        content=f"{cohort.modality} images, {cohort.body_part}, {cohort.resolution} x {cohort.resolution} pixels",
        classes=cohort.classes,
        segments=cohort.segments,
        images=policy.archive.images,
        generator=policy.generator.name,
        identity=f"patients are told apart by Patient ID, together with its issuer where one is given{missing}",
        tier=policy.sharing.tier,
        recipients=tuple(" ".join(recipient.split()) for recipient in policy.sharing.recipients),
        agreement=policy.sharing.agreement,
        contact=policy.release.contact or policy.roles.custodian,
    )


def _guarantee(run: TrainedRun, mechanisms: tuple[Mechanism, ...], charge: Charge | None) -> Guarantee:
    # Here and not above: it loads numpy, which verifying a pack does without.
    from synthrelease.privacy.risk import risk_of, strength

    privacy = run.privacy
    epsilon, delta = float(privacy["epsilon"]), float(privacy["delta"])
    risk = risk_of(mechanisms)
    planned = planned_steps(run, charge)
    clip_norms = privacy.get("clip_norms") or {}
    given_up = set(relaxed(run.policy))
    return Guarantee(
        epsilon=epsilon,
        delta=delta,
        target_epsilon=privacy.get("target_epsilon"),
        unit=str(privacy.get("unit", "patient")),
        adjacency=scope.ADJACENCY,
        replace_one_epsilon=replace_one_epsilon(mechanisms, delta),
        accountant=ACCOUNTANT,
        accountant_version=f"dp-accounting {version('dp-accounting')}",
        cross_check=_cross_check(privacy.get("prv_cross_check"), epsilon),
        mechanisms=tuple(
            MechanismFact(
                name=m.name,
                noise_multiplier=m.noise_multiplier,
                clip_norm=clip_norms.get(m.name),
                sampling_probability=m.sampling_probability,
                steps=m.steps,
                planned_steps=planned.get(m.name),
            )
            for m in mechanisms
        ),
        risk=risk,
        strength=strength(epsilon, risk),
        weakened_by=tuple(
            f"{rule.__name__}: {(rule.__doc__ or '').splitlines()[0]}"
            for rule in STRICT_RULES
            if rule.__name__ in given_up
        ),
    )


def _cross_check(recorded: Any, epsilon: float) -> CrossCheck | None:
    """The recorded figure; whether it agrees is judged here, not taken over."""
    if not isinstance(recorded, dict) or not isinstance(recorded.get("epsilon"), int | float):
        return None
    second = float(recorded["epsilon"])
    return CrossCheck(str(recorded.get("accountant", "PRV")), second, abs(second - epsilon) <= scope.AGREEMENT)


def _spending(policy: Policy, ledger: Ledger) -> Spending:
    seen, cap = shelf(ledger), ledger.cap
    charges = seen.own.charges
    stated = [charge.delta for charge in charges if charge.delta is not None]
    delta = policy.privacy.delta or max(stated, default=1e-5)
    epsilon, together = composed((seen.own,), delta), composed((seen.own, *seen.sharing), delta)
    return Spending(
        runs=len(charges),
        unsettled=sum(not charge.settled for charge in charges),
        delta=delta,
        epsilon=None if isinf(epsilon) else epsilon,
        together=None if isinf(together) else together,
        overlapping=seen.overlapping,
        unknown=seen.unknown,
        cap=(cap.epsilon, cap.delta) if cap is not None else None,
        policy_cap=policy.privacy.lifetime_epsilon,
    )


def _scope(run: TrainedRun) -> Scope:
    return Scope(
        covers=scope.COVERED,
        does_not_cover=tuple(dict.fromkeys([*scope.NOT_COVERED, *(run.privacy.get("does_not_cover") or ())])),
        trust=scope.TRUST,
        sampling=scope.SAMPLING,
        noise=str(run.privacy.get("noise", scope.NOISE)),
        floating_point=str(run.privacy.get("floating_point", scope.FLOATING_POINT)),
        tuning=scope.TUNING,
    )

"""What must be true of a finished run before its epsilon may be printed: plan, account, record and ledger agree.

A policy can be right and its run wrong: a mechanism called outside the plan, a step more than was reserved, a record
of another run. Each rule here compares plain values of the records that a run leaves; none trusts the code that wrote them.
No torch, no accountant: training asks before it settles a run, release asks again before it seals one. What may be in a
folder that leaves the house is asked by :mod:`synthrelease.privacy.export`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from synthrelease.errors import IntegrityError
from synthrelease.privacy.names import names_steps
from synthrelease.records.digests import digest_of
from synthrelease.records.ledger_entry import Charge

Values = Mapping[str, Any]


@dataclass(frozen=True)
class StrictProblem:
    """A rule that a run or a folder breaks; public words only."""

    rule: str
    message: str

    def __str__(self) -> str:
        return f"{self.message} ({self.rule})"


@dataclass(frozen=True)
class Facts:
    """What a run says of itself, from three sides.

    Attributes:
        training: Content of training.json.
        charge: Of the ledger, open or settled; None where it holds none.
        plan: ``PrivacyPlan.to_json()`` where it is at hand; else what the ledger reserved stands for it.
    """

    training: Values
    charge: Charge | None
    plan: Values | None

    @property
    def privacy(self) -> Values:
        """The claim; empty where the record has none."""
        return self.training.get("privacy") or {}

    @property
    def ran(self) -> tuple[Values, ...]:
        """Mechanisms as run."""
        return tuple(self.privacy.get("mechanisms") or ())

    @property
    def planned(self) -> dict[str, Values]:
        """Mechanisms as planned, by name."""
        releases = self.plan["releases"] if self.plan is not None else self.charge.reserved if self.charge else ()
        return {str(m["name"]): m for m in releases}


Rule = Callable[[Facts], Iterator[str]]


def every_mechanism_is_planned(facts: Facts) -> Iterator[str]:
    """A call outside the plan released something that no epsilon counts."""
    names = Counter(str(m["name"]) for m in facts.ran)
    for name, count in names.items():
        if name not in facts.planned:
            yield f"{name} was run and is not in the plan"
        if count > 1:
            yield f"{name} is listed {count} times"


def noise_is_as_planned(facts: Facts) -> Iterator[str]:
    """Less noise, or patients drawn more often, is another mechanism than the one that was calibrated."""
    for m in facts.ran:
        planned = facts.planned.get(str(m["name"]))
        for what in ("noise_multiplier", "sampling_probability"):
            if planned is not None and m[what] != planned[what]:
                yield f"{m['name']} was run with {what} {m[what]}, planned {planned[what]}"


def no_more_uses_than_planned(facts: Facts) -> Iterator[str]:
    """Epsilon is computed for the planned number of uses; each further one adds to it."""
    for m in facts.ran:
        planned = facts.planned.get(str(m["name"]))
        if planned is not None and m["steps"] > planned["steps"]:
            yield f"{m['name']} was used {m['steps']} times, planned {planned['steps']}"


def every_release_was_counted(facts: Facts) -> Iterator[str]:
    """A finished generator rests on every closed-form release of its plan: one that is not counted was free."""
    ran = {str(m["name"]): m["steps"] for m in facts.ran}
    for name, planned in facts.planned.items():
        if not names_steps(name) and ran.get(name, 0) != planned["steps"]:
            yield f"{name} is counted {ran.get(name, 0)} times, a finished run has {planned['steps']}"


def steps_are_those_counted(facts: Facts) -> Iterator[str]:
    """Steps that the trainer took and steps that the account counted are one number, or one of them is wrong.

    Of networks that are stepped in turn, one may lack the steps in which the process was killed before its turn.
    """
    steps = facts.training.get("steps") or {}
    finished, lost = steps.get("finished"), steps.get("lost_to_interruptions") or 0
    counted = [m["steps"] for m in facts.ran if names_steps(str(m["name"]))] or [0]
    if max(counted) != finished or min(counted) < max(counted) - lost:
        yield f"training finished {finished} steps, its account counted {' and '.join(map(str, sorted(set(counted))))}"


def ledger_charged_what_ran(facts: Facts) -> Iterator[str]:
    """The lifetime epsilon of the cohort is composed from the ledger: what it lacks was free."""
    charge = facts.charge
    if charge is None:
        yield "the ledger holds no charge of this run"
    elif charge.unbounded:
        yield "the ledger holds this run as one without privacy, its record claims an epsilon"
    elif charge.voided:
        yield "the ledger's charge of this run was voided, so nobody pays for it"
    else:
        charged = {str(m["name"]): dict(m) for m in charge.mechanisms}
        for m in facts.ran:
            of = charged.get(str(m["name"]))
            if of is None or (of["steps"] != m["steps"] if charge.settled else of["steps"] < m["steps"]):
                yield f"{m['name']} ran {m['steps']} times, the ledger was charged {of['steps'] if of else 0}"
        for name in sorted(charged.keys() - {str(m["name"]) for m in facts.ran}) if charge.settled else ():
            yield f"the ledger was charged {name}, which the record does not list"


def plan_is_the_one_reserved(facts: Facts) -> Iterator[str]:
    """Reservation, account and record must speak of one plan."""
    stated = facts.privacy.get("plan_digest")
    if facts.plan is not None and digest_of(facts.plan) != stated:
        yield "the record was written under another plan"
    reserved = facts.charge.body.get("plan_digest") if facts.charge else None
    if reserved is not None and reserved != stated:
        yield "the ledger reserved another plan than the record states"


def record_is_the_one_settled(facts: Facts) -> Iterator[str]:
    """The ledger keeps the digest of the record that settled it; an edited record has another."""
    charge = facts.charge
    settled = charge.body.get("training_digest") if charge is not None and charge.settled else None
    if settled and settled != digest_of(facts.training):
        yield "the training record is not the one that settled the ledger"


def claim_is_per_patient_by_pld(facts: Facts) -> Iterator[str]:
    """Another unit, adjacency or accountant makes the same epsilon mean another thing."""
    for what, start in (("unit", "patient"), ("adjacency", "add or remove one patient"), ("accountant", "PLD")):
        if not str(facts.privacy.get(what)).startswith(start):
            yield f"the record's {what} is {facts.privacy.get(what)!r}, not {start!r}"


def epsilon_is_within_its_target(facts: Facts) -> Iterator[str]:
    """A plan is calibrated to at most its target, and two accountants find the same."""
    epsilon, target = facts.privacy.get("epsilon"), facts.privacy.get("target_epsilon")
    if epsilon is None or target is None or not epsilon <= target:
        yield f"epsilon {epsilon} is not within the target {target}"
    if not (facts.privacy.get("prv_cross_check") or {}).get("agrees"):
        yield "the second accountant does not agree with the first"


def noise_has_no_seed(facts: Facts) -> Iterator[str]:
    """A seed or a generator's state that is kept lets its reader subtract the noise."""
    for path in seeds_of_noise(facts.training):
        yield f"{path} is recorded"


RULES: tuple[Rule, ...] = (
    every_mechanism_is_planned,
    noise_is_as_planned,
    no_more_uses_than_planned,
    every_release_was_counted,
    steps_are_those_counted,
    ledger_charged_what_ran,
    plan_is_the_one_reserved,
    record_is_the_one_settled,
    claim_is_per_patient_by_pld,
    epsilon_is_within_its_target,
    noise_has_no_seed,
)

_STATES = ("noise_seed", "privacy_noise", "rng_state", "generator_state", "random_state", "sampler_state", "entropy")


def seeds_of_noise(value: Any, path: str = "", *, private: bool = False) -> Iterator[str]:
    """Paths in a JSON-like value at which a seed or state of privacy noise stands; null is none.

    Args:
        value: A record.
        path: Where the value stands.
        private: Whether it stands in a privacy section, where every seed is one of noise.
    """
    if isinstance(value, Mapping):
        for key, item in value.items():
            inside = private or key == "privacy"
            named = key in _STATES or (inside and key.endswith("seed"))
            if named and item is not None:
                yield f"{path}{key}"
            yield from seeds_of_noise(item, f"{path}{key}.", private=inside)
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from seeds_of_noise(item, f"{path}{index}.", private=private)


def strict_problems(
    training: Values, charge: Charge | None, *, plan: Values | None = None
) -> tuple[StrictProblem, ...]:
    """Every rule that a finished private run breaks; none for a run that claims nothing.

    Args:
        training: Content of training.json, about to be written or read back.
        charge: What the ledger holds of the run.
        plan: ``PrivacyPlan.to_json()``; None where only the records are at hand, then the reservation stands for it.
    """
    facts = Facts(training, charge, plan)
    if facts.privacy.get("mode") == "none":
        return ()
    try:
        return tuple(StrictProblem(rule.__name__, message) for rule in RULES for message in rule(facts))
    except (KeyError, TypeError, AttributeError) as error:
        return (StrictProblem("records_are_whole", f"the records of the run cannot be compared: {error!r}"),)


def assert_strict(problems: tuple[StrictProblem, ...]) -> None:
    """Refuse to go on with a run or a folder that breaks a rule.

    Raises:
        IntegrityError: With every problem.
    """
    if problems:
        raise IntegrityError(
            "the privacy claim does not hold: " + "; ".join(map(str, problems)),
            fix="Do not release it; the ledger keeps the run charged. Find the cause, then start a new run.",
        )

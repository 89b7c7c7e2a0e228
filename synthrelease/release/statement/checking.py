"""A record is stated only when it agrees with itself: epsilon with its mechanisms, mechanisms with plan, policy and ledger."""

from __future__ import annotations

from math import isfinite

from synthrelease.errors import IntegrityError
from synthrelease.privacy.accounting import Mechanism, epsilon_of
from synthrelease.privacy.strict import assert_strict, strict_problems
from synthrelease.records.ledger import Charge
from synthrelease.release.run_records import TRAINING
from synthrelease.release.statement.reading import TrainedRun

TOLERANCE = 1e-6
_FIX = "Do not state or release it: restore the record from a copy, or start a new run."


def sound_mechanisms(run: TrainedRun, charge: Charge | None) -> tuple[Mechanism, ...] | None:
    """The mechanisms behind the claim, after every comparison that the records allow; None for a run without privacy.

    Args:
        run: The run.
        charge: Of the ledger; None where no ledger is at hand, then the record is compared with itself alone.

    Raises:
        IntegrityError: Epsilon is not what the mechanisms cost, more was executed than planned, or the record, the
            policy and the ledger tell different things.
    """
    mode = run.privacy.get("mode")
    if mode not in ("private", "none") or mode != run.policy.privacy.mode:
        raise IntegrityError(f"{TRAINING} says privacy mode {mode!r}, its policy {run.policy.privacy.mode!r}", fix=_FIX)
    if mode == "none":
        if run.privacy.get("epsilon") is not None or run.privacy.get("mechanisms"):
            raise IntegrityError(f"{TRAINING} makes a claim without privacy", fix=_FIX)
        if charge is not None and not charge.unbounded:
            raise IntegrityError("the ledger charged a run with privacy, the record has none", fix=_FIX)
        return None
    mechanisms = _read(run, "mechanisms")
    _require_planned(run, mechanisms, charge)
    _require_epsilon(run, mechanisms)
    if charge is not None:
        assert_strict(strict_problems(run.training, charge))
    return mechanisms


def planned_steps(run: TrainedRun, charge: Charge | None) -> dict[str, int]:
    """Uses that were planned, by mechanism; empty where neither record nor ledger tells."""
    if "planned" in run.privacy:
        return {m.name: m.steps for m in _read(run, "planned")}
    return {str(m["name"]): int(m["steps"]) for m in (charge.reserved if charge is not None else ())}


def _read(run: TrainedRun, what: str) -> tuple[Mechanism, ...]:
    try:
        mechanisms = tuple(Mechanism.from_json(value) for value in run.privacy[what])
    except (KeyError, TypeError, ValueError) as error:
        raise IntegrityError(f"{TRAINING}: privacy.{what} cannot be read", fix=_FIX) from error
    if len({m.name for m in mechanisms}) != len(mechanisms):
        raise IntegrityError(f"{TRAINING}: privacy.{what} lists a mechanism twice", fix=_FIX)
    return mechanisms


def _require_planned(run: TrainedRun, mechanisms: tuple[Mechanism, ...], charge: Charge | None) -> None:
    planned = planned_steps(run, charge)
    for m in mechanisms:
        if planned and m.steps > planned.get(m.name, 0):
            raise IntegrityError(
                f"{TRAINING}: {m.name} was executed {m.steps} times, planned {planned.get(m.name, 0)}", fix=_FIX
            )


def _require_epsilon(run: TrainedRun, mechanisms: tuple[Mechanism, ...]) -> None:
    stated, delta = run.privacy.get("epsilon"), run.privacy.get("delta")
    if not (isinstance(stated, int | float) and isinstance(delta, int | float) and isfinite(stated) and 0 < delta < 1):
        raise IntegrityError(f"{TRAINING} states epsilon {stated!r} at delta {delta!r}", fix=_FIX)
    if delta != run.policy.privacy.delta:
        raise IntegrityError(f"{TRAINING} states delta {delta}, its policy {run.policy.privacy.delta}", fix=_FIX)
    true = epsilon_of(mechanisms, delta)
    if not abs(true - stated) <= TOLERANCE:
        raise IntegrityError(
            f"{TRAINING} states epsilon {stated:.6f} at delta {delta:g}; its own mechanisms cost {true:.6f}", fix=_FIX
        )

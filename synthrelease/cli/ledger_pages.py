"""A cohort's ledger as a page for people and as JSON."""

from __future__ import annotations

from math import isinf
from typing import Any

from synthrelease.privacy.lifetime import Standing, standing
from synthrelease.records.ledger import Cap, Charge, Ledger, State

_STATE = {State.RESERVED: "reserved, counts in full", State.SPENT: "spent", State.VOIDED: "voided, counts nothing"}


def page_of(ledger: Ledger, delta: float | None) -> tuple[str, dict[str, Any]]:
    """What ``ledger show`` says of one cohort.

    Args:
        ledger: An existing ledger.
        delta: Compose at this one; None: see :func:`synthrelease.privacy.lifetime.standing`.

    Returns:
        The text, and the same as plain values; figures without bound are None there.
    """
    head = ledger.verify()
    history, caps, now = ledger.history(), ledger.caps(), standing(ledger, delta)
    counted = sum(charge.state is not State.VOIDED for charge in history)
    lines = [
        f"cohort {ledger.path.stem}",
        f"  cap       {_cap_line(caps)}",
        f"  together  {figure(now.epsilon, now.delta)}, {counted} run{'s' if counted != 1 else ''} (add or remove one patient)",
        *_overlap_lines(now),
        f"  left      {_left(now, caps)}",
        *_history_lines(history),
        *_cap_lines(caps),
        f"  head      {head}",
    ]
    value = {
        "cohort": ledger.path.stem,
        "epsilon": _finite(now.epsilon),
        "unbounded": isinf(now.epsilon),
        "delta": now.delta,
        "cap": _cap_value(caps[-1]) if caps else None,
        "left": None if now.left is None else {"epsilon": now.left, "delta": now.delta},
        "overlapping": list(now.overlapping),
        "overlap_unknown": list(now.unknown),
        "epsilon_with_overlapping": _finite(now.together),
        "runs": [_run_value(charge) for charge in history],
        "caps": [_cap_value(cap) for cap in caps],
        "head": head,
    }
    return "\n".join(lines), value


def figure(epsilon: float, delta: float) -> str:
    """A composed epsilon in words."""
    return (
        "unbounded, because of a run without privacy" if isinf(epsilon) else f"epsilon {epsilon:.3f} at delta {delta:g}"
    )


def cap_words(cap: Cap, before: Cap | None) -> str:
    """What setting a cap did."""
    step = (
        "set" if before is None else "raised" if cap.raised else "lowered" if before.allows_more_than(cap) else "kept"
    )
    was = f" (was epsilon {before.epsilon:g} at delta {before.delta:g})" if before is not None else ""
    why = f": {cap.statement}" if cap.statement else ""
    return f"cap {step}: epsilon {cap.epsilon:g} at delta {cap.delta:g}{was}, by {cap.by}{why}"


def _finite(value: float) -> float | None:
    return None if isinf(value) else value


def _cap_line(caps: tuple[Cap, ...]) -> str:
    if not caps:
        return "none in the ledger; a policy's privacy.lifetime_epsilon may set one for its own runs"
    cap = caps[-1]
    return f"epsilon {cap.epsilon:g} at delta {cap.delta:g}, set by {cap.by} on {cap.at[:10]}"


def _overlap_lines(now: Standing) -> list[str]:
    lines = []
    if now.overlapping:
        names = ", ".join(now.overlapping)
        lines.append(f"  overlap   shares patients with {names}: all together {figure(now.together, now.delta)}")
    if now.unknown:
        lines.append(f"  overlap   cannot be told: runs on {', '.join(now.unknown)} did not note their patients")
    return lines


def _left(now: Standing, caps: tuple[Cap, ...]) -> str:
    if now.left is None:
        return "no cap, so nothing is refused"
    if now.left == 0:
        return "nothing: every further run is refused"
    whose = "" if caps else ", by the cap of a cohort that shares patients"
    return (
        f"about epsilon {now.left:.3f} at delta {now.delta:g} for one more run{whose}"
        " (as one Gaussian; epsilons of runs do not add up)"
    )


def _history_lines(history: tuple[Charge, ...]) -> list[str]:
    """One line a mechanism; what a whole run shares stands on its first line."""
    if not history:
        return []
    rows = [("run", "mechanism", "noise", "sampling", "steps", "cost", "state", "operator", "reserved")]
    for charge in history:
        first = (_cost(charge), _STATE[charge.state], charge.who, charge.at[:16].replace("T", " "))
        for number, cells in enumerate(_mechanism_cells(charge)):
            rows.append((charge.run, *cells, *first) if number == 0 else ("", *cells, "", "", "", ""))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    table = ["  " + "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows]
    voided = [
        f"  {charge.run} was voided on {charge.voided['at'][:10]} by {charge.voided['who']}: {charge.voided['statement']}"
        for charge in history
        if charge.voided
    ]
    return ["", *table, "", *voided]


def _mechanism_cells(charge: Charge) -> list[tuple[str, str, str, str]]:
    if charge.unbounded:
        return [("without privacy", "", "", "")]
    return [
        (
            str(m["name"]),
            f"{m['noise_multiplier']:.4g}",
            f"{m['sampling_probability']:.4g}",
            str(m["steps"]) if m["steps"] == m["reserved_steps"] else f"{m['steps']} of {m['reserved_steps']}",
        )
        for m in _mechanisms(charge)
    ]


def _cost(charge: Charge) -> str:
    epsilon = charge.body.get("epsilon")
    if charge.unbounded:
        return "unbounded"
    return "" if epsilon is None or charge.delta is None else f"{epsilon:.3f} at {charge.delta:g}"


def _cap_lines(caps: tuple[Cap, ...]) -> list[str]:
    if len(caps) < 2 and not any(cap.statement for cap in caps):
        return []
    return [
        f"  {cap.at[:16].replace('T', ' ')}  {cap_words(cap, before)}"
        for cap, before in zip(caps, (None, *caps[:-1]), strict=True)
    ]


def _mechanisms(charge: Charge) -> list[dict[str, Any]]:
    """Every reserved mechanism with the steps that ran of it."""
    ran = {str(m["name"]): int(m["steps"]) for m in charge.mechanisms}
    return [{**m, "steps": ran.get(str(m["name"]), 0), "reserved_steps": m["steps"]} for m in charge.reserved]


def _run_value(charge: Charge) -> dict[str, Any]:
    return {
        "run": charge.run,
        "reservation": charge.reservation,
        "state": charge.state.value,
        "settled": charge.settled,
        "unbounded": charge.unbounded,
        "epsilon": charge.body.get("epsilon"),
        "delta": charge.delta,
        "mechanisms": _mechanisms(charge),
        "operator": charge.who,
        "reserved_at": charge.at,
        "voided": charge.voided or None,
        "policy_digest": charge.body.get("policy_digest"),
    }


def _cap_value(cap: Cap) -> dict[str, Any]:
    return {
        "epsilon": cap.epsilon,
        "delta": cap.delta,
        "by": cap.by,
        "at": cap.at,
        "statement": cap.statement,
        "raised": cap.raised,
    }

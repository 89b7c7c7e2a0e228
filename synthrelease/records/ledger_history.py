"""What the entries of a ledger add up to: its charges and its caps. Pure functions of verified entries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from synthrelease.records.ledger_entry import Cap, Charge, Entry, Event


class Contradiction(ValueError):
    """An entry does not follow from those before it, though the chain is whole.

    Attributes:
        sequence: Which entry.
    """

    def __init__(self, sequence: int) -> None:
        super().__init__(f"entry {sequence} contradicts the entries before it")
        self.sequence = sequence


def charges_of(entries: Sequence[Entry]) -> tuple[Charge, ...]:
    """What each run was charged, in the order of the reservations, voided ones included.

    Raises:
        Contradiction: Something is settled or voided that was not reserved, or twice.
    """
    charges: dict[str, Charge] = {}
    for entry in entries:
        body = entry.body
        if entry.event is Event.RESERVED:
            mechanisms = tuple(body.get("mechanisms", ()))
            charges[entry.hash] = Charge(
                run=entry.run,
                reservation=entry.hash,
                settled=False,
                unbounded=bool(body.get("unbounded", False)),
                mechanisms=mechanisms,
                delta=body.get("delta"),
                body=body,
                reserved=mechanisms,
                who=str(body.get("who", "")),
                at=entry.at,
                noted=bool(body.get("patients_noted", False)),
            )
        elif entry.event in (Event.SPENT, Event.VOIDED):
            charge = charges.get(str(body.get("reservation")))
            if charge is None or charge.voided or (charge.settled and entry.event is Event.SPENT):
                raise Contradiction(entry.sequence)
            if entry.event is Event.SPENT:
                ran = tuple(body.get("mechanisms", ()))
                charges[charge.reservation] = replace(charge, settled=True, mechanisms=ran, body=body)
            else:
                told = {"who": str(body.get("who", "")), "at": entry.at, "statement": str(body.get("statement", ""))}
                charges[charge.reservation] = replace(charge, voided=told)
    return tuple(charges.values())


def caps_of(entries: Sequence[Entry]) -> tuple[Cap, ...]:
    """Every cap that was set, oldest first; the last one holds.

    Raises:
        Contradiction: An entry that sets a cap holds no figures.
    """
    caps: list[Cap] = []
    for entry in entries:
        if entry.event is not Event.CAPPED:
            continue
        try:
            cap = Cap(
                epsilon=float(entry.body["epsilon"]),
                delta=float(entry.body["delta"]),
                by=str(entry.body["by"]),
                at=entry.at,
                statement=str(entry.body.get("statement", "")),
                raised=False,
            )
        except (KeyError, TypeError, ValueError) as error:
            raise Contradiction(entry.sequence) from error
        caps.append(replace(cap, raised=cap.allows_more_than(caps[-1] if caps else None)))
    return tuple(caps)

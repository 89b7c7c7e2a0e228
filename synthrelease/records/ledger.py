"""The privacy ledger of one cohort: what was reserved and spent on it, by every run, in order.

JSON lines, append-only; each entry carries the hash of the one before, so an edit, a removal or a reordering in the
middle shows. A chain held by one party cannot show that its end was cut off: deposit :attr:`Ledger.head` elsewhere
(a ticket, minutes) and check it later with ``expect``.

Crash rules. An entry counts from the moment its line is on disk. A last line without its newline is an append that
never returned to its caller: nothing was run on it, and the next append overwrites it. A reservation without a later
``spent`` or ``voided`` counts in full: the run may have shown its results to somebody.

No torch and no accountant: composition is :func:`synthrelease.privacy.accounting.composed_epsilon`.
"""

from __future__ import annotations

import unicodedata
from math import isfinite
from typing import Any

from synthrelease.errors import IntegrityError, UsageError
from synthrelease.records.ledger_chain import LedgerChain
from synthrelease.records.ledger_entry import GENESIS, LEDGER_SCHEMA, Cap, Charge, Entry, Event, State
from synthrelease.records.ledger_history import Contradiction, caps_of, charges_of

__all__ = ["GENESIS", "LEDGER_SCHEMA", "Cap", "Charge", "Entry", "Event", "Ledger", "State"]

LONGEST_TEXT = 2000


def _told(what: str, text: str) -> str:
    """A name or a statement as it is kept: one line that a terminal can show."""
    text = text.strip()
    if not text or len(text) > LONGEST_TEXT or any(unicodedata.category(c) in {"Cc", "Cs", "Cf"} for c in text):
        raise UsageError(
            f"{what} is empty, longer than {LONGEST_TEXT} characters, or holds control characters",
            fix="Say who it is, or what was done and why, in one line.",
        )
    return text


class Ledger(LedgerChain):
    """The ledger of one cohort: charges and caps over a chain of entries.

    Args:
        path: The JSON-lines file; made on the first append.
        clock: Gives the time of an entry; tests put another in.
    """

    def history(self) -> tuple[Charge, ...]:
        """What every run was charged, in the order of the reservations, voided ones included.

        Raises:
            IntegrityError: The chain is broken, or an entry contradicts those before it.
        """
        try:
            return charges_of(self.entries())
        except Contradiction as error:
            raise self._broken(error.sequence) from error

    def charges(self) -> tuple[Charge, ...]:
        """What each run costs, in order; voided runs are left out, open reservations count in full."""
        return tuple(charge for charge in self.history() if charge.state is not State.VOIDED)

    def charge_of(self, reservation: str) -> Charge:
        """The charge that ``reservation`` opened.

        Raises:
            IntegrityError: This ledger does not hold it, or it was voided.
        """
        for charge in self.history():
            if charge.reservation == reservation:
                if charge.voided:
                    raise IntegrityError(
                        f"the reservation of the run {charge.run} was voided on {charge.voided['at'][:10]}",
                        fix="A voided run neither goes on nor counts; start a new one, which is charged anew.",
                    )
                return charge
        raise IntegrityError(
            f"the ledger {self.path.name} holds no reservation {reservation[:16]}...",
            fix="Use the ledger that the run was started with.",
        )

    def caps(self) -> tuple[Cap, ...]:
        """Every cap that was set in this ledger, oldest first; the last one holds.

        Raises:
            IntegrityError: The chain is broken.
        """
        try:
            return caps_of(self.entries())
        except Contradiction as error:
            raise self._broken(error.sequence) from error

    @property
    def cap(self) -> Cap | None:
        """The cap that holds now, None where none was set."""
        return (self.caps() or (None,))[-1]

    def set_cap(self, epsilon: float, delta: float, *, by: str, statement: str = "") -> Cap:
        """Set the most that may ever be charged to the cohort; every earlier cap stays in the history.

        A cap below what is charged already is accepted: it refuses every further run and undoes none.

        Args:
            epsilon: Bound on everything composed, positive.
            delta: At this delta, in (0, 0.01).
            by: Who sets it: the custodian of the cohort, by name.
            statement: Why; needed where the new cap allows more than the one before, in epsilon or in delta.

        Raises:
            UsageError: A figure or a text cannot be used, or a cap is raised without a statement.
        """
        if not (isfinite(epsilon) and epsilon > 0 and 0 < delta < 0.01):
            raise UsageError(
                f"a cap of epsilon {epsilon:g} at delta {delta:g} means nothing",
                fix="Give a positive --epsilon and a --delta well under one over the number of patients.",
            )
        by = _told("the name of who sets the cap", by)
        with self.locked():
            before = self.cap
            cap = Cap(epsilon, delta, by, at="", statement=statement, raised=False)
            if before is not None and cap.allows_more_than(before) and not statement.strip():
                raise UsageError(
                    f"the cap of {self.path.stem} is epsilon {before.epsilon:g} at delta {before.delta:g}; "
                    "raising it needs a statement",
                    fix="Say who agreed and why, with --statement; it stays in the ledger.",
                )
            statement = _told("the statement", statement) if statement.strip() else ""
            self.append(Event.CAPPED, "", {"epsilon": epsilon, "delta": delta, "by": by, "statement": statement})
            return self.caps()[-1]

    def spend(self, reservation: str, mechanisms: list[dict[str, Any]], **facts: Any) -> Entry:
        """Settle a reservation by what was really run.

        Raises:
            IntegrityError: No such reservation.
            UsageError: It was settled before.
        """
        with self.locked():
            charge = self.charge_of(reservation)
            if charge.settled:
                raise UsageError(f"the run {charge.run} is settled already", fix="Start a new run; it is charged anew.")
            return self.append(Event.SPENT, charge.run, {**facts, "reservation": reservation, "mechanisms": mechanisms})

    def void(self, reservation: str, *, who: str, statement: str) -> Entry:
        """Cancel a charge because the run's outputs were destroyed unseen; the custodian says so by name.

        Raises:
            IntegrityError: No such reservation.
            UsageError: No name or statement was given, or the run was released.
        """
        who = _told("the name of who voids the charge", who)
        statement = _told("the statement that voiding needs", statement)
        with self.locked():
            charge = self.charge_of(reservation)
            if any(entry.event is Event.RELEASED and entry.run == charge.run for entry in self.entries()):
                raise UsageError(
                    f"the run {charge.run} was released; its charge stands", fix="Only what nobody saw can be voided."
                )
            return self.append(
                Event.VOIDED, charge.run, {"reservation": reservation, "who": who, "statement": statement}
            )

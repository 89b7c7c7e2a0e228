"""What the ledger would say to a run: the same judgement for the plan that is shown and for the reservation that is made.

Every cap is judged, not the cohort's own alone: a run on B also spends on the patients whom B shares with A, so it must
fit under A's cap as well.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import inf, isinf

from synthrelease.privacy.lifetime import Book, composed, shelf
from synthrelease.privacy.overlap import PatientDigests
from synthrelease.privacy.plan import PrivacyPlan
from synthrelease.records.ledger import Ledger


@dataclass(frozen=True)
class Excess:
    """A cap that a run would break.

    Attributes:
        cohort: Whose cap.
        shared: Whether other cohorts are part of the figure.
        epsilon: What would be charged, composed at the cap's delta; infinite without privacy.
        cap: Its figure.
        enforced: False for a policy's cap on simulated patients, which is said and not enforced.
    """

    cohort: str
    shared: bool
    epsilon: float
    cap: float
    enforced: bool

    @property
    def sentence(self) -> str:
        """For people."""
        figure = "without bound, because of a run without privacy" if isinf(self.epsilon) else f"{self.epsilon:.3f}"
        whose = (
            f"the epsilon of {self.cohort} and the cohorts it shares patients with"
            if self.shared
            else ("the cohort's epsilon")
        )
        end = "" if self.enforced else " (simulated patients: recorded, not refused)"
        return f"with this run {whose} would be {figure}; its lifetime cap is {self.cap:g}{end}"


@dataclass(frozen=True)
class Forecast:
    """The ledger after a run.

    Attributes:
        epsilon: Everything charged to the cohort's own ledger and the run; infinite without privacy.
        together: The same with the cohorts that share patients; this is what caps are held against.
        delta: Both figures hold at this delta; None for a run without privacy.
        overlapping: Names of the cohorts that share patients, as far as it is known.
        unknown: Names of the cohorts whose runs did not note their patients.
        caps: (cohort, epsilon, delta) of every cap that was looked at; the policy's under the cohort's own name.
        excess: Caps that the run would break.
    """

    epsilon: float
    together: float
    delta: float | None
    overlapping: tuple[str, ...]
    unknown: tuple[str, ...]
    caps: tuple[tuple[str, float, float | None], ...]
    excess: tuple[Excess, ...]

    @property
    def refused(self) -> bool:
        """Whether the ledger refuses the run."""
        return any(one.enforced for one in self.excess)

    @property
    def over(self) -> str:
        """The cap that is broken, in words, an enforced one first; empty where none is."""
        return next((one.sentence for one in sorted(self.excess, key=lambda one: not one.enforced)), "")


def forecast(
    ledger: Ledger,
    plan: PrivacyPlan | None,
    *,
    lifetime_epsilon: float | None,
    enforce: bool = True,
    arriving: PatientDigests | None = None,
) -> Forecast:
    """What the ledger would be after a run, and whether it refuses it. Writes nothing.

    Args:
        ledger: Of the cohort; need not exist yet.
        plan: Of the run; None for one without privacy.
        lifetime_epsilon: The policy's cap, at the plan's delta. It can lower what the custodian allows, never raise it:
            every cap is judged by itself, so the lowest decides.
        enforce: False for simulated patients: the policy's cap is said, not enforced. A cap that stands in a ledger was
            put there by somebody for this cohort, and is enforced always.
        arriving: Patients whom the run can read; those of earlier runs are known from the ledger.

    Raises:
        IntegrityError: A ledger or what lies beside it is broken.
    """
    seen = shelf(ledger, arriving)
    further = plan.mechanisms if plan is not None else ()

    def figure(books: Iterable[Book], delta: float) -> float:
        return inf if plan is None else composed(books, delta, further)

    delta = plan.delta if plan is not None else None
    around = (seen.own, *seen.sharing)
    caps: list[tuple[str, float, float | None]] = []
    excess = []
    if lifetime_epsilon is not None:
        caps.append((seen.own.cohort, lifetime_epsilon, delta))
        spent = figure(around, delta or 1.0)
        if spent > lifetime_epsilon:
            excess.append(Excess(seen.own.cohort, bool(seen.sharing), spent, lifetime_epsilon, enforce))
    for book in around:
        if book.cap is not None:
            caps.append((book.cohort, book.cap.epsilon, book.cap.delta))
            group = seen.group(book)
            spent = figure(group, book.cap.delta)
            if spent > book.cap.epsilon:
                excess.append(Excess(book.cohort, len(group) > 1, spent, book.cap.epsilon, True))
    return Forecast(
        epsilon=figure((seen.own,), delta or 1.0),
        together=figure(around, delta or 1.0),
        delta=delta,
        overlapping=seen.overlapping,
        unknown=seen.unknown,
        caps=tuple(caps),
        excess=tuple(excess),
    )

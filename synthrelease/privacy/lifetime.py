"""What a cohort has cost over its life, together with the cohorts that it shares patients with, and what its caps leave.

A cohort is composed with every ledger of its folder that shares at least one patient with it. For the patients of both
that is what they have cost; for everybody else it is an upper bound. Chains (A shares with B, B with C) are not followed:
nobody need be of A and C.

Whether a further run fits is :mod:`synthrelease.privacy.forecast`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import floor

from synthrelease.privacy.accounting import COARSE, Mechanism, charged_epsilon, privacy_loss
from synthrelease.privacy.overlap import PatientDigests, house_key, noted_patients
from synthrelease.records.ledger import Cap, Charge, Ledger

LARGEST_STATED = 50.0
"""No policy may ask for more, so nobody is told that more is left."""


@dataclass(frozen=True)
class Book:
    """One ledger as it is judged.

    Attributes:
        cohort: Its name.
        charges: What counts.
        cap: Of its custodian, if one was set.
        patients: Everybody whom its runs could read, and whom the run in question can read.
    """

    cohort: str
    charges: tuple[Charge, ...]
    cap: Cap | None
    patients: PatientDigests

    @property
    def known(self) -> bool:
        """Whether every run on it noted its patients."""
        return all(charge.noted for charge in self.charges)


@dataclass(frozen=True)
class Shelf:
    """The ledgers of a folder, seen from one of them.

    Attributes:
        own: The ledger in question.
        sharing: Those that share a patient with it.
        others: The rest.
    """

    own: Book
    sharing: tuple[Book, ...]
    others: tuple[Book, ...]

    @property
    def overlapping(self) -> tuple[str, ...]:
        """Names of the cohorts that share a patient; how many and who is told to nobody."""
        return tuple(book.cohort for book in self.sharing)

    @property
    def unknown(self) -> tuple[str, ...]:
        """Names of the cohorts whose runs did not note their patients, so that no overlap can be told or excluded."""
        if not (self.sharing or self.others):
            return ()
        return tuple(book.cohort for book in (self.own, *self.others) if not book.known)

    def group(self, book: Book) -> tuple[Book, ...]:
        """A book and all that share a patient with it."""
        every = (self.own, *self.sharing, *self.others)
        return tuple(other for other in every if other is book or other.patients.shares_with(book.patients))


def shelf(ledger: Ledger, arriving: PatientDigests | None = None) -> Shelf:
    """Read a ledger and all others of its folder.

    Args:
        ledger: The one in question; need not exist yet.
        arriving: Patients whom a run can read that is about to be charged to it.

    Raises:
        IntegrityError: One of the ledgers, the digests beside it, or the key is broken.
    """
    folder = ledger.path.parent
    key = house_key(folder, make=False)

    def book(one: Ledger, further: PatientDigests) -> Book:
        return Book(one.path.stem, one.charges(), one.cap, noted_patients(one, key) | further)

    own = book(ledger, arriving or PatientDigests())
    paths = sorted(path for path in folder.glob("*.jsonl") if path.stem != ledger.path.stem)
    rest = [book(Ledger(path), PatientDigests()) for path in paths]
    return Shelf(
        own,
        tuple(one for one in rest if one.patients.shares_with(own.patients)),
        tuple(one for one in rest if not one.patients.shares_with(own.patients)),
    )


def composed(books: Iterable[Book], delta: float, further: Sequence[Mechanism] = ()) -> float:
    """Epsilon of everything charged to some books, and of more; infinite with a run without privacy."""
    return charged_epsilon([charge for book in books for charge in book.charges], delta, further)


@dataclass(frozen=True)
class Standing:
    """What a cohort has cost so far.

    Attributes:
        delta: Figures hold at this delta.
        epsilon: Of its own ledger; infinite with a run without privacy.
        together: With the cohorts that share patients.
        left: See :func:`left_under_caps`; None where no cap stands.
        overlapping: Names of the cohorts that share patients.
        unknown: Names of the cohorts whose runs did not note their patients.
    """

    delta: float
    epsilon: float
    together: float
    left: float | None
    overlapping: tuple[str, ...]
    unknown: tuple[str, ...]


def standing(ledger: Ledger, delta: float | None = None) -> Standing:
    """What a cohort has cost so far. Writes nothing.

    Args:
        ledger: Of the cohort.
        delta: Compose at this one; default: the cap's, else the largest that a run stated, its own before
            those of cohorts that share patients; else 1e-5.
    """
    seen = shelf(ledger)
    around = (seen.own, *seen.sharing)
    delta = _usual_delta(around) if delta is None else delta
    return Standing(
        delta=delta,
        epsilon=composed((seen.own,), delta),
        together=composed(around, delta),
        left=left_under_caps(seen, delta),
        overlapping=seen.overlapping,
        unknown=seen.unknown,
    )


def _usual_delta(books: Sequence[Book]) -> float:
    """The delta at which the first of some books that has one is kept."""
    for book in books:
        if book.cap is not None:
            return book.cap.delta
    for book in books:
        stated = [charge.delta for charge in book.charges if charge.delta is not None]
        if stated:
            return max(stated)
    return 1e-5


def left_under_caps(seen: Shelf, delta: float) -> float | None:
    """The largest epsilon at ``delta`` that one further run could state without breaking a cap, rounded down.

    Epsilons do not add up, so this is not the cap minus what is spent. It is computed for a run that is one Gaussian
    mechanism, composed with everything charged; a run of another make that states the same epsilon composes a little
    differently, and :func:`forecast` decides, not this figure.

    Returns:
        At most `LARGEST_STATED`; 0 where nothing fits; None where no cap stands.
    """
    from dp_accounting import get_sigma_gaussian

    held = [
        (seen.group(book), book.cap.epsilon, book.cap.delta)
        for book in (seen.own, *seen.sharing)
        if book.cap is not None
    ]
    if not held:
        return None
    losses = []
    for books, cap, at in held:
        charges = [charge for book in books for charge in book.charges]
        if any(charge.unbounded for charge in charges):
            return 0.0
        # The coarse grid is quick and errs upward, so what is found to fit fits.
        loss = privacy_loss([Mechanism.from_json(m) for charge in charges for m in charge.mechanisms], COARSE)
        losses.append((loss, cap, at))

    def fits(epsilon: float) -> bool:
        more = privacy_loss([Mechanism("further", float(get_sigma_gaussian(epsilon, delta)))], COARSE)
        return all(
            (more if loss is None else loss.compose(more)).get_epsilon_for_delta(at) <= cap for loss, cap, at in losses
        )

    low, high = 0.0, 0.1
    while fits(high):
        low, high = high, 2 * high
        if low >= LARGEST_STATED:
            return LARGEST_STATED
    for _ in range(12):
        middle = (low + high) / 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return floor(low * 1000) / 1000

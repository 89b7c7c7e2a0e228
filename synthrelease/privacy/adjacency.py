"""The same run read under another adjacency, for readers who compare claims: epsilons of unlike adjacency do not compare."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from synthrelease.privacy.accounting import COARSE, Mechanism, event_of


def replace_one_epsilon(mechanisms: Sequence[Mechanism], delta: float) -> float:
    """Epsilon at ``delta`` when one patient is *replaced* by another instead of added or removed; about twice as large.

    Upper bound by dp-accounting's own composition of the list, on the coarse grid.

    >>> replace_one_epsilon([], 1e-5)
    0.0
    """
    return _composed(tuple(m for m in mechanisms if m.steps > 0), delta)


@lru_cache(maxsize=32)
def _composed(ran: tuple[Mechanism, ...], delta: float) -> float:
    if not ran:
        return 0.0
    from dp_accounting import NeighboringRelation
    from dp_accounting.pld import PLDAccountant

    accountant = PLDAccountant(NeighboringRelation.REPLACE_ONE, value_discretization_interval=COARSE)
    accountant.compose(event_of(ran))
    return float(accountant.get_epsilon(delta))

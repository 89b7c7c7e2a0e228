"""A second accountant for the same mechanisms: PRV of Opacus, written by other people after another method.

It composes every mechanism by itself: nothing is merged beforehand, so that a fault in our merging would show. It
stands apart from :mod:`synthrelease.privacy.accounting` so that verbs of governance, which recompute epsilon, load no
deep-learning stack.

Source: Gopi, Lee, Wutschitz, NeurIPS 2021.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import lru_cache

from synthrelease.privacy.accounting import Mechanism


def prv_epsilon(mechanisms: Sequence[Mechanism], delta: float) -> float:
    """Epsilon of everything composed, at ``delta``. Its own error bound (0.01) is added, so it lies slightly above PLD.

    >>> prv_epsilon([], 1e-5)
    0.0
    """
    return _prv_of(
        tuple((m.noise_multiplier, m.sampling_probability, m.steps) for m in mechanisms if m.steps > 0), delta
    )


@lru_cache(maxsize=32)
def _prv_of(history: tuple[tuple[float, float, int], ...], delta: float) -> float:
    from opacus.accountants import PRVAccountant

    if not history:
        return 0.0
    accountant = PRVAccountant()
    accountant.history = list(history)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # divides by zero at q = 1 and goes on correctly
        return float(accountant.get_epsilon(delta))

"""How a plan spends its budget: the share of each mechanism, and epsilon on the way. Follows from the plan alone."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from synthrelease.privacy.accounting import Mechanism, epsilon_of
from synthrelease.privacy.calibration import mu_of_steps

MARKS = (0.0, 0.1, 0.25, 0.5, 0.75, 1.0)
# Coarser than any figure that is claimed: still an upper bound, and quick.
_SKETCH = 5e-3


def shares_of_budget(mechanisms: Sequence[Mechanism]) -> dict[str, float]:
    """Share of each mechanism in squared Gaussian-DP mu, the quantity that adds up; the shares sum to 1.

    Exact for full-batch releases, by the central limit for Poisson-sampled steps: a split to read, never a claim.

    >>> shares_of_budget([Mechanism("counts", 2.0), Mechanism("sums", 1.0)])
    {'counts': 0.2, 'sums': 0.8}
    """
    squares = {m.name: mu_of_steps(m) ** 2 for m in mechanisms}
    total = sum(squares.values())
    return {name: square / total if total else 0.0 for name, square in squares.items()}


def epsilon_curve(
    mechanisms: Sequence[Mechanism], stepped: Collection[str], delta: float, marks: Sequence[float] = MARKS
) -> tuple[tuple[float, float], ...]:
    """Epsilon when a share of the gradient steps has run, everything else having been released before the first.

    Args:
        mechanisms: Of the whole run.
        stepped: Names of those that are gradient steps; they run side by side.
        delta: At this delta.
        marks: Shares of the steps, in [0, 1].

    Returns:
        (share, epsilon) for each mark; upper bounds, the last one the claim itself. Empty without steps.
    """
    if not any(m.name in stepped for m in mechanisms):
        return ()
    whole = epsilon_of(mechanisms, delta)
    sketched = ((mark, epsilon_of(_until(mechanisms, stepped, mark), delta, _SKETCH)) for mark in marks if mark < 1)
    # The sketch reads high for many steps; a part never costs more than the whole, which the accountant knows finely.
    return (*((mark, min(epsilon, whole)) for mark, epsilon in sketched), *((m, whole) for m in marks if m >= 1))


def _until(mechanisms: Sequence[Mechanism], stepped: Collection[str], mark: float) -> list[Mechanism]:
    return [replace(m, steps=round(mark * m.steps)) if m.name in stepped else m for m in mechanisms]

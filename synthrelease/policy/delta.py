"""How large delta may be: one rule, asked by the policy check and by the plan."""

from __future__ import annotations


def largest_delta(expected_patients: int) -> float:
    """Largest delta that a claim over about so many patients may carry: 1 / (10 * expected_patients).

    delta is the chance that the bound fails altogether. A release that publishes each patient whole with chance 1/n
    satisfies (0, 1/n), so a delta near 1/n promises nothing; a tenth of that is the most that is accepted here.

    Args:
        expected_patients: Public constant of the policy, > 0; never the exact count.

    >>> largest_delta(650)
    0.00015384615384615385
    """
    return 1 / (10 * expected_patients)

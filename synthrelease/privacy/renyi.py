"""An upper line on epsilon by Renyi divergences: sanity in tests, never a claim.

Renyi accounting is valid and loose: 8 to 18 % above the privacy loss distribution. A PLD figure above it would be a bug.
Opacus' formulas are used: they sum each order until it converges, where dp-accounting leaves out orders that do
not, and then finds 646 where 255 is right.

Source: Mironov, Talwar, Zhang, 2019 (subsampled Gaussian); Balle et al., AISTATS 2020 (conversion to epsilon).
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

from synthrelease.privacy.accounting import Mechanism

ORDERS = (*(1 + i / 20 for i in range(1, 200)), *range(11, 64), *range(64, 257, 8), 512, 1024)
"""Orders above 1, close together where epsilon is large, far apart where it is small."""


def rdp_epsilon(mechanisms: Sequence[Mechanism], delta: float) -> float:
    """An upper bound on epsilon of everything composed, at ``delta``.

    >>> rdp_epsilon([], 1e-5)
    0.0
    """
    from opacus.accountants.analysis import rdp

    ran = [m for m in mechanisms if m.steps > 0]
    if not ran:
        return 0.0
    total = sum(
        rdp.compute_rdp(
            q=m.sampling_probability, noise_multiplier=m.noise_multiplier, steps=m.steps, orders=list(ORDERS)
        )
        for m in ran
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tells when the best order is the first or the last: still a bound
        epsilon, _ = rdp.get_privacy_spent(orders=list(ORDERS), rdp=total, delta=delta)
    return float(epsilon)

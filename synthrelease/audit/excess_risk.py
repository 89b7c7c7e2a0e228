"""How much better an attack does on patients who were trained on than on patients who were not: with both ends known.

Every attack is run on all patients of both sides, the holdout being the control: what can be guessed of anybody from what
the archive tells of everybody is no leak. Only attacks that produced a guess count. The excess

    r_train - r_holdout

carries Newcombe's hybrid score interval, which stands at rates of 0 and 1, where Wald's collapses.

Source: Giomi et al., Anonymeter, PoPETs 2023 (control group); Newcombe, Statistics in Medicine 1998, method 10.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from synthrelease.audit.intervals import Interval, wilson
from synthrelease.audit.measurement import Measurement, unable
from synthrelease.records.findings import Baseline, Direction, Power, Statistic

ALPHA = 0.05
NULL_EXCESS = 0.05
"""Excess in doubt of which an attack is not called a leak: five targets in a hundred."""

MINIMUM_GUESSES = 60
"""Guesses on each side below which an excess is not told."""


@dataclass(frozen=True)
class AttackResult:
    """One attack on both sides.

    Attributes:
        name: What was attacked, public text.
        hits, guesses: On training patients, one guess a patient at most.
        control_hits, control_guesses: The same on holdout patients.
    """

    name: str
    hits: int
    guesses: int
    control_hits: int
    control_guesses: int

    @classmethod
    def of(cls, name: str, hit: npt.NDArray[np.bool_], guessed: npt.NDArray[np.bool_], members: int) -> AttackResult:
        """From (P,) patients, training patients first: whether a guess was made and whether it was right."""
        right = hit & guessed
        ours, theirs = slice(0, members), slice(members, None)
        return cls(
            name, int(right[ours].sum()), int(guessed[ours].sum()), int(right[theirs].sum()), int(guessed[theirs].sum())
        )

    @property
    def enough(self) -> bool:
        """Whether both sides made guesses enough to tell anything."""
        return min(self.guesses, self.control_guesses) >= MINIMUM_GUESSES

    @property
    def excess(self) -> float:
        """Hit rate on training patients less that on the control, in [-1, 1]."""
        return self.hits / self.guesses - self.control_hits / self.control_guesses

    def interval(self, confidence: float = 0.95) -> Interval:
        """Newcombe's interval of the excess; holds it also where an attack never or always succeeds.

        >>> [round(x, 3) for x in AttackResult("", 56, 70, 48, 80).interval()]
        [0.052, 0.334]
        >>> [round(x, 3) for x in AttackResult("", 100, 100, 0, 100).interval()]
        [0.948, 1.0]
        """
        ours, theirs = self.hits / self.guesses, self.control_hits / self.control_guesses
        a, b = wilson(self.hits, self.guesses, confidence), wilson(self.control_hits, self.control_guesses, confidence)
        low = self.excess - float(np.hypot(ours - a.low, b.high - theirs))
        high = self.excess + float(np.hypot(a.high - ours, theirs - b.low))
        return Interval(max(-1.0, low), min(1.0, high))

    def p(self, limit: float = NULL_EXCESS) -> float:
        """One-sided p-value of "the excess is at most ``limit``": the level at which the interval just leaves it out."""
        low, high = 1e-12, 0.5
        if self.interval(1.0 - 2.0 * high + 1e-9).low <= limit:
            return 1.0
        while high / low > 1.001:
            middle = float(np.sqrt(low * high))
            if self.interval(1.0 - 2.0 * middle).low > limit:
                high = middle
            else:
                low = middle
        return high


def measured(
    name: str,
    attacks: Sequence[AttackResult],
    n: Mapping[str, int],
    *,
    random: float | None = None,
    planted: Mapping[str, Sequence[AttackResult]] | None = None,
) -> Measurement:
    """The measurement of several attacks that were fixed beforehand: the worst one, Bonferroni over all.

    Args:
        name: Of the statistic. attacks: All that were tried. n: Public counts.
        random: What blind guessing would hit. planted: The same attacks on an archive known to leak, by leak.
    """
    told = [attack for attack in attacks if attack.enough]
    if not told:
        reason = f"fewer than {MINIMUM_GUESSES} guesses on training or on held-out patients"
        return unable(name, Direction.LOWER, reason, n=dict(n))
    confidence = 1.0 - ALPHA / len(told)
    worst = max(told, key=lambda attack: attack.excess)
    high = max(attack.interval(confidence).high for attack in told)
    p = min(1.0, len(told) * min(attack.p() for attack in told))
    seen = {leak: _seen([a for a in each if a.enough]) for leak, each in (planted or {}).items()}
    control = worst.control_hits / worst.control_guesses
    note = (
        f"{worst.name}: right for {worst.hits} of {worst.guesses} training patients against {worst.control_hits} of "
        f"{worst.control_guesses} patients never seen; excess {worst.excess:+.3f}, at most {high:.3f}"
    )
    return Measurement(
        Statistic(name, worst.excess, worst.interval(confidence).low, high, 0.95, Direction.LOWER),
        Baseline(holdout=control, random=random),
        Power(_detectable(worst, len(told)), "excess of the hit rate", seen),
        dict(n) | {"attacks": len(told), "guesses": worst.guesses, "control_guesses": worst.control_guesses},
        p_value=p,
        controls_missed=tuple(leak for leak, share in seen.items() if share < 1.0),
        note=note,
        details={
            a.name: {
                "hits": a.hits,
                "guesses": a.guesses,
                "control_hits": a.control_hits,
                "control_guesses": a.control_guesses,
            }
            for a in told
        },
    )


def _seen(attacks: Sequence[AttackResult]) -> float:
    """1 where a known leak would have been called one."""
    return float(bool(attacks) and min(a.p() for a in attacks) * len(attacks) <= ALPHA)


def _detectable(worst: AttackResult, attacks: int) -> float:
    """Excess that would be called a leak in four of five audits of this size, by the normal approximation."""
    rate = (worst.hits + worst.control_hits) / (worst.guesses + worst.control_guesses)
    spread = np.sqrt(
        max(rate * (1 - rate), 1.0 / (4 * worst.guesses)) * (1 / worst.guesses + 1 / worst.control_guesses)
    )
    return float(NULL_EXCESS + (stats.norm.isf(ALPHA / attacks) + stats.norm.ppf(0.8)) * spread)

"""Epsilon of a list of mechanisms, by privacy loss distributions; calibration of noise to a target.

All mechanisms are Gaussians on patients, full-batch or Poisson-subsampled, under add/remove-one-patient adjacency.
Composition uses the pessimistic (upper) estimate of Google's dp-accounting. Full-batch Gaussians compose exactly to
one Gaussian, 1/s^2 = sum of 1/s_i^2, and are merged before the numerical part.

No torch here: plans, ledgers and reports are made without it. The second accountant and the upper line by Renyi divergences
stand apart (:mod:`synthrelease.privacy.cross_check`, :mod:`synthrelease.privacy.renyi`). Gaussian-DP accounting by the
central limit is used nowhere: it was measured up to 12 % below the true epsilon.

Source: Doroshenko, Ghazi, Kamath, Kumar, Manurangsi, PoPETs 2022 (connect-the-dots PLD).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import fsum, inf, isfinite, sqrt
from typing import Any

from synthrelease.errors import PolicyError
from synthrelease.records.ledger import Charge, Ledger

FINE = 1e-4
COARSE = 1e-3
ACCOUNTANT = "PLD (dp-accounting), add or remove one patient, pessimistic"


@dataclass(frozen=True)
class Mechanism:
    """A Gaussian mechanism on patients, repeated.

    Attributes:
        name: What it releases, a public word.
        noise_multiplier: Standard deviation of the noise over the clip norm, > 0.
        sampling_probability: Chance of each patient to take part in one step, in (0, 1]; 1 = everybody.
        steps: Repetitions, >= 0.
    """

    name: str
    noise_multiplier: float
    sampling_probability: float = 1.0
    steps: int = 1

    def __post_init__(self) -> None:
        if not (isfinite(self.noise_multiplier) and self.noise_multiplier > 0):
            raise ValueError(f"{self.name}: noise multiplier {self.noise_multiplier} is not positive and finite")
        if not 0 < self.sampling_probability <= 1:
            raise ValueError(f"{self.name}: sampling probability {self.sampling_probability} is outside (0, 1]")
        if self.steps < 0:
            raise ValueError(f"{self.name}: {self.steps} steps")

    def to_json(self) -> dict[str, Any]:
        """As training.json and the ledger hold it."""
        return {
            "name": self.name,
            "noise_multiplier": self.noise_multiplier,
            "sampling_probability": self.sampling_probability,
            "steps": self.steps,
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Mechanism:
        """The inverse of :meth:`to_json`."""
        return cls(
            name=str(value["name"]),
            noise_multiplier=float(value["noise_multiplier"]),
            sampling_probability=float(value["sampling_probability"]),
            steps=int(value["steps"]),
        )


def event_of(mechanisms: Sequence[Mechanism]) -> Any:
    """The same list as a dp-accounting ``DpEvent``, for anybody who wants to recompute epsilon with another accountant."""
    import dp_accounting

    return dp_accounting.ComposedDpEvent(
        [
            dp_accounting.SelfComposedDpEvent(
                dp_accounting.PoissonSampledDpEvent(
                    m.sampling_probability, dp_accounting.GaussianDpEvent(m.noise_multiplier)
                ),
                m.steps,
            )
            for m in mechanisms
        ]
    )


def _grouped(mechanisms: Iterable[Mechanism]) -> list[tuple[float, float, int]]:
    """(noise multiplier, sampling probability, steps), equal ones added up, full-batch Gaussians merged into one."""
    inverse_squares: list[float] = []
    sampled: dict[tuple[float, float], int] = {}
    for m in mechanisms:
        if m.steps == 0:
            continue
        if m.sampling_probability == 1.0:
            inverse_squares.append(m.steps / m.noise_multiplier**2)
        else:
            key = (m.noise_multiplier, m.sampling_probability)
            sampled[key] = sampled.get(key, 0) + m.steps
    groups = [(s, q, t) for (s, q), t in sorted(sampled.items())]
    # Rounded once, so that epsilon is the same to the last bit in whatever order runs were charged.
    inverse_square = fsum(inverse_squares)
    if inverse_square > 0:
        groups.insert(0, (1 / sqrt(inverse_square), 1.0, 1))
    return groups


@lru_cache(maxsize=64)
def _loss_of(groups: tuple[tuple[float, float, int], ...], interval: float) -> Any:
    from dp_accounting.pld import privacy_loss_distribution as pld

    total: Any = None
    for sigma, q, steps in groups:
        one = pld.from_gaussian_mechanism(sigma, sampling_prob=q, value_discretization_interval=interval)
        part = one.self_compose(steps) if steps > 1 else one
        total = part if total is None else total.compose(part)
    return total


def privacy_loss(mechanisms: Iterable[Mechanism], interval: float = FINE) -> Any:
    """The privacy loss distribution of everything composed, or None for no mechanism at all.

    Args:
        mechanisms: What was or will be run.
        interval: Grid of the discretisation; the estimate is an upper bound at every grid, tighter at a finer one.
    """
    return _loss_of(tuple(_grouped(mechanisms)), interval)


def epsilon_of(mechanisms: Iterable[Mechanism], delta: float, interval: float = FINE) -> float:
    """Epsilon of everything composed, at ``delta``.

    >>> round(epsilon_of([Mechanism("steps", 1.0, 0.01, 1000)], 1e-5), 2)
    1.83
    """
    loss = privacy_loss(mechanisms, interval)
    return 0.0 if loss is None else max(0.0, float(loss.get_epsilon_for_delta(delta)))


def mechanisms_of(charges: Iterable[Charge]) -> tuple[Mechanism, ...]:
    """Every mechanism that was charged: what spent runs ran, and open reservations in full."""
    return tuple(Mechanism.from_json(m) for charge in charges for m in charge.mechanisms)


def charged_epsilon(charges: Sequence[Charge], delta: float, further: Sequence[Mechanism] = ()) -> float:
    """Epsilon of everything charged, and of more; infinite with a run without privacy."""
    if any(charge.unbounded for charge in charges):
        return inf
    return epsilon_of([*mechanisms_of(charges), *further], delta)


def composed_epsilon(ledger: Ledger, delta: float, *, further: Sequence[Mechanism] = ()) -> float:
    """Epsilon of a cohort over all its runs, at one delta; infinite once a run without privacy is on the ledger."""
    return charged_epsilon(ledger.charges(), delta, further)


@dataclass(frozen=True)
class EpsilonMeter:
    """Epsilon so far, for a progress line: precomputed at some steps, rounded up to the next of them in between."""

    steps: tuple[int, ...]
    epsilons: tuple[float, ...]

    def at(self, step: int) -> float:
        """An upper bound on epsilon after ``step`` steps of the plan.

        Raises:
            ValueError: ``step`` lies beyond the plan.
        """
        for known, epsilon in zip(self.steps, self.epsilons, strict=True):
            if step <= known:
                return epsilon
        raise ValueError(f"step {step} lies beyond the plan's {self.steps[-1]}")


def meter(
    before: Sequence[Mechanism], stepped: Mechanism | Sequence[Mechanism], delta: float, points: int = 20
) -> EpsilonMeter:
    """Epsilon of ``before`` plus the first t steps of ``stepped``, at about ``points`` values of t, 0 and the last included.

    Args:
        before: What was released in full before the first step.
        stepped: One mechanism, or several that are stepped together, each t times; all of the same number of steps.
        delta: At this delta.
        points: How many values of t are computed.

    Raises:
        ValueError: The stepped mechanisms have different numbers of steps.
    """
    together = (stepped,) if isinstance(stepped, Mechanism) else tuple(stepped)
    totals = {m.steps for m in together}
    if len(totals) != 1:
        raise ValueError(f"mechanisms that are stepped together have {sorted(totals)} steps")
    total = totals.pop()
    steps = sorted({round(i * total / points) for i in range(points + 1)})
    base = privacy_loss(before, COARSE)
    ones = [_loss_of(((m.noise_multiplier, m.sampling_probability, 1),), COARSE) for m in together]
    epsilons = []
    for t in steps:
        whole = base
        for one in ones if t else ():
            part = one.self_compose(t)
            whole = part if whole is None else whole.compose(part)
        epsilons.append(0.0 if whole is None else max(0.0, float(whole.get_epsilon_for_delta(delta))))
    return EpsilonMeter(tuple(steps), tuple(epsilons))


def check_target(epsilon: float, delta: float) -> None:
    """Refuse a target that means nothing.

    Raises:
        PolicyError: epsilon is not positive, or delta is outside (0, 0.01).
    """
    if not (isfinite(epsilon) and epsilon > 0 and 0 < delta < 0.01):
        raise PolicyError(
            f"privacy target epsilon {epsilon} at delta {delta} is not usable",
            fix="Give epsilon > 0 and a delta below 0.01, well under one over the number of patients.",
        )

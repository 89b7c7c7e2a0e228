"""The audit of a mechanism by experiment: what its claim is, what canaries show, and whether the two fit.

Everything runs on simulated patients, so the result is public and costs no budget. It can show that an implementation
does not keep its claim; that none was found shows only that these canaries did not find one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from synthrelease.errors import PolicyError, UnsuitableData
from synthrelease.policy.schema import Policy
from synthrelease.privacy.empirical.bounds import LEVEL, LowerBound, Method, lower_bounds
from synthrelease.privacy.empirical.gaussian import epsilon_of_mu
from synthrelease.privacy.empirical.scores import statistics
from synthrelease.privacy.empirical.simulation import expected_bound
from synthrelease.privacy.noise import OsNoise
from synthrelease.privacy.plan import PrivacyPlan
from synthrelease.privacy.risk import risk_of
from synthrelease.records.progress import Progress
from synthrelease.training.canary_dirac import Coins, Parts, dirac_outcomes
from synthrelease.training.canary_images import image_scores
from synthrelease.training.planning import plan_of

DIRAC, IMAGE = "Dirac gradient", "image"
FEWEST = 20


@dataclass(frozen=True)
class Finding:
    """One lower bound beside the claim.

    Attributes:
        kind: Which canaries: ``Dirac gradient`` or ``image``.
        canaries: How many, with and without.
        bound: What was found.
        claim: The epsilon that the bound must not pass.
    """

    kind: str
    canaries: int
    bound: LowerBound
    claim: float

    @property
    def above(self) -> bool:
        """Whether the claim is refuted."""
        return self.bound.epsilon > self.claim

    def to_json(self) -> dict[str, Any]:
        """As a record holds it."""
        return {
            "kind": self.kind,
            "canaries": self.canaries,
            **self.bound.to_json(),
            "claim": self.claim,
            "verdict": "above the claim" if self.above else "below the claim",
        }


@dataclass(frozen=True)
class MechanismAudit:
    """All findings of one audit.

    Attributes:
        epsilon: Of the claim.
        delta: Of the claim.
        findings: One for each kind of canary, score and method.
        expected: Gaussian bound that so many Dirac canaries show of mechanisms that are exactly as planned.
    """

    epsilon: float
    delta: float
    findings: tuple[Finding, ...]
    expected: float

    @property
    def above(self) -> bool:
        """Whether any finding refutes the claim."""
        return any(finding.above for finding in self.findings)

    def highest(self, method: Method) -> float:
        """The highest lower bound of a method with Dirac canaries."""
        return highest(self.findings, method)

    def to_json(self) -> dict[str, Any]:
        """As a record holds it."""
        return {
            "epsilon": self.epsilon,
            "delta": self.delta,
            "confidence": 1 - LEVEL,
            "expected_of_exact_mechanisms": self.expected,
            "highest": {str(method): self.highest(method) for method in Method},
            "findings": [finding.to_json() for finding in self.findings],
            "verdict": "above the claim" if self.above else "below the claim",
        }


def highest(findings: Sequence[Finding], method: Method, kind: str = DIRAC) -> float:
    """The highest lower bound of a method with a kind of canary; 0 where there is none."""
    return max((f.bound.epsilon for f in findings if (f.bound.method, f.kind) == (method, kind)), default=0.0)


def claimed_plan(policy: Policy) -> PrivacyPlan:
    """The plan of a policy that makes a claim.

    Raises:
        PolicyError: It makes none.
    """
    plan = plan_of(policy)
    if plan is None:
        raise PolicyError(
            "privacy.mode none makes no claim, so there is nothing to audit",
            fix="Name a policy with privacy.mode: private.",
        )
    return plan


def audit_dirac(
    policy: Policy, plan: PrivacyPlan, canaries: int, progress: Progress, parts: Parts | None = None
) -> tuple[Finding, ...]:
    """Dirac canaries, every score by every method.

    Args:
        policy: What is audited.
        plan: Its claim; :func:`claimed_plan`.
        canaries: m, those with and those without together.
        progress: Told how far it is.
        parts: What the mechanism is made of; None = what training uses.

    Raises:
        UnsuitableData: Fewer than 20 canaries, or all coins fell on one side.
    """
    decided = statistics(plan.mechanisms)
    included = _coins(canaries)
    outcomes = dirac_outcomes(policy, plan, included, parts or Parts(), progress)
    bounds = [
        bound
        for statistic in decided
        for bound in lower_bounds(
            statistic.score(outcomes),
            included,
            statistic.thresholds,
            name=statistic.name,
            delta=plan.delta,
            level=LEVEL * statistic.share,
        )
    ]
    return _beside_the_claim(DIRAC, canaries, bounds, plan)


def audit_images(policy: Policy, plan: PrivacyPlan, canaries: int, progress: Progress) -> tuple[Finding, ...]:
    """Image canaries in one training run. They depend on each other through the network: no Gaussian bound.

    Raises:
        UnsuitableData: Fewer than 20 canaries, or all coins fell on one side.
    """
    included = _coins(canaries)
    scores = image_scores(policy, included, OsNoise(), progress)
    bounds = lower_bounds(scores, included, (), name="loss", delta=plan.delta, level=LEVEL, independent=False)
    return _beside_the_claim(IMAGE, canaries, bounds, plan)


def _beside_the_claim(kind: str, canaries: int, bounds: Sequence[LowerBound], plan: PrivacyPlan) -> tuple[Finding, ...]:
    """A bound on mu refutes the claim only past the mu that the plan itself has at every rate from 0.1 to 99.9 %.

    Sampled steps have less mu there than (epsilon, delta) alone would allow; where it is more, more is claimed.
    """
    gaussian = max(plan.epsilon, epsilon_of_mu(risk_of(plan.mechanisms)["mu"], plan.delta))
    return tuple(Finding(kind, canaries, b, plan.epsilon if b.mu is None else gaussian) for b in bounds)


def audit_mechanism(policy: Policy, *, canaries: int, image_canaries: int, progress: Progress) -> MechanismAudit:
    """Audit the mechanism that a policy asks for, on simulated patients.

    Args:
        policy: A checked policy; its cohort is never opened.
        canaries: Dirac canaries.
        image_canaries: Image canaries; 0 leaves them out.
        progress: Told how far it is.

    Raises:
        PolicyError: The policy makes no claim.
        UnsuitableData: Too few canaries.
    """
    progress.stage("planning")
    plan = claimed_plan(policy)
    findings = audit_dirac(policy, plan, canaries, progress)
    if image_canaries:
        findings += audit_images(policy, plan, image_canaries, progress)
    expected = expected_bound(plan.mechanisms, canaries, plan.delta)
    return MechanismAudit(plan.epsilon, plan.delta, findings, expected)


def _coins(canaries: int) -> Coins:
    """Fair coins of the operating system: what the guesses are scored against is no function of a seed."""
    included = OsNoise().bernoulli(canaries, 0.5)
    if canaries < FEWEST or not 0 < int(np.sum(included)) < canaries:
        raise UnsuitableData(f"{canaries} canaries tell nothing", fix=f"Use at least {FEWEST}, better 1000.")
    return included

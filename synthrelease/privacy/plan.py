"""The plan: sampler, clip norms, noise and accounted mechanisms in one frozen value, so that they cannot disagree.

Everything in it is public: it follows from the policy alone, never from the cohort.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from synthrelease.errors import PolicyError
from synthrelease.policy.schema import Privacy
from synthrelease.privacy.accounting import Mechanism, epsilon_of
from synthrelease.privacy.calibration import GRADIENT_STEPS, calibrate
from synthrelease.records.digests import digest_of


@dataclass(frozen=True)
class Query:
    """A full-batch sum to release once: what one patient may add, and its share of the moments' budget.

    Attributes:
        clip_norm: Bound on the L2 norm of one patient's vector; a public constant.
        share: Relative share of squared mu among the queries.
    """

    clip_norm: float
    share: float


@dataclass(frozen=True)
class GaussianRelease:
    """A mechanism with the sensitivity that it is accounted for."""

    mechanism: Mechanism
    clip_norm: float

    def __post_init__(self) -> None:
        if not 0 < self.clip_norm < 1e12:
            raise ValueError(f"{self.mechanism.name}: clip norm {self.clip_norm}")


@dataclass(frozen=True)
class PrivacyPlan:
    """Everything that fixes the guarantee.

    Attributes:
        target_epsilon: What the policy asks for.
        epsilon: What the plan costs when run to its end; at most the target.
        delta: At this delta.
        releases: Every mechanism of the run, in order.
        expected_patients: Public constant that normalises sums; the number of training patients is used nowhere.
        images_per_visit: Images of a drawn patient averaged before clipping.
        noise_draws: Random draws per image averaged before clipping.
    """

    target_epsilon: float
    epsilon: float
    delta: float
    releases: tuple[GaussianRelease, ...]
    expected_patients: int
    images_per_visit: int
    noise_draws: int

    @property
    def mechanisms(self) -> tuple[Mechanism, ...]:
        """What the accountant composes."""
        return tuple(release.mechanism for release in self.releases)

    def release(self, name: str) -> GaussianRelease:
        """The release of that name.

        Raises:
            KeyError: The plan has none: nothing outside the plan may touch real data.
        """
        for release in self.releases:
            if release.mechanism.name == name:
                return release
        raise KeyError(f"the privacy plan has no release {name}")

    @property
    def steps(self) -> int:
        """Gradient steps; 0 where the plan holds closed-form releases only."""
        return sum(m.steps for m in self.mechanisms if m.name == GRADIENT_STEPS)

    @property
    def normaliser(self) -> float:
        """Expected patients in a step, q times the public constant: the denominator of the noisy gradient sum."""
        return self.release(GRADIENT_STEPS).mechanism.sampling_probability * self.expected_patients

    def to_json(self) -> dict[str, Any]:
        """As ``plan.json``, the account and the ledger hold it."""
        return {
            "unit": "patient",
            "adjacency": "add or remove one patient",
            "target_epsilon": self.target_epsilon,
            "epsilon": self.epsilon,
            "delta": self.delta,
            "releases": [{**r.mechanism.to_json(), "clip_norm": r.clip_norm} for r in self.releases],
            "expected_patients": self.expected_patients,
            "images_per_visit": self.images_per_visit,
            "noise_draws": self.noise_draws,
        }

    @property
    def digest(self) -> str:
        """SHA-256 of the plan."""
        return digest_of(self.to_json())


def plan_privacy(privacy: Privacy, queries: Mapping[str, Query], *, gradient_steps: bool) -> PrivacyPlan:
    """Calibrate the policy's privacy section to its target.

    Args:
        privacy: Section of the policy, mode ``private``.
        queries: Full-batch releases by name.
        gradient_steps: Whether the generator has a network that is stepped on real images; the closed form has none
            and then gets the whole budget.

    Raises:
        PolicyError: A value is missing, or the target cannot be met.
    """
    missing = [name for name in ("epsilon", "delta", "expected_patients") if getattr(privacy, name) is None]
    if privacy.mode != "private" or missing:
        raise PolicyError(
            f"privacy.mode {privacy.mode} without {', '.join(missing) or 'a claim'} cannot be planned",
            fix="Give privacy.epsilon, privacy.delta and privacy.expected_patients with mode: private.",
        )
    assert privacy.epsilon is not None
    assert privacy.delta is not None
    assert privacy.expected_patients is not None
    if privacy.delta > 1 / privacy.expected_patients:
        raise PolicyError(
            f"privacy.delta {privacy.delta} is too large for about {privacy.expected_patients} patients",
            fix=f"Use a delta well below one over the number of patients, such as {0.1 / privacy.expected_patients:.0e}.",
        )
    steps = privacy.steps if gradient_steps else 0
    mechanisms = calibrate(
        epsilon=privacy.epsilon,
        delta=privacy.delta,
        shares={name: query.share for name, query in queries.items()},
        moments_share=privacy.moments_share,
        sampling_probability=privacy.sampling_probability,
        steps=steps,
    )
    clip_norms = {**{name: query.clip_norm for name, query in queries.items()}, GRADIENT_STEPS: privacy.clip_norm}
    return PrivacyPlan(
        target_epsilon=privacy.epsilon,
        epsilon=epsilon_of(mechanisms, privacy.delta),
        delta=privacy.delta,
        releases=tuple(GaussianRelease(m, clip_norms[m.name]) for m in mechanisms),
        expected_patients=privacy.expected_patients,
        images_per_visit=privacy.images_per_visit,
        noise_draws=privacy.noise_draws,
    )

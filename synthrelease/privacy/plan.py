"""The plan: sampler, clip norms, noise and accounted mechanisms in one frozen value, so that they cannot disagree.

Everything in it is public: it follows from the policy alone, never from the cohort.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from synthrelease.errors import PolicyError
from synthrelease.policy.delta import largest_delta
from synthrelease.policy.schema import Privacy
from synthrelease.privacy.accounting import Mechanism, epsilon_of
from synthrelease.privacy.calibration import calibrate
from synthrelease.privacy.names import GRADIENT_STEPS, steps_of
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
        step_groups: By mechanism name, the players whose gradients are clipped and noised as one vector; empty for closed
            forms. Groups have one q and one number of steps, and each draws its own patients: shared draws would
            not be the composition that is accounted.
        backend: Engine of the clipping; no part of the guarantee.
    """

    target_epsilon: float
    epsilon: float
    delta: float
    releases: tuple[GaussianRelease, ...]
    expected_patients: int
    images_per_visit: int
    noise_draws: int
    step_groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    backend: Literal["fast", "vmap", "opacus"] = "fast"

    def __post_init__(self) -> None:
        names = [m.name for m in self.mechanisms]
        if len(set(names)) != len(names):
            raise ValueError("two releases of the plan have one name")
        players = [player for group in self.step_groups.values() for player in group]
        if not all(self.step_groups.values()) or len(set(players)) != len(players):
            raise ValueError(f"every player belongs to exactly one group of steps, got {dict(self.step_groups)}")
        if len({(m.sampling_probability, m.steps) for m in self.stepped}) > 1:
            raise ValueError("groups of steps differ in sampling probability or number of steps")

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
    def stepped(self) -> tuple[Mechanism, ...]:
        """The mechanisms of the gradient steps, one for each group; empty for closed forms.

        Raises:
            KeyError: A group has no release.
        """
        return tuple(self.release(name).mechanism for name in self.step_groups)

    def group_of(self, player: str) -> str:
        """Name of the mechanism that noises a player's gradient.

        Raises:
            KeyError: The plan has no steps for this player, so it may not see real data.
        """
        for name, players in self.step_groups.items():
            if player in players:
                return name
        raise KeyError(f"the privacy plan has no steps for the player {player}")

    @property
    def steps(self) -> int:
        """Gradient steps of every group; 0 where the plan holds closed-form releases only."""
        return max((m.steps for m in self.stepped), default=0)

    @property
    def normaliser(self) -> float:
        """Expected patients in a step, q times the public constant: the denominator of every noisy gradient sum.

        Raises:
            ValueError: The plan has no gradient steps.
        """
        if not self.step_groups:
            raise ValueError("a plan without gradient steps has no normaliser")
        return self.stepped[0].sampling_probability * self.expected_patients

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
            "step_groups": {name: list(players) for name, players in self.step_groups.items()},
            "backend": self.backend,
        }

    @property
    def digest(self) -> str:
        """SHA-256 of the plan."""
        return digest_of(self.to_json())


def step_shares(privacy: Privacy, players: tuple[str, ...]) -> dict[str, tuple[float, tuple[str, ...]]]:
    """Groups of players that are clipped and noised together: mechanism name -> share of the steps' budget, players.

    Args:
        privacy: Section of the policy.
        players: Names of the networks that see real images.

    Raises:
        PolicyError: privacy.player_shares does not name exactly these players.
    """
    if not players or privacy.steps == 0:
        return {}
    shares = privacy.player_shares
    if shares is not None and set(shares) != set(players):
        raise PolicyError(
            f"privacy.player_shares names {', '.join(sorted(shares))}; this generator trains {', '.join(players)} on real "
            "images",
            fix="Give a share to exactly these networks, or leave player_shares out for equal shares.",
        )
    if privacy.clipping == "joint" or len(players) == 1:
        return {GRADIENT_STEPS: (1.0, players)}
    return {steps_of(player): (1 / len(players) if shares is None else shares[player], (player,)) for player in players}


def plan_privacy(privacy: Privacy, queries: Mapping[str, Query], *, players: tuple[str, ...]) -> PrivacyPlan:
    """Calibrate the policy's privacy section to its target.

    Args:
        privacy: Section of the policy, mode ``private``.
        queries: Full-batch releases by name.
        players: Networks of the generator that are stepped on real images; a closed form has none, and its queries then
            get the whole budget.

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
    largest = largest_delta(privacy.expected_patients)
    if privacy.delta > largest:
        raise PolicyError(
            f"privacy.delta {privacy.delta} is too large for about {privacy.expected_patients} patients",
            fix=f"Give a delta of at most 1/(10 * expected_patients) = {largest:.1e}.",
        )
    groups = step_shares(privacy, players)
    mechanisms = calibrate(
        epsilon=privacy.epsilon,
        delta=privacy.delta,
        shares={name: query.share for name, query in queries.items()},
        moments_share=privacy.moments_share,
        sampling_probability=privacy.sampling_probability,
        steps=privacy.steps if groups else 0,
        step_shares={name: share for name, (share, _) in groups.items()},
    )
    clip_norms = {
        **{name: query.clip_norm for name, query in queries.items()},
        **dict.fromkeys(groups, privacy.clip_norm),
    }
    return PrivacyPlan(
        target_epsilon=privacy.epsilon,
        epsilon=epsilon_of(mechanisms, privacy.delta),
        delta=privacy.delta,
        releases=tuple(GaussianRelease(m, clip_norms[m.name]) for m in mechanisms),
        expected_patients=privacy.expected_patients,
        images_per_visit=privacy.images_per_visit,
        noise_draws=privacy.noise_draws,
        step_groups={name: together for name, (_, together) in groups.items()},
        backend=privacy.backend,
    )

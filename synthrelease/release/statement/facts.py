"""What a statement tells, as plain values: the one source of its three forms."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from synthrelease.release.statement.precedents import PRECEDENTS, Precedent

SCHEMA = "synthrelease.statement/1"


@dataclass(frozen=True)
class Product:
    """What was made, from the policy.

    Attributes:
        release: Name of the release.
        run: Name of the run.
        purpose: What the archive is for.
        curator: Custodian of the cohort, by name.
        cohort: Public name of the cohort.
        simulated: Whether its patients were invented by the simulator.
        content: Modality, body part, resolution in one line.
        classes: Public list of classes.
        segments: Names of masks.
        images: Synthetic images in the archive.
        generator: Name of the generator.
        identity: How two images are known to be one patient's, a sentence.
        tier: open, registered, controlled or internal.
        recipients: In words.
        agreement: Identifier of the sharing agreement; may be empty.
        contact: Whom a recipient may ask.
    """

    release: str
    run: str
    purpose: str
    curator: str
    cohort: str
    simulated: bool
    content: str
    classes: tuple[str, ...]
    segments: tuple[str, ...]
    images: int
    generator: str
    identity: str
    tier: str
    recipients: tuple[str, ...]
    agreement: str
    contact: str


@dataclass(frozen=True)
class MechanismFact:
    """One Gaussian mechanism as it ran.

    Attributes:
        name: What it releases.
        noise_multiplier: Standard deviation of the noise over the clip norm.
        clip_norm: Bound on one patient's contribution; None where the record does not tell.
        sampling_probability: Chance of each patient to take part in one step.
        steps: Uses that were executed.
        planned_steps: Uses that were reserved; None where the record does not tell.
    """

    name: str
    noise_multiplier: float
    clip_norm: float | None
    sampling_probability: float
    steps: int
    planned_steps: int | None


@dataclass(frozen=True)
class CrossCheck:
    """The second accountant's figure, from the training record."""

    accountant: str
    epsilon: float
    agrees: bool


@dataclass(frozen=True)
class Guarantee:
    """The claim of one run.

    Attributes:
        epsilon: As recorded, and recomputed for the statement.
        delta: Chance that the bound does not hold.
        target_epsilon: What the policy asked for.
        unit: Unit of privacy.
        adjacency: What neighbouring cohorts differ by.
        replace_one_epsilon: The same run under replace-one adjacency.
        accountant: Method, in words.
        accountant_version: Of the library that recomputed it.
        cross_check: By another accountant; None where none was recorded.
        mechanisms: Everything that read the cohort on behalf of the release.
        risk: See :func:`synthrelease.privacy.risk.risk_of`.
        strength: What the bounds amount to in the worst case, a sentence or two.
        weakened_by: Rules that the policy gave up, each with what that costs.
    """

    epsilon: float
    delta: float
    target_epsilon: float | None
    unit: str
    adjacency: str
    replace_one_epsilon: float
    accountant: str
    accountant_version: str
    cross_check: CrossCheck | None
    mechanisms: tuple[MechanismFact, ...]
    risk: dict[str, Any]
    strength: str
    weakened_by: tuple[str, ...]


@dataclass(frozen=True)
class Spending:
    """What all runs on the cohort cost together, at the time of the statement.

    Attributes:
        runs: Runs that count, this one among them.
        unsettled: Those of them that crashed or are running; they count in full.
        delta: Figures hold at this delta.
        epsilon: All runs on the cohort; None when one had no privacy.
        together: The same with the cohorts that share patients.
        overlapping: Names of these cohorts.
        unknown: Names of cohorts of which it cannot be told.
        overlap_told: False where the three fields above were withheld: that two cohorts share a patient is a fact about
            patients, which no epsilon covers, so it stays in the house.
        cap: The custodian's cap (epsilon, delta); None where none is set.
        policy_cap: The policy's lifetime epsilon; None where there is none.
    """

    runs: int
    unsettled: int
    delta: float
    epsilon: float | None
    together: float | None
    overlapping: tuple[str, ...]
    unknown: tuple[str, ...]
    cap: tuple[float, float] | None
    policy_cap: float | None
    overlap_told: bool = True

    def for_others(self) -> Spending:
        """What may leave the house: the cohort's own ledger, which follows from mechanisms alone."""
        return replace(self, together=None, overlapping=(), unknown=(), overlap_told=False)


@dataclass(frozen=True)
class Scope:
    """What the claim covers and assumes, in words."""

    covers: tuple[str, ...]
    does_not_cover: tuple[str, ...]
    trust: str
    sampling: str
    noise: str
    floating_point: str
    tuning: str


@dataclass(frozen=True)
class Statement:
    """The whole statement.

    Attributes:
        stated_on: Date, YYYY-MM-DD.
        released_on: Date of the release; None before it.
        product: What was made.
        guarantee: The claim; None for a run without privacy.
        spending: From the cohort's ledger; None where none was at hand.
        scope: What the claim covers.
        precedents: Other published deployments in health, for context.
        digests: SHA-256 of training.json, and the policy's digest.
        versions: Of synthrelease, as it stated this and as it trained.
    """

    stated_on: str
    released_on: str | None
    product: Product
    guarantee: Guarantee | None
    spending: Spending | None
    scope: Scope
    digests: dict[str, str]
    versions: dict[str, str]
    precedents: tuple[Precedent, ...] = PRECEDENTS

    def for_others(self) -> Statement:
        """The statement as it may be handed on."""
        return self if self.spending is None else replace(self, spending=self.spending.for_others())

    def to_json(self) -> dict[str, Any]:
        """As plain values, figures in full precision."""
        return {"schema": SCHEMA, "claimed": self.guarantee is not None, **asdict(self)}

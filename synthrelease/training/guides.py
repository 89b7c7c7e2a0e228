"""A guide that another run trained: whether it may steer this one.

Latent class optimisation with a guide that learned from patients without privacy is model inversion: it searches, inside a
generator, for the image that a classifier of those patients answers to most. However private the generator is, what is
found tells of the patients through the guide. A private run therefore takes a guide of simulated patients only, or trains
its own, which its plan pays for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from synthrelease.errors import IntegrityError, PolicyError, UsageError
from synthrelease.generators.protocol import Generator
from synthrelease.generators.registry import WEIGHTS, load_generator
from synthrelease.policy.findings import finding_names
from synthrelease.policy.generators import PgganGenerator
from synthrelease.policy.loader import policy_from
from synthrelease.policy.schema import Policy
from synthrelease.records.digests import digest_of_file
from synthrelease.records.files import read_json
from synthrelease.records.runs import Run

OWN = ("trained", "moments")


@runtime_checkable
class Guided(Protocol):
    """A generator that is steered by a classifier and can be given one."""

    def guide_state(self) -> dict[str, Tensor]:
        """The classifier's tensors, by name."""
        ...

    def take_guide(self, state: Mapping[str, Tensor]) -> None:
        """Put in a classifier's tensors; it is not trained any more.

        Raises:
            IntegrityError: They do not fit.
        """
        ...


@dataclass(frozen=True)
class TakenGuide:
    """A guide with where it comes from.

    Attributes:
        tensors: Its weights.
        provenance: ``public`` (simulated patients), ``dp`` or ``private internal``, the digest of the run's training.json,
            and its claim.
    """

    tensors: Mapping[str, Tensor]
    provenance: dict[str, Any]

    def give(self, generator: Generator) -> None:
        """Put the guide into a generator.

        Raises:
            IntegrityError: It has another shape.
        """
        assert isinstance(generator, Guided)
        generator.take_guide(self.tensors)


def guide_told(policy: Policy, taken: TakenGuide | None) -> dict[str, Any] | None:
    """What the training record tells of the guide; None where the generator has none."""
    settings = policy.generator
    if not isinstance(settings, PgganGenerator):
        return None
    return {"kind": settings.guide} if taken is None else taken.provenance


def taken_guide(policy: Policy) -> TakenGuide | None:
    """The guide that a policy takes from another run; None when it trains its own.

    Raises:
        UsageError: There is no such run, or it trained no guide.
        PolicyError: Its guide would void this run's claim, or sorts images into other findings.
        IntegrityError: Its files contradict each other.
    """
    settings = policy.generator
    if not isinstance(settings, PgganGenerator) or settings.guide in OWN:
        return None
    run = Run(Path(settings.guide))
    if not run.training.exists():
        raise UsageError(
            f"generator.guide: {settings.guide} is neither one of {', '.join(OWN)} nor the folder of a trained run",
            fix="Name a run's folder, runs/NAME, or train a guide with this generator (guide: trained).",
        )
    record = run.read(run.training, "train")
    other = policy_from(read_json(run.policy))
    public = other.cohort.source == "phantom"
    if policy.privacy.mode == "private" and not public:
        raise PolicyError(
            f"generator.guide: {settings.guide} learned from patients outside of this run's claim. Steering a private "
            "generator by it is model inversion: latents are moved until the classifier of those patients answers, and what "
            "comes out tells of them, however private the generator is",
            fix="Use guide: trained (paid for by this plan), guide: moments (free), or a run on simulated patients.",
        )
    if record["digests"]["generator"] != digest_of_file(run.require(run.checkpoint / WEIGHTS, "train")):
        raise IntegrityError(
            "the run that generator.guide names has another generator than its training.json",
            fix="Restore both from a copy, or train that run again.",
        )
    if (finding_names(other.cohort), other.cohort.resolution) != (
        finding_names(policy.cohort),
        policy.cohort.resolution,
    ):
        raise PolicyError(
            f"generator.guide: {settings.guide} knows {', '.join(finding_names(other.cohort))} at "
            f"{other.cohort.resolution} px; this policy asks for {', '.join(finding_names(policy.cohort))} at "
            f"{policy.cohort.resolution} px",
            fix="Take a guide of the same findings and resolution.",
        )
    generator = load_generator(run.checkpoint)
    if not isinstance(generator, Guided):
        raise UsageError(
            f"generator.guide: the run {settings.guide} trained a generator without a guide",
            fix="Name a run of the generator pggan.",
        )
    claim = record["privacy"]
    kind = "public" if public else "dp" if claim["epsilon"] is not None else "private internal"
    told = {"epsilon": claim["epsilon"], "delta": claim["delta"]} if kind == "dp" else {}
    return TakenGuide(generator.guide_state(), {"kind": kind, "training": digest_of_file(run.training), **told})

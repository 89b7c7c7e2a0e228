"""A guide that another run trained: whether it may steer this one.

Latent class optimisation with a guide that learned from patients without privacy is model inversion: it searches, inside a
generator, for the image that a classifier of those patients answers to most. However private the generator is, what is
found tells of the patients through the guide. A private run therefore takes a guide of simulated patients only, or trains
its own, which its plan pays for. A guide may be handed on from run to run: what counts is where it was trained, and not on
whose patients it was used last. Even one under a claim is refused, since that claim is of other patients, or of the same
and not in this plan.
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
from synthrelease.policy.loader import policy_digest, policy_from
from synthrelease.policy.places import OWN_GUIDES
from synthrelease.policy.schema import Policy
from synthrelease.records.digests import digest_of_file
from synthrelease.records.files import read_json
from synthrelease.records.runs import Run

KINDS = ("public", "dp", "private internal")
"""What a guide tells of patients, least first: nothing, what an epsilon bounds, anything."""


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
        provenance: ``public`` (simulated patients only), ``dp`` with its claim, or ``private internal``: the most private
            along the chain of runs that handed it on; and the digest of the named run's training.json.
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
    if not isinstance(settings, PgganGenerator) or settings.guide in OWN_GUIDES:
        return None
    run = Run(Path(settings.guide))
    if not run.training.exists():
        raise UsageError(
            f"generator.guide: {settings.guide} is neither one of {', '.join(OWN_GUIDES)} nor the folder of a trained run",
            fix="Name a run's folder, runs/NAME, or train a guide with this generator (guide: trained).",
        )
    record, other = _unchanged(run)
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
    if not isinstance(other.generator, PgganGenerator):
        raise UsageError(
            f"generator.guide: the run {settings.guide} trained a generator without a guide",
            fix="Name a run of the generator pggan.",
        )
    told = _told(other, other.generator.guide, record)
    if policy.privacy.mode == "private" and told["kind"] != "public":
        raise PolicyError(
            f"generator.guide: {settings.guide} learned from patients outside of this run's claim. Steering a private "
            "generator by it is model inversion: latents are moved until the classifier of those patients answers, and what "
            "comes out tells of them, however private the generator is",
            fix="Use guide: trained (paid for by this plan), guide: moments (free), or a run on simulated patients.",
        )
    generator = load_generator(run.checkpoint)
    assert isinstance(generator, Guided)
    return TakenGuide(generator.guide_state(), {**told, "training": digest_of_file(run.training)})


def _unchanged(run: Run) -> tuple[dict[str, Any], Policy]:
    """The training record and the policy of a run, which say what its guide learned from.

    Raises:
        IntegrityError: One of them or the generator is not what the run left.
    """
    record, policy = run.read(run.training, "train"), policy_from(run.read(run.policy, "train"))
    generator = digest_of_file(run.require(run.checkpoint / WEIGHTS, "train"))
    for part, digest in {"policy": policy_digest(policy), "generator": generator}.items():
        if record["digests"][part] != digest:
            raise IntegrityError(
                f"the run that generator.guide names has another {part} than its training.json",
                fix="Restore both from a copy, or train that run again.",
            )
    if read_json(run.checkpoint / run.training.name) != record:
        raise IntegrityError(
            "the run that generator.guide names has another training.json than its checkpoint",
            fix="Restore both from a copy, or train that run again.",
        )
    return record, policy


def _told(policy: Policy, guide: str, record: Mapping[str, Any]) -> dict[str, Any]:
    """What a run's guide tells of: the most private of the run's own patients and of those that its guide came from.

    Args:
        policy: Of the run.
        guide: Its ``generator.guide``.
        record: Its training.json.

    Raises:
        IntegrityError: The record does not say where the guide came from, or not what the policy says.
    """
    came = dict(record.get("guide") or {})
    if came.get("kind") not in ((guide,) if guide in OWN_GUIDES else KINDS):
        raise IntegrityError(
            "the training.json of the run that generator.guide names does not say where its guide came from",
            fix="Restore it from a copy, or train that run again.",
        )
    claim = record["privacy"]
    if policy.cohort.source == "phantom":
        own = {"kind": "public"}
    elif claim["epsilon"] is None:
        own = {"kind": "private internal"}
    else:
        own = {"kind": "dp", "epsilon": claim["epsilon"], "delta": claim["delta"]}
    return own if guide in OWN_GUIDES else max(own, came, key=lambda each: KINDS.index(each["kind"]))

"""From a policy to the plan of its run: shapes, sensitivities and noise, all before any data is read."""

from __future__ import annotations

from synthrelease.generators.moments.basis import Basis
from synthrelease.generators.protocol import Spec
from synthrelease.generators.registry import players_on_real_images
from synthrelease.policy.findings import finding_names, target_table
from synthrelease.policy.generators import UmGenerator
from synthrelease.policy.schema import Policy
from synthrelease.privacy.plan import PrivacyPlan, plan_privacy
from synthrelease.training.moments import queries
from synthrelease.training.patients import FewMasks


def spec_of(policy: Policy) -> Spec:
    """Shape of what the policy's generator makes."""
    cohort = policy.cohort
    return Spec(
        resolution=cohort.resolution,
        classes=len(cohort.classes),
        segments=len(cohort.segments),
        targets=target_table(cohort),
        findings=finding_names(cohort),
    )


def few_masks_of(policy: Policy) -> FewMasks | None:
    """Which patients' masks the policy's generator uses; None: it needs and uses all."""
    settings = policy.generator
    return FewMasks(settings.labelled_share, settings.seed) if isinstance(settings, UmGenerator) else None


def plan_of(policy: Policy) -> PrivacyPlan | None:
    """The privacy plan of a policy's run, calibrated (about two seconds); None where it makes no claim.

    Raises:
        PolicyError: The target cannot be met.
    """
    if policy.privacy.mode == "none":
        return None
    basis = Basis(spec_of(policy), policy.generator)
    some_masks = bool(policy.cohort.segments) and few_masks_of(policy) is not None
    return plan_privacy(
        policy.privacy,
        queries(basis, some_masks=some_masks),
        players=players_on_real_images(policy.generator),
    )

"""training.json: what was trained, under which guarantee, in numbers that anybody can recompute.

Public: nothing in it depends on the private archive except through the mechanisms it lists.
"""

from __future__ import annotations

import platform
from importlib.metadata import version
from typing import Any

import torch

from synthrelease.policy.generators import Stepped
from synthrelease.policy.schema import Policy
from synthrelease.policy.strict import relaxed
from synthrelease.privacy.account import Account
from synthrelease.privacy.accounting import ACCOUNTANT, epsilon_of
from synthrelease.privacy.cross_check import prv_epsilon
from synthrelease.privacy.risk import risk_of
from synthrelease.privacy.scope import ADJACENCY, AGREEMENT, FLOATING_POINT, NOISE, NOT_COVERED
from synthrelease.training.checkpoint import Position, RunIdentity

TRAINING_SCHEMA = "synthrelease.training/1"


def privacy_of(policy: Policy, account: Account | None) -> dict[str, Any]:
    """The claim and all that it rests on.

    Returns:
        unit, adjacency, epsilon, delta, accountant, mechanisms as run and as planned, a second accountant's figure and
        whether it lies within 0.02, bounds on attackers; the target and the plan. Without a claim: epsilon None and no
        mechanism.
    """
    if account is None:
        return {
            "mode": "none",
            "unit": "patient",
            "epsilon": None,
            "delta": None,
            "accountant": None,
            "mechanisms": [],
            "statement": "No privacy guarantee: nothing bounds what the generator tells of a patient.",
        }
    plan = account.plan
    mechanisms = account.mechanisms()
    epsilon = epsilon_of(mechanisms, plan.delta)
    second = prv_epsilon(mechanisms, plan.delta)
    return {
        "mode": "private",
        "unit": "patient",
        "adjacency": ADJACENCY,
        "epsilon": epsilon,
        "target_epsilon": plan.target_epsilon,
        "delta": plan.delta,
        "accountant": ACCOUNTANT,
        "mechanisms": [m.to_json() for m in mechanisms],
        "planned": [m.to_json() for m in plan.mechanisms],
        "step_groups": {name: list(players) for name, players in plan.step_groups.items()},
        "backend": plan.backend,
        "clip_norms": {r.mechanism.name: r.clip_norm for r in plan.releases},
        "prv_cross_check": {
            "accountant": "PRV (Opacus), with its error bound added",
            "epsilon": second,
            "agrees": abs(second - epsilon) <= AGREEMENT,
        },
        "risk": risk_of(mechanisms),
        "expected_patients": plan.expected_patients,
        "images_per_visit": plan.images_per_visit,
        "noise_draws": plan.noise_draws,
        "does_not_cover": list(NOT_COVERED),
        "noise": NOISE,
        "floating_point": FLOATING_POINT,
        "weakened_by": list(relaxed(policy)),
        "lifetime_epsilon": policy.privacy.lifetime_epsilon,
        "plan_digest": plan.digest,
    }


def training_record(
    policy: Policy,
    identity: RunIdentity,
    account: Account | None,
    position: Position,
    *,
    generator_digest: str,
    sums_digest: str | None = None,
    guide: dict[str, Any] | None = None,
    guidance: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """The record of a finished run.

    ``sums_digest`` binds the released sums, which shares of classes may be drawn from. ``guide`` tells where the classifier
    comes from that its samples are steered by, ``guidance`` where the maps come from that they are painted after.
    """
    packages = ("synthrelease", "torch", "numpy", "scipy", "dp-accounting", "opacus", "safetensors")
    settings = policy.generator
    return {
        "schema": TRAINING_SCHEMA,
        "run": identity.run,
        "generator": settings.name,
        **({"guide": guide} if guide else {}),
        **({"guidance": guidance} if guidance else {}),
        "privacy": privacy_of(policy, account),
        "steps": {
            "warm_up": settings.warmup_steps if isinstance(settings, Stepped) and account else 0,
            "finished": position.step,
            "lost_to_interruptions": position.lost,
        },
        "seeds": {"weights_and_warm_up": getattr(settings, "seed", None), "privacy_noise": None},
        "digests": {
            "policy": identity.policy_digest,
            "generator": generator_digest,
            **({"sums": sums_digest} if sums_digest else {}),
        },
        "versions": {"python": platform.python_version(), **{name: version(name) for name in packages}},
        "threads": torch.get_num_threads(),
    }

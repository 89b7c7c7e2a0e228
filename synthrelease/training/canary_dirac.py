"""Dirac canaries through everything a plan pays for: full sums and gradient steps, by the code that trains.

Only the crowd is simulated and the network has a probe beside it. Store, patient sampler, draw of images, clipping,
Gaussian sums, noise and account are those of training; a test may put a broken one in their place, to see that the
audit notices.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt
import torch

from synthrelease.errors import PolicyError
from synthrelease.generators.moments.basis import Basis
from synthrelease.generators.protocol import Player, Spec
from synthrelease.generators.registry import build
from synthrelease.policy.schema import Policy
from synthrelease.privacy.account import Account
from synthrelease.privacy.clipping import Backend
from synthrelease.privacy.mechanism import gaussian_sum
from synthrelease.privacy.noise import NoiseSource, OsNoise
from synthrelease.privacy.plan import PrivacyPlan
from synthrelease.records.progress import Progress
from synthrelease.training import moments
from synthrelease.training.backends import TRIAL_ROWS, backend_for
from synthrelease.training.canaries import Planted, WithCanaries, coordinates, with_probe
from synthrelease.training.canary_phantoms import phantom_store
from synthrelease.training.loop import Stepper, groups_of, no_images, private_gradient, step_together
from synthrelease.training.patients import Images, Rows, TrainingPatients
from synthrelease.training.planning import spec_of

Array = npt.NDArray[np.float64]
Coins = npt.NDArray[np.bool_]

PHANTOMS = 100
LEARNING_RATE = 1e-3
"""Of the network between steps; what it learns does not reach the canaries' coordinates."""
ROWS = 64


def _account(path: Path, plan: PrivacyPlan) -> Account:
    return Account(path, plan, "0" * 64, resume=False)


@dataclass(frozen=True)
class Parts:
    """What an audited mechanism is made of.

    Attributes:
        noise: Patient draws, entropy and noise of the mechanism; coins of the audit come from elsewhere.
        patients: Makes training patients of a store: (store, indices, segments).
        account: Opens the account of a plan at a path.
        probed: Gives a player the canaries' coordinates; see :func:`with_probe`.
        isolated: Whether networks are tried beforehand, and refused when they mix patients, as training does.
    """

    noise: NoiseSource = field(default_factory=OsNoise)
    patients: Callable[[Images, Rows, int], TrainingPatients] = TrainingPatients
    account: Callable[[Path, PrivacyPlan], Account] = _account
    probed: Callable[[Player, int, int, float], Player] = with_probe
    isolated: bool = True


def dirac_outcomes(
    policy: Policy, plan: PrivacyPlan, included: Coins, parts: Parts, progress: Progress
) -> dict[str, Array]:
    """Run everything in the plan once, on phantoms and the canaries that take part.

    Args:
        policy: Gives shapes, basis and network; its cohort is not looked at.
        plan: What is run, to its last step.
        included: (m,) the coins.
        parts: What it is run with.
        progress: Told of sums and steps.

    Returns:
        For each mechanism of the plan (uses, m): what came out on each canary's coordinate, in clip norms.

    Raises:
        PolicyError: A network mixes patients, or the plan has a release that the audit does not know.
    """
    spec = spec_of(policy)
    phantoms = phantom_store(spec, PHANTOMS, policy.cohort.phantom.seed)
    planted = Planted(spec.classes + np.flatnonzero(included).astype(np.int64))
    shape = (spec.segments, spec.resolution, spec.resolution)
    store = WithCanaries(phantoms, phantoms.patients, planted, shape)
    crowd = parts.patients(phantoms, phantoms.patients, spec.segments)
    birds = parts.patients(store, store.patients[PHANTOMS:], spec.segments)
    everybody = parts.patients(store, store.patients, spec.segments)
    with TemporaryDirectory() as folder:
        account = parts.account(Path(folder) / "account.jsonl", plan)
        outcomes = _sums(crowd, birds, policy, spec, len(included), account, parts.noise, progress)
        return outcomes | _steps(everybody, policy, spec, len(included), account, parts, progress)


def _sums(
    crowd: TrainingPatients,
    birds: TrainingPatients,
    policy: Policy,
    spec: Spec,
    canaries: int,
    account: Account,
    noise: NoiseSource,
    progress: Progress,
) -> dict[str, Array]:
    """The closed-form releases, each with one more coordinate for every canary."""
    plan, basis = account.plan, Basis(spec, policy.generator)
    D, K = basis.dimensions, spec.classes
    full = [r for r in plan.releases if r.mechanism.name not in plan.step_groups]
    for r in full:
        if (
            r.mechanism.name not in (moments.COUNTS, moments.MASKED, moments.SUMS, moments.SECOND)
            or r.mechanism.steps != 1
        ):
            raise PolicyError(
                f"the mechanism's audit does not know the release {r.mechanism.name}",
                fix="Audit a policy whose closed-form releases are the moments.",
            )
    progress.stage("canaries: sums", len(full))
    released: dict[str, Array] = {}
    outcomes: dict[str, Array] = {}

    def means() -> Array:
        sums = released[moments.SUMS].reshape(K, D)
        return moments.class_means(released[moments.COUNTS], sums, 1.0)

    makers: dict[str, tuple[int, Callable[[], Iterator[Array]]]] = {
        moments.COUNTS: (K, lambda: moments._counts(crowd, K)),
        moments.MASKED: (K, lambda: moments._counts(crowd, K, masked=True)),
        moments.SUMS: (K * D, lambda: moments._sums(crowd, basis, K)),
        moments.SECOND: (
            D * (D + 1) // 2,
            lambda: moments._second(crowd, basis, means(), moments.RESIDUAL_CLIP * basis.clip_norm),
        ),
    }
    for done, release in enumerate(full, start=1):
        name, size = release.mechanism.name, makers[release.mechanism.name][0]

        def blocks(name: str = name, size: int = size, loud: float = 1000 * release.clip_norm) -> Iterator[Array]:
            for block in makers[name][1]():
                yield np.hstack([block, np.zeros((len(block), canaries))])
            for start in range(0, len(birds), ROWS):
                # The label of the first image tells the canary: K + i is canary i.
                own = [int(birds.labels(birds.rows(p))[0]) - K for p in range(start, min(start + ROWS, len(birds)))]
                rows = np.zeros((len(own), size + canaries))
                rows[np.arange(len(own)), size + np.array(own)] = loud
                yield rows

        total = gaussian_sum(blocks(), size + canaries, name=name, account=account, noise=noise)
        released[name] = total[:size]
        outcomes[name] = total[None, size:] / release.clip_norm
        progress.step(done)
    return outcomes


def _steps(
    patients: TrainingPatients,
    policy: Policy,
    spec: Spec,
    canaries: int,
    account: Account,
    parts: Parts,
    progress: Progress,
) -> dict[str, Array]:
    """The gradient steps; a group of networks is read along the direction in which its canaries push."""
    plan = account.plan
    if not plan.steps:
        return {}
    players = tuple(
        parts.probed(p, spec.classes, canaries, plan.release(plan.group_of(p.name)).clip_norm)
        for p in build(policy.generator, spec).players()
        if p.sees_real
    )
    backends = {p.name: _backend(p, spec, plan) for p in players} if parts.isolated else {}
    groups = [
        tuple(Stepper(p, learning_rate=LEARNING_RATE, decay=0.0) for p in group) for group in groups_of(players, plan)
    ]
    gradient = private_gradient(patients, spec, account, parts.noise, seed=0, batch=1, backends=backends)
    outcomes = {name: np.zeros((plan.steps, canaries)) for name in plan.step_groups}
    progress.stage("canaries: gradient steps", plan.steps)
    for step in range(plan.steps):
        for group in groups:
            step_together(group, gradient, step)
            name = plan.group_of(group[0].player.name)
            # n networks clipped as one share the canary's C evenly: their coordinates together, over sqrt n.
            share = plan.normaliser / plan.release(name).clip_norm / np.sqrt(len(group))
            for stepper in group:
                outcomes[name][step] += share * coordinates(stepper.player, canaries)
        progress.step(step + 1)
    return outcomes


def _backend(player: Player, spec: Spec, plan: PrivacyPlan) -> Backend:
    """Refuse a network that mixes patients; how the gradients of another are computed, as training finds it."""
    rng = torch.Generator().manual_seed(0)
    # Two rows of an ordinary patient, then of two canaries.
    labels = torch.tensor([0, 0, spec.classes, spec.classes, spec.classes + 1, spec.classes + 1])
    inputs = player.draw(replace(no_images(spec, TRIAL_ROWS, rng), labels=labels), rng)
    return backend_for(player, inputs, plan.backend)[0]

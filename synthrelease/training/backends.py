"""How a player's gradients are computed under privacy: asked before a run is charged, and before its audit's first step."""

from __future__ import annotations

import torch

from synthrelease.errors import PolicyError
from synthrelease.generators.protocol import Generator, Growing, Inputs, Player, Spec
from synthrelease.privacy.clipping import BACKENDS, Backend
from synthrelease.privacy.gradients.trial import problem
from synthrelease.privacy.isolation import assert_patients_isolated
from synthrelease.privacy.plan import PrivacyPlan
from synthrelease.records.progress import Progress
from synthrelease.training.loop import groups_of, no_images

TRIAL_ROWS = 6
"""Rows of the trial: three patients with two each."""
INSTEAD: dict[Backend, Backend] = {"fast": "vmap"}
"""What is tried where a backend fails; one that was asked for by name and has no other is refused."""


def backend_for(player: Player, inputs: Inputs, wanted: Backend) -> tuple[Backend, str | None]:
    """Refuse a network that mixes patients; else the backend it gets, whose gradients are those of patients taken apart.

    Args:
        player: A network that sees real images.
        inputs: What its ``draw`` makes of ``TRIAL_ROWS`` public rows, a patient's two together.
        wanted: The plan's backend.

    Returns:
        The backend, and why it is not the wanted one.

    Raises:
        PolicyError: One patient reaches another's loss, or no backend that may be taken differentiates this network.
    """
    assert_patients_isolated(player.module, player.loss, inputs)
    by_patient = {name: value.reshape(-1, 2, *value.shape[1:]) for name, value in inputs.items()}
    backend, why = wanted, None
    while (found := problem(player.module, player.loss, by_patient, BACKENDS[backend])) is not None:
        if backend not in INSTEAD:
            raise PolicyError(
                f"privacy.backend: {backend} does not give the gradients of this generator's {player.name}: {found}",
                fix="Choose privacy.backend: fast (it takes vmap by itself where it has to) or vmap; where neither works, "
                "another loss of this generator.",
            )
        backend, why = INSTEAD[backend], found
    return backend, why


def backends_of(generator: Generator, spec: Spec, plan: PrivacyPlan, progress: Progress) -> dict[str, Backend]:
    """How the gradients of every player that sees real images are computed; the operator is told of what is slower.

    Args:
        generator: As it will be trained; one that grows is grown, since real images are met at full size only.
        spec: Its shapes.
        plan: Of the run; nothing has to be charged yet.
        progress: Told.

    Raises:
        PolicyError: As :func:`backend_for`, or the plan pays for other players.
    """
    if isinstance(generator, Growing):
        generator.grow(1.0)
    players = generator.players()
    groups_of(players, plan)
    rng = torch.Generator().manual_seed(0)
    backends: dict[str, Backend] = {}
    for player in players:
        if player.sees_real:
            inputs = player.draw(no_images(spec, TRIAL_ROWS, rng), rng)
            backends[player.name], why = backend_for(player, inputs, plan.backend)
            if why is not None:
                progress.note(f"gradients of {player.name} are taken patient by patient, which is slower: {why}")
    return backends

"""How a player's gradients are computed under privacy: asked before the first step, by training and by its audit alike."""

from __future__ import annotations

from synthrelease.generators.protocol import Inputs, Player
from synthrelease.privacy.clipping import Backend
from synthrelease.privacy.gradients.trial import problem
from synthrelease.privacy.isolation import assert_patients_isolated

TRIAL_ROWS = 6
"""Rows of the trial: three patients with two each."""


def backend_for(player: Player, inputs: Inputs, wanted: Backend) -> tuple[Backend, str | None]:
    """Refuse a network that mixes patients; else the backend it gets.

    Args:
        player: A network that sees real images.
        inputs: What its ``draw`` makes of ``TRIAL_ROWS`` public rows, a patient's two together.
        wanted: The plan's backend.

    Returns:
        The backend, and why it is not the wanted one.

    Raises:
        PolicyError: One patient reaches another's loss.
    """
    assert_patients_isolated(player.module, player.loss, inputs)
    if wanted != "fast":
        return wanted, None
    by_patient = {name: value.reshape(-1, 2, *value.shape[1:]) for name, value in inputs.items()}
    found = problem(player.module, player.loss, by_patient)
    return ("fast" if found is None else "vmap"), found

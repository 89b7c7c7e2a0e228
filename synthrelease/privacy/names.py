"""Names of the mechanisms of gradient steps, as plans, accounts, ledgers and records write them."""

from __future__ import annotations

GRADIENT_STEPS = "gradient_steps"


def steps_of(player: str) -> str:
    """Name of the mechanism of a player that is clipped on its own.

    >>> steps_of("critic")
    'gradient_steps.critic'
    """
    return f"{GRADIENT_STEPS}.{player}"


def names_steps(mechanism: str) -> bool:
    """Whether a mechanism is a group of gradient steps.

    >>> names_steps("gradient_steps.critic"), names_steps("class_sums")
    (True, False)
    """
    return mechanism == GRADIENT_STEPS or mechanism.startswith(f"{GRADIENT_STEPS}.")

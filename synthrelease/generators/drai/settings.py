"""The settings, and which players see real images by them."""

from __future__ import annotations

from typing import Literal, Protocol


class DraiSettings(Protocol):
    """The settings that the networks and their losses need."""

    @property
    def content(self) -> int: ...
    @property
    def style(self) -> int: ...
    @property
    def width(self) -> int: ...
    @property
    def cycle(self) -> Literal["image", "latent"]: ...
    @property
    def cycle_weight(self) -> float: ...
    @property
    def code_weight(self) -> float: ...
    @property
    def conditioning_weight(self) -> float: ...
    @property
    def reversal_weight(self) -> float: ...
    @property
    def predictor_steps(self) -> int: ...
    @property
    def predictor_rate(self) -> float: ...
    @property
    def self_supervision_weight(self) -> float: ...
    @property
    def transforms(self) -> tuple[str, ...]: ...
    @property
    def penalty_weight(self) -> float: ...
    @property
    def penalty_on(self) -> Literal["real", "generated"]: ...
    @property
    def batch(self) -> int: ...
    @property
    def seed(self) -> int: ...


def on_real_images(settings: DraiSettings) -> tuple[str, ...]:
    """Names of the players that see real images, in the order in which they are stepped."""
    cycle = ("generator",) if settings.cycle == "image" and settings.cycle_weight else ()
    return ("critics", *predictor_names(settings), "encoder", *cycle)


def predictor_names(settings: DraiSettings) -> tuple[str, ...]:
    """A player for each step of the predictors; all step one network."""
    if not settings.reversal_weight:
        return ()
    return ("predictors", *(f"predictors_{turn}" for turn in range(2, settings.predictor_steps + 1)))

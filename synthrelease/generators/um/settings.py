"""The settings, and which players see real images by them."""

from __future__ import annotations

from typing import Literal, Protocol

Source = Literal["generated", "procedural", "public", "real"]


class UmSettings(Protocol):
    """The settings that the networks, their losses and the sampler need."""

    @property
    def guidance(self) -> Source: ...
    @property
    def superpixels(self) -> int: ...
    @property
    def compactness(self) -> float: ...
    @property
    def level_step(self) -> int: ...
    @property
    def transforms(self) -> tuple[str, ...]: ...
    @property
    def latent(self) -> int: ...
    @property
    def width(self) -> int: ...
    @property
    def reconstruction_weight(self) -> float: ...
    @property
    def segmentation_weight(self) -> float: ...
    @property
    def pseudo_weight(self) -> float: ...
    @property
    def trusted_from(self) -> float: ...
    @property
    def penalty_weight(self) -> float: ...
    @property
    def batch(self) -> int: ...
    @property
    def seed(self) -> int: ...


def on_real_images(settings: UmSettings) -> tuple[str, ...]:
    """Names of the players that see real images, in the order in which they are stepped.

    The painter is one: it is told to paint the image that its map was taken of, and the patient's masks.
    """
    return ("critics", "painter")

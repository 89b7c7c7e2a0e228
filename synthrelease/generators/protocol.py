"""What a generator is: players that are trained, and samples that come out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

Forward = Callable[..., Tensor]
Inputs = Mapping[str, Tensor]


@dataclass(frozen=True)
class Spec:
    """Shape of what is generated: public, from the policy.

    Attributes:
        resolution: H = W in pixels.
        classes: Number of classes.
        segments: Number of masks an image has.
        targets: What each class asks of each finding, one row a class: 1 present, 0 absent, 0.5 either. Empty: every class
            is a finding of its own.
        findings: Names of the findings; empty: they have none but their numbers.
    """

    resolution: int
    classes: int
    segments: int
    targets: tuple[tuple[float, ...], ...] = ()
    findings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        # A manifest gives lists; equal specs shall be equal.
        object.__setattr__(self, "targets", tuple(tuple(row) for row in self.targets))
        object.__setattr__(self, "findings", tuple(self.findings))

    def target_table(self) -> Tensor:
        """(classes, findings) float32 in {0, 0.5, 1}."""
        return torch.tensor(self.targets) if self.targets else torch.eye(self.classes)

    def finding_names(self) -> tuple[str, ...]:
        """A name for each column of :meth:`target_table`."""
        return self.findings or tuple(str(number) for number in range(self.target_table().shape[1]))


@dataclass(frozen=True)
class Batch:
    """Images with their masks and classes.

    Attributes:
        images: (N, 1, H, W) float32 in [-1, 1].
        masks: (N, K, H, W) float32 in [0, 1], the share of each pixel that the segment covers; K may be 0.
        labels: (N,) int64 class indices.
        labelled: (N,) bool, whether an image's masks are known; the masks of others are blank and tell nothing. None: all are.
        notes: What a generator tells of each image that it made, by name: (N,) float64 each. Real images have none.
    """

    images: Tensor
    masks: Tensor
    labels: Tensor
    notes: Mapping[str, Tensor] = field(default_factory=dict)
    labelled: Tensor | None = None

    def known_masks(self) -> Tensor:
        """(N,) bool, whether an image's masks are known."""
        return torch.ones(len(self.images), dtype=torch.bool) if self.labelled is None else self.labelled


@dataclass(frozen=True)
class Player:
    """One network that is trained.

    The training loop privatises exactly the players with ``sees_real``; a generator cannot forget privacy.

    Attributes:
        name: Unique among the generator's players.
        module: The network whose parameters are stepped.
        sees_real: Whether its loss reads real images.
        draw: Adds everything random to a batch, outside of any differentiation: batch, random generator -> named tensors,
            each with leading axis N.
        loss: (forward, inputs) -> (N,) losses, one an example. Row i may depend on row i of the inputs only: no statistic
            of the batch. ``forward`` is the module, or the module with other parameters put in.
        generated: (random generator) -> one loss on what the generator itself makes, no real image in it; None = there is
            none. Under privacy its gradient is added outside the noise: it depends on real images only through what was
            noised before.
        every: Stepped in every so many steps of the loop. A network that sees real images is stepped in each: each is
            paid for.
        every_private: The same in private steps, where a critic's gradient is noisy and its generator waits longer; None: as
            otherwise.
        turns: Plain steps in a row in each step of the loop, each on a batch of its own, for a network that has to keep up with
            the others. In private steps it takes one: each that sees real images is paid for.
        seeks_masks: Whether half of each plain batch has masks where few images have. A network that learns no masks draws
            evenly: it would meet a few patients half of the time, and know them by heart.
        rows_alike: Whether its loss judges every row alike, wherever it stands and however many there are. A penalty that is
            taken of some rows and weighed for all does not.
        betas: Of Adam.
        rate: Its learning rate over the policy's.
        private_scale: What its losses are multiplied by in private steps, so that the gradients of networks that are clipped as
            one vector are of about one length: a longer one would take the clip norm from the others, and Adam does not mind
            the scale. The gradient of ``generated`` is then held to the player's part of the clip norm, C / sqrt(n) of n
            networks: next to what was clipped it would else be all that counts. None: neither.
        averaged: Whether the averaged weights take the place of the last ones at the end of a stage. A critic keeps its
            last: it is what the generator's next step is judged by.
    """

    name: str
    module: nn.Module
    sees_real: bool
    draw: Callable[[Batch, torch.Generator], dict[str, Tensor]]
    loss: Callable[[Forward, Inputs], Tensor]
    generated: Callable[[torch.Generator], Tensor] | None = None
    every: int = 1
    every_private: int | None = None
    turns: int = 1
    seeks_masks: bool = False
    rows_alike: bool = False
    betas: tuple[float, float] = (0.9, 0.999)
    rate: float = 1.0
    private_scale: float | None = None
    averaged: bool = True

    def __post_init__(self) -> None:
        for every in (self.every, self.every_private or 1):
            if every < 1 or (self.sees_real and every > 1):
                raise ValueError(f"player {self.name} is stepped in every {every} steps")
        if self.turns < 1 or (self.turns > 1 and (self.every, self.every_private or 1) != (1, 1)):
            raise ValueError(f"player {self.name} takes {self.turns} turns, in every {self.every} steps")
        if self.private_scale is not None and self.private_scale <= 0:
            raise ValueError(f"player {self.name} has its losses multiplied by {self.private_scale}")


class Generator(Protocol):
    """A trained or trainable generator."""

    spec: Spec

    def players(self) -> tuple[Player, ...]:
        """The networks to train; empty for a closed form."""
        ...

    def sample(self, labels: Tensor, rng: torch.Generator) -> Batch:
        """Draw one image with masks for each class index in ``labels`` (N,), bit-equal for an equal ``rng``."""
        ...

    def state(self) -> dict[str, Tensor]:
        """Every tensor that sampling needs, by name; the inverse is the class's ``from_state``."""
        ...


@runtime_checkable
class Growing(Protocol):
    """A generator whose networks gain layers while they are trained."""

    def grow(self, share: float) -> bool:
        """Bring the networks to where they are at a share of the training in which they grow.

        A parameter that has not joined yet does not require a gradient: neither an optimiser nor the noise of privacy
        reaches it.

        Args:
            share: In [0, 1]; 1 is full size. The networks' form is a function of it alone.

        Returns:
            Whether parameters joined or left since the last call; optimisers then start anew.
        """
        ...


@runtime_checkable
class Styled(Protocol):
    """A generator that draws the same content in several styles, and several contents in the same style."""

    def sample_grid(self, labels: Tensor, styles: int, rng: torch.Generator) -> Batch:
        """Every content with every style: rows (R,) share a content of their class, the S columns a style; (R S) images."""
        ...


@runtime_checkable
class Ranked(Protocol):
    """A generator that needs to know how many patients of an image's class came before it, over the whole archive."""

    def sample_ranked(self, labels: Tensor, ranks: Tensor, rng: torch.Generator) -> Batch:
        """As ``sample``; ranks (N,) int64 count, from 0, the patients of each image's class before its own."""
        ...


@runtime_checkable
class Stocked(Protocol):
    """A generator that may paint after a limited stock, each piece of which gives one image of a class and no other."""

    def refuse_repeats(self, wanted: Sequence[int]) -> None:
        """Raise UnsuitableData where so many images of each class cannot be had without an image given twice."""
        ...

    def sample_numbered(self, labels: Tensor, numbers: Tensor, rng: torch.Generator, *, seed: int) -> Batch:
        """As ``sample``; numbers (N,) int64 count, from 0, the images of each image's class before it, over the whole archive.

        Whatever the parts that an archive of one seed is drawn in, no piece of the stock serves a class twice.
        """
        ...


@runtime_checkable
class Diagnosed(Protocol):
    """A generator that tells how its training stands, for the internal log."""

    def diagnostics(self, rng: torch.Generator) -> dict[str, float]:
        """Figures by name, measured on what the generator makes; no real image is read."""
        ...


@runtime_checkable
class Calibrated(Protocol):
    """A generator that needs images which none of its networks was trained on, once they are trained.

    Attributes:
        calibration_share: Share of the training patients set apart for it, where no privacy is claimed. Under privacy it
            gets samples of the private moments instead.
    """

    calibration_share: float

    def calibrate(self, batches: Iterable[Batch]) -> None:
        """Measure on images that no network saw."""
        ...

"""What an encoder's weights follow from, besides its images."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import torch

from synthrelease.features.uld import losses, networks, views
from synthrelease.records.digests import digest_of
from synthrelease.records.files import canonical_json


@dataclass(frozen=True)
class Recipe:
    """How to fit an encoder.

    Attributes:
        mode: ``within``: negatives from the same image, views that differ by an affine map, features warped back.
            ``paper``: negatives from the whole batch, views of one geometry with undone quarter turns, mixup.
        network: ``small`` or ``paper``; see `networks`.
        side: Pixels to which images are resampled; None: as they come.
        cells: Cells per axis.
        steps: Of stage 1, patch discrimination. region_steps: Of stage 2, which adds region discrimination; 0: none.
        batch: Images a step, of different patients while there are enough; even for ``paper``, which mixes pairs.
        learning_rate: Of Adam. halve_every: Steps after which it is halved, again and again; 0: never.
        clusters: K of the clustering head of stage 2.
        temperature: Of patches. region_temperature: Of regions.
        region_weight: Of the region loss. entropy_weight: Of the clusters' entropy. area_weight: Of the clusters'
            area; published as 0, for when they collapse.
        centre_sensitive: Bell-weighted cells instead of plain ones.
        mirror: Mirrors among the ``paper`` views; wrong for radiographs, where the heart tells left from right.
        affine: How far ``within`` views differ in place. pose: Share of that by which the first view differs from the
            image; see `objectives`. grey: How far views differ in grey.
        seed: Of weights, batches and views.
        version: Of the meaning of this record.

    Raises:
        ValueError: On values that cannot be fitted by.
    """

    mode: Literal["within", "paper"] = "within"
    network: Literal["small", "paper"] = "small"
    side: int | None = 64
    cells: int = 8
    steps: int = 400
    region_steps: int = 0
    batch: int = 8
    learning_rate: float = 1e-3
    halve_every: int = 0
    clusters: int = 16
    temperature: float = losses.PATCH_TEMPERATURE
    region_temperature: float = losses.REGION_TEMPERATURE
    region_weight: float = 10.0
    entropy_weight: float = 0.1
    area_weight: float = 0.0
    centre_sensitive: bool = True
    mirror: bool = False
    affine: views.AffineRange = field(default_factory=views.AffineRange)
    pose: float = 0.5
    grey: views.GreyRange = views.WIDE
    seed: int = 20_261
    version: int = 1

    def __post_init__(self) -> None:
        if self.mode not in ("within", "paper") or self.network not in ("small", "paper"):
            raise ValueError(f"there is no mode {self.mode} with network {self.network}")
        if min(self.steps, self.region_steps) < 0 or min(self.batch, self.cells) < 2 or self.clusters < 2:
            raise ValueError("steps are at least 0; images a step, cells per axis and clusters at least 2")
        if self.side is not None and self.side < max(networks.SMALLEST_SIDE, self.cells):
            raise ValueError(f"side is {self.side}; it is at least {networks.SMALLEST_SIDE} and a pixel a cell")
        if not 0 <= self.pose <= 1:
            raise ValueError(f"pose is {self.pose}; it is a share, at least 0 and at most 1")
        if self.mode == "paper" and self.batch % 2:
            raise ValueError(f"the paper's mixup takes pairs, and {self.batch} images are none")

    @classmethod
    def paper(cls, steps: int = 20_000, region_steps: int = 80_000, **changes: Any) -> Recipe:
        """The published form: 20 and 80 epochs of 1000 steps of 4 pairs, Adam 1e-3 halved every 10 epochs.

        Fewer steps shorten the epoch, 100 of which make the whole. ``changes`` replace other fields; mirrors are left
        out unless asked for.
        """
        published = cls(
            mode="paper",
            network="paper",
            steps=steps,
            region_steps=region_steps,
            halve_every=10 * max(1, (steps + region_steps) // 100),
            centre_sensitive=False,
            grey=views.GreyRange(gain=0.35, offset=0.3, gamma=0.0, noise=0.0),
        )
        return replace(published, **changes)

    @property
    def digest(self) -> str:
        """SHA-256, 64 hexadecimal digits."""
        return digest_of(self.to_json())

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        record: dict[str, Any] = json.loads(canonical_json(asdict(self)))
        return record

    def build(self) -> networks.EmbeddingNetwork:
        """The network at its start; the same weights for the same seed."""
        shape = networks.paper if self.network == "paper" else networks.small
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            return shape(self.clusters if self.region_steps else 0)

    def rate(self, step: int) -> float:
        """Learning rate of a step, counted from 0 in each stage."""
        return float(self.learning_rate * 0.5 ** (step // self.halve_every if self.halve_every else 0))

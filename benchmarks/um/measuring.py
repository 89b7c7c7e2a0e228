"""Dice on real held-out images of a segmenter that was taught by few masks, by made-up archives, or by both."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from benchmarks.um.cohorts import Sides, brains, chests, of_rows
from benchmarks.um.segmenter import fitted
from benchmarks.um.training import train
from benchmarks.um.ways import MaskGuided, settings
from synthrelease.audit.images import ImageSet
from synthrelease.audit.scales_tasks import brought_together, cells_told, spread_together
from synthrelease.audit.task_cells import cells_of
from synthrelease.features.extractors import DEFAULT
from synthrelease.generators.protocol import Batch, Spec
from synthrelease.generators.um.guidance import Guidance
from synthrelease.generators.um.model import UmGenerator
from synthrelease.generators.um.superpixels import superpixels

Array = npt.NDArray[np.float64]

COHORTS: Mapping[str, Callable[[int, int, int], Sides]] = {"brains": brains, "chests": chests}
FEW, MASKED, UM, BOTH = "few masks", "mask-conditioned", "UM", "few masks + UM"
WAYS = (FEW, MASKED, UM, BOTH)
BOUND_COUNTS = (32, 64, 128, 256)
RESAMPLES = 10


@dataclass(frozen=True)
class Effort:
    """How much is done.

    Attributes:
        side: H = W. train, held_out: Images. steps, batch, width: Of both generators.
        made: Images of an archive. segmenter_steps: Of every segmenter.
    """

    side: int
    train: int
    held_out: int
    steps: int
    batch: int
    width: int
    made: int
    segmenter_steps: int


WHOLE = Effort(side=32, train=1500, held_out=400, steps=1000, batch=8, width=16, made=800, segmenter_steps=1200)
QUICK = Effort(side=32, train=60, held_out=40, steps=4, batch=4, width=8, made=32, segmenter_steps=6)


def bounds(cohort: str, effort: Effort) -> dict[str, float]:
    """Mean Dice of masks that are as good as superpixels allow, by their number: each takes what most of it is.

    No map can tell a painter of what is smaller than its superpixels.
    """
    held_out = COHORTS[cohort](effort.side, effort.train, effort.held_out).held_out
    found = {}
    for count in BOUND_COUNTS:
        owner = superpixels((held_out.images[:, 0] + 1) / 2, count, Guidance(count, 0.1, 10).compactness).flatten(1)
        inside = held_out.masks.flatten(1)
        area = torch.zeros(len(owner), int(owner.max()) + 1)
        held, covered = area.scatter_add(1, owner, torch.ones_like(inside)), area.scatter_add(1, owner, inside)
        most = (covered / held.clamp_min(1.0)).gather(1, owner).reshape(held_out.masks.shape)
        found[str(count)] = float(np.mean(dice(most, held_out.masks)))
    return found


def dice(found: Tensor, truth: Tensor) -> Array:
    """(cases,) Dice at one half, of the images that show something."""
    one, two = (x.flatten(1) >= 0.5 for x in (found, truth))
    shown = something_shown(truth)
    both, total = (one & two).sum(dim=1), one.sum(dim=1) + two.sum(dim=1)
    return np.asarray((2.0 * both / total.clamp_min(1))[shown].numpy(), dtype=np.float64)


def something_shown(truth: Tensor) -> Tensor:
    """(N,) bool: cases that Dice is told of."""
    return (truth.flatten(1) >= 0.5).any(dim=1)


def row(
    cohort: str, masks: int | None, seed: int, effort: Effort, note: Callable[[str], None], *, scales: bool = True
) -> dict[str, Any]:
    """Every way at one number of masks and one seed.

    Args:
        masks: How many are used; None = all.
        scales: Whether to compare the archives over scales and tasks, which takes as long as teaching all segmenters.

    Returns:
        ``dice`` by way, a number for each held-out case, ``owners`` of the cases, and how both archives compare over scales and
        tasks; None: not asked.
    """
    sides = COHORTS[cohort](effort.side, effort.train, effort.held_out)
    pool, used = sides.train, len(sides.train.labels) if masks is None else masks
    chosen = torch.randperm(len(pool.labels), generator=torch.Generator().manual_seed(seed))[:used]
    known = torch.zeros(len(pool.labels), dtype=torch.bool)
    known[chosen] = True
    few = of_rows(pool, chosen)
    unsure = Batch(pool.images, pool.masks * known[:, None, None, None], pool.labels, labelled=known)
    made = archives(sides, few, unsure, seed, effort, lambda text: note(f"{cohort}, {used} masks, seed {seed}: {text}"))
    scores = {}
    for way, taught, before in (
        (FEW, few, None),
        *((way, each, None) for way, each in made.items()),
        (BOTH, few, made[UM]),
    ):
        segment = fitted(taught, sides.transforms, steps=effort.segmenter_steps, seed=seed, before=before)
        scores[way] = dice(segment(sides.held_out.images), sides.held_out.masks).tolist()
        note(f"{cohort}, {used} masks, seed {seed}: {way} {np.mean(scores[way]):.3f}")
    owners = sides.owners[something_shown(sides.held_out.masks).numpy()].tolist()
    return {
        "masks": used,
        "dice": scores,
        "owners": owners,
        "scales_tasks": scales_tasks(sides, made) if scales else None,
    }


def archives(
    sides: Sides, few: Batch, unsure: Batch, seed: int, effort: Effort, note: Callable[[str], None]
) -> dict[str, Batch]:
    """What each way makes, from the same few masks; UM sees the other images as well."""
    spec = Spec(effort.side, len(sides.classes), 1)
    own = settings(width=effort.width, batch=effort.batch, seed=seed, transforms=sides.transforms)
    masked, um = MaskGuided(spec, own), UmGenerator(spec, own)
    labels = torch.arange(effort.made) % len(sides.classes)
    found = {}
    for way, generator, images in ((MASKED, masked, few), (UM, um, unsure)):
        train(
            generator,
            images,
            steps=effort.steps,
            batch=effort.batch,
            seed=seed,
            note=lambda text, way=way: note(f"{way}, {text}"),  # type: ignore[misc]
        )
        found[way] = generator.sample(labels, torch.Generator().manual_seed(seed))
    return found


def scales_tasks(sides: Sides, made: Mapping[str, Batch]) -> dict[str, Any]:
    """Cells of distance and variety of both archives, and each brought together across them and the training images.

    Returns:
        ``tasks``, ``left_out`` (tasks that could not be set, with the reason), and ``distance`` and ``variety``: by whom it is
        of, the ``cells``, and ``mm_fid`` or ``mm_std``. Names with ``_low`` and ``_high`` hold the ends of 95 % over resamples.
    """

    def images(batch: Batch) -> ImageSet:
        rows = np.arange(len(batch.labels))
        return ImageSet(batch.images.numpy(), batch.masks.numpy(), batch.labels.numpy(), rows)

    distances: dict[str, Array] = {}
    varieties: dict[str, Array] = {}
    tasks: tuple[str, ...] = ()
    left_out: Mapping[str, str] = {}
    for way, batch in made.items():
        cells = cells_of(images(sides.train), images(sides.held_out), images(batch), (DEFAULT.name, DEFAULT.open()))
        tasks, left_out = cells.tasks, cells.left_out
        for kept, found in ((distances, cells.distances(0, RESAMPLES)), (varieties, cells.varieties(0, RESAMPLES))):
            kept[way] = found["synthetic"]
            kept["training images"] = found["training"]
            kept["real against real"] = found["real"]
    return {
        "tasks": list(tasks),
        "left_out": dict(left_out),
        "distance": _told(distances, "mm_fid"),
        "variety": _told(varieties, "mm_std"),
    }


def _told(draws: Mapping[str, Array], together: str) -> dict[str, Any]:
    """Cells (resamples, tasks, scales) by whom they are of, in the middle and at the ends; and what they come to together."""
    told, middle = cells_told(draws)
    ends = spread_together(draws)
    return {
        **told,
        together: brought_together(middle),
        f"{together}_low": {name: low for name, (low, _) in ends.items()},
        f"{together}_high": {name: high for name, (_, high) in ends.items()},
    }

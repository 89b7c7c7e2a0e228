"""Images at the store's resolution, made where they are read: by this process or by others, always in one order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from synthrelease.cohort.processes import Workers
from synthrelease.cohort.resample import fit
from synthrelease.cohort.store import IMAGE_STEPS, MASK_STEPS
from synthrelease.cohort.types import CohortReader, PlannedReader, SourceImage, Work
from synthrelease.policy.schema import CohortSettings
from synthrelease.records.refusals import Refusal


@dataclass(frozen=True, slots=True)
class Shrunk:
    """An image as the store holds it; see `SourceImage` for the rest.

    Attributes:
        levels: (R, R) uint16.
        coverage: (K, R, R) uint8, or None where the image has no mask.
    """

    image_id: str
    patient_id: str
    levels: npt.NDArray[np.uint16]
    coverage: npt.NDArray[np.uint8] | None
    label: str
    pixel_digest: str
    attributes: Mapping[str, str] = field(default_factory=dict)


def shrunk(image: SourceImage, resolution: int) -> Shrunk:
    """Resample an image and its masks, and round them to the store's steps."""
    levels = (fit(image.pixels, resolution, -1.0) + 1) * np.float32(IMAGE_STEPS / 2)
    coverage = None
    if image.masks is not None:
        shares = fit(image.masks, resolution, 0.0) * np.float32(MASK_STEPS)
        coverage = np.clip(np.rint(shares), 0, MASK_STEPS).astype(np.uint8)
    return Shrunk(
        image.image_id,
        image.patient_id,
        np.clip(np.rint(levels), 0, IMAGE_STEPS).astype(np.uint16),
        coverage,
        image.label,
        image.pixel_digest,
        image.attributes,
    )


class TakenIn:
    """What a reader gives, shrunk.

    Args:
        settings: How the cohort is read.
        reader: Its work is spread over processes when it falls into jobs.
    """

    def __init__(self, settings: CohortSettings, reader: CohortReader) -> None:
        self._resolution = settings.resolution
        self._reader = reader
        self._remarks: Counter[str] = Counter()

    @property
    def notes(self) -> Counter[str]:
        """Remarks on what was read all the same, counted."""
        return self._remarks + (getattr(self._reader, "notes", None) or Counter())

    def items(self, workers: Workers) -> Iterator[Shrunk | Refusal]:
        """Yield every image found, in a stable order, each as an image or as a refusal."""
        if not hasattr(self._reader, "plan"):
            for item in self._reader.read():
                yield item if isinstance(item, Refusal) else shrunk(item, self._resolution)
            return
        reader = cast("PlannedReader[Any]", self._reader)
        work = partial(_done, reader.work, self._resolution)
        for items, remarks in workers.map(work, reader.plan(workers)):
            self._remarks.update(remarks)
            yield from items


def _done(work: Work[Any], resolution: int, job: Any) -> tuple[list[Shrunk | Refusal], Counter[str]]:
    """A job's images, shrunk, and the remarks on them; a refusal is passed on."""
    if isinstance(job, Refusal):
        return [job], Counter()
    remarks: Counter[str] = Counter()
    items = [item if isinstance(item, Refusal) else shrunk(item, resolution) for item in work(job, remarks)]
    return items, remarks

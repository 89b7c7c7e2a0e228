"""Radiographs with what their content and their style are known by: simulated ones, and real ones of children."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from benchmarks.audit_power.worlds import cache_folder
from benchmarks.um.cohorts import chests as real_chests
from synthrelease.cohort.phantom import PhantomImage, simulate_patient
from synthrelease.generators.protocol import Batch, Spec

SIDE = 32
SEED = 20261122
CLASSES = ("no finding", "fluid on the right", "fluid on the left")
"""Nodules are left out: at this size a classifier finds half of them in real images, and could judge no generator by them."""
SEGMENTS = ("effusion",)
"""Masks of what the classes tell; organs would cost the networks more than they show here."""
STYLE = ("across", "down", "turn", "size", "brightness", "contrast")
"""Where the chest lies, how it is turned, how large it is, and the mean and the spread of its grey values."""
HELD_OUT = 0.27
MEASURED = ("brightness", "contrast", "across", "down", "width")
"""Of real ones: mean and spread of the grey values, where the lungs lie, and how wide they are apart."""
CHESTS = (2500, 700)
"""Real ones to learn from and to be judged on, at most."""


@dataclass(frozen=True)
class Known:
    """Images with their factors.

    Attributes:
        batch: Images, masks and findings.
        style: (N, F) float32, standardised over the training part.
        classes: Names of the findings.
        factors: Names of the F numbers of the style.
    """

    batch: Batch
    style: Tensor
    classes: tuple[str, ...]
    factors: tuple[str, ...]

    @property
    def spec(self) -> Spec:
        """Shape of what is generated."""
        return Spec(self.batch.images.shape[-1], len(self.classes), self.batch.masks.shape[1])

    def rows(self, which: Tensor) -> Known:
        """Some of them."""
        given = self.batch
        some = Batch(given.images[which], given.masks[which], given.labels[which])
        return replace(self, batch=some, style=self.style[which])

    def __len__(self) -> int:
        return len(self.style)


def phantoms(patients: int) -> tuple[Known, Known]:
    """Simulated training and held-out images; no patient is in both."""
    kept = cache_folder() / f"drai-phantoms-{SEED}-{SIDE}-{patients}.npz"
    if not kept.is_file():
        kept.parent.mkdir(parents=True, exist_ok=True)
        np.savez(kept, **_simulated(patients))  # type: ignore[arg-type]
    with np.load(kept) as found:
        images, masks, labels, style, patient = (
            torch.from_numpy(found[name]) for name in ("images", "masks", "labels", "style", "patient")
        )
    apart = patient >= round(patients * (1 - HELD_OUT))
    style = (style - style[~apart].mean(dim=0)) / style[~apart].std(dim=0)
    everything = Known(Batch(images, masks, labels), style, CLASSES, STYLE)
    return everything.rows(~apart), everything.rows(apart)


def chests() -> tuple[Known, Known]:
    """Children's radiographs, normal or with a pneumonia, with the lungs as mask; no child is in both parts.

    Raises:
        UnsuitableData: The set is not on this machine.
    """
    sides = real_chests(SIDE, *CHESTS)
    given = [(part, measured_style(part)) for part in (sides.train, sides.held_out)]
    mean, spread = given[0][1].mean(dim=0), given[0][1].std(dim=0)
    train, held_out = (Known(part, (style - mean) / spread, sides.classes, MEASURED) for part, style in given)
    return train, held_out


def measured_style(batch: Batch) -> Tensor:
    """(N, 5) the numbers of ``MEASURED``, from pixels and the mask of the lungs."""
    image, lungs = batch.images[:, 0], batch.masks[:, 0]
    place = torch.arange(image.shape[-1], dtype=torch.float32)
    columns, rows = lungs.sum(dim=1), lungs.sum(dim=2)
    area = columns.sum(dim=1).clamp_min(1.0)
    across, down = (columns @ place) / area, (rows @ place) / area
    width = ((columns * (place - across[:, None]).square()).sum(dim=1) / area).sqrt()
    return torch.stack([image.mean(dim=(1, 2)), image.std(dim=(1, 2)), across, down, width], dim=1)


def style_of(image: PhantomImage) -> list[float]:
    """The factors of one image, from its landmarks and its pixels."""
    points = {name: np.array(place) for name, place in image.landmarks.items() if name != "nodule_center"}
    centre = np.mean(list(points.values()), axis=0)
    down, right = points["left_costophrenic"] - points["right_costophrenic"]
    pixels = image.pixels
    turn, size = float(np.arctan2(down, right)), float(np.hypot(down, right))
    return [float(centre[1]), float(centre[0]), turn, size, float(pixels.mean()), float(pixels.std())]


def class_of(image: PhantomImage) -> int:
    """Which of ``CLASSES``; the patient's right is the picture's left."""
    columns = image.masks["effusion"].sum(axis=0)
    if not columns.any():
        return 0
    return 1 if columns @ np.arange(SIDE) < columns.sum() * (SIDE - 1) / 2 else 2


def _simulated(patients: int) -> dict[str, np.ndarray]:
    rows: dict[str, list[object]] = {name: [] for name in ("images", "masks", "labels", "style", "patient")}
    for index in range(patients):
        person = simulate_patient(SEED, index, SIDE)
        if person.finding == "nodule":
            continue
        # Two of each patient with fluid, on one of two sides, one of those without: classes come out alike in size.
        for image in person.images[: 2 if person.finding == "effusion" else 1]:
            rows["images"].append(2.0 * image.pixels[None] - 1.0)
            rows["masks"].append(np.stack([image.masks[name] for name in SEGMENTS]).astype(np.float32))
            rows["labels"].append(class_of(image))
            rows["style"].append(np.array(style_of(image), dtype=np.float32))
            rows["patient"].append(index)
    return {name: np.stack(values) for name, values in rows.items()}  # type: ignore[arg-type]

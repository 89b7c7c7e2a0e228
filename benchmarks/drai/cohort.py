"""Simulated radiographs whose finding (content) and whose pose, size and exposure (style) are known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from benchmarks.audit_power.worlds import cache_folder
from synthrelease.cohort.phantom import FINDINGS, PhantomImage, simulate_patient
from synthrelease.generators.protocol import Batch, Spec

SIDE = 32
SEED = 20261122
SEGMENTS = ("nodule", "effusion")
"""Masks of what the classes tell; organs would cost the networks more than they show here."""
STYLE = ("across", "down", "turn", "size", "brightness", "contrast")
"""Where the chest lies, how it is turned, how large it is, and the mean and the spread of its grey values."""
HELD_OUT = 0.27


@dataclass(frozen=True)
class Known:
    """Images with their factors.

    Attributes:
        batch: Images, masks and findings.
        style: (N, 6) float32, the factors of ``STYLE``, standardised over the training part.
    """

    batch: Batch
    style: Tensor

    def rows(self, which: Tensor) -> Known:
        """Some of them."""
        given = self.batch
        return Known(Batch(given.images[which], given.masks[which], given.labels[which]), self.style[which])

    def __len__(self) -> int:
        return len(self.style)


def spec() -> Spec:
    """Shape of what is generated."""
    return Spec(SIDE, len(FINDINGS), len(SEGMENTS))


def cohort(patients: int) -> tuple[Known, Known]:
    """Training and held-out images; no patient is in both."""
    kept = cache_folder() / f"drai-phantoms-{SEED}-{patients}.npz"
    if not kept.is_file():
        kept.parent.mkdir(parents=True, exist_ok=True)
        np.savez(kept, **_simulated(patients))
    with np.load(kept) as found:
        images, masks, labels, style, patient = (
            torch.from_numpy(found[name]) for name in ("images", "masks", "labels", "style", "patient")
        )
    apart = patient >= round(patients * (1 - HELD_OUT))
    style = (style - style[~apart].mean(dim=0)) / style[~apart].std(dim=0)
    everything = Known(Batch(images, masks, labels), style)
    return everything.rows(~apart), everything.rows(apart)


def style_of(image: PhantomImage) -> list[float]:
    """The factors of one image, from its landmarks and its pixels."""
    points = {name: np.array(place) for name, place in image.landmarks.items() if name != "nodule_center"}
    centre = np.mean(list(points.values()), axis=0)
    down, right = points["left_costophrenic"] - points["right_costophrenic"]
    pixels = image.pixels
    turn, size = float(np.arctan2(down, right)), float(np.hypot(down, right))
    return [float(centre[1]), float(centre[0]), turn, size, float(pixels.mean()), float(pixels.std())]


def _simulated(patients: int) -> dict[str, np.ndarray]:
    rows: dict[str, list[object]] = {name: [] for name in ("images", "masks", "labels", "style", "patient")}
    for index in range(patients):
        person = simulate_patient(SEED, index, SIDE)
        for image in person.images[:2]:
            rows["images"].append(2.0 * image.pixels[None] - 1.0)
            rows["masks"].append(np.stack([image.masks[name] for name in SEGMENTS]).astype(np.float32))
            rows["labels"].append(FINDINGS.index(person.finding))
            rows["style"].append(np.array(style_of(image), dtype=np.float32))
            rows["patient"].append(index)
    return {name: np.stack(values) for name, values in rows.items()}  # type: ignore[arg-type]

"""Worlds in which the truth is known: a perfect generator, whose images are of people nobody trained on.

Nothing leaks in such a world but what is planted afterwards. Phantom worlds are independent: every one has patients of
its own. Radiograph worlds resample one pool of about 4,000 children, one image each, so that they overlap.
"""

from __future__ import annotations

import io
import os
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
from PIL import Image

from benchmarks.pediatric import chests_without_twins, data_folder
from synthrelease.audit.case import AuditCase
from synthrelease.audit.images import ImageSet
from synthrelease.audit.planted import NEGATIVES
from synthrelease.audit.plants.grey import Change
from synthrelease.records.files import atomic_write_bytes

SIDE = 64
SEED = 20261122

Pixels = npt.NDArray[np.float32]
STYLES: Mapping[str, Change] = MappingProxyType({"as_it_is": lambda x, rng: x} | dict(NEGATIVES))
"""What an innocent generator may do to all of its images."""


@dataclass(frozen=True)
class Size:
    """Patients of each role; one image each."""

    train: int
    holdout: int
    synthetic: int

    @property
    def patients(self) -> int:
        """All that a world needs."""
        return self.train + self.holdout + self.synthetic

    def __str__(self) -> str:
        return f"{self.synthetic} synthetic, {self.train} + {self.holdout} patients"


FULL = Size(300, 300, 1000)
SMALL = Size(70, 70, 160)


@dataclass(frozen=True)
class Source:
    """Where worlds come from.

    Attributes:
        name: Of the kind of image. classes, segments: As in an :class:`AuditCase`.
        people: Images of so many different patients, for a world's number; different worlds ask by different numbers.
        independent: No patient is in two worlds.
    """

    name: str
    classes: tuple[str, ...]
    segments: tuple[str, ...]
    people: Callable[[int, int], ImageSet]
    independent: bool

    def world(self, size: Size, number: int, style: str = "as_it_is") -> AuditCase:
        """World ``number`` of this size; its roles are drawn at random, its synthetic images changed by a style."""
        rng = np.random.default_rng([SEED, size.patients, number])
        people = self.people(size.patients, number)
        order = rng.permutation(len(people))
        ours, held, made = np.split(order, [size.train, size.train + size.holdout])
        synthetic = people.take(made)
        pixels = np.clip(STYLES[style](synthetic.images, rng), -1, 1).astype(np.float32)
        return AuditCase(
            people.take(ours), people.take(held), replace(synthetic, images=pixels), self.classes, self.segments
        )


def cache_folder() -> Path:
    """Where phantoms are kept between runs: SYNTHRELEASE_CACHE, or a folder among the temporary ones."""
    named = os.environ.get("SYNTHRELEASE_CACHE")
    return Path(named) if named else Path(tempfile.gettempdir()) / "synthrelease-cache"


PHANTOM_CLASSES = ("normal", "nodule", "effusion")
PHANTOM_SEGMENTS = ("right_lung", "left_lung", "heart", "nodule", "effusion")


OWN_WORLDS = 1
"""Full phantom worlds that are rendered for themselves; further ones (for other tools' scores) mix the small worlds'."""

SMALL_WORLDS = 200


def phantom_people(count: int, number: int) -> ImageSet:
    """``count`` simulated patients of world ``number``, one image each in 8 bits; rendered once, kept in the cache."""
    if count > SMALL.patients and number >= OWN_WORLDS:
        rng = np.random.default_rng([SEED + 2, count, number])
        chunks = rng.permutation(SMALL_WORLDS)[: -(-count // SMALL.patients)]
        return _joined([_kept_phantoms(SMALL.patients, int(chunk)) for chunk in chunks], count)
    return _kept_phantoms(count, number)


def _joined(sets: list[ImageSet], count: int) -> ImageSet:
    return ImageSet(
        np.concatenate([each.images for each in sets])[:count],
        np.concatenate([each.masks for each in sets])[:count],
        np.concatenate([each.labels for each in sets])[:count],
        np.arange(count, dtype=np.int64),
    )


def _kept_phantoms(count: int, number: int) -> ImageSet:
    path = cache_folder() / f"phantoms-{SIDE}-{SEED}-{count}-{number}.npz"
    if not path.is_file():
        pixels, masks, labels = _render(count, number)
        path.parent.mkdir(parents=True, exist_ok=True)
        content = io.BytesIO()
        np.savez(content, pixels=pixels, masks=np.packbits(masks), labels=labels)
        atomic_write_bytes(path, content.getvalue())
    with np.load(path) as kept:
        flat = np.unpackbits(kept["masks"])[: count * len(PHANTOM_SEGMENTS) * SIDE * SIDE]
        return ImageSet(
            (kept["pixels"][:, None] / 127.5 - 1.0).astype(np.float32),
            flat.reshape(count, len(PHANTOM_SEGMENTS), SIDE, SIDE).astype(np.float32),
            kept["labels"].astype(np.int64),
            np.arange(count, dtype=np.int64),
        )


def _render(count: int, number: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_], npt.NDArray[np.int64]]:
    from synthrelease.cohort.phantom import patients

    visits = patients.IMAGES_PER_PATIENT
    patients.IMAGES_PER_PATIENT = MappingProxyType({1: 1.0})
    try:
        seed = SEED + 1000 * count + number
        people = [patients.simulate_patient(seed, index, SIDE) for index in range(count)]
    finally:
        patients.IMAGES_PER_PATIENT = visits
    pixels = np.stack([np.rint(person.images[0].pixels * 255).astype(np.uint8) for person in people])
    masks = np.stack([[person.images[0].masks[name] for name in PHANTOM_SEGMENTS] for person in people])
    return pixels, masks, np.array([PHANTOM_CLASSES.index(person.finding) for person in people], dtype=np.int64)


@lru_cache(maxsize=1)
def radiographs() -> tuple[ImageSet, tuple[str, ...]]:
    """One chest radiograph of each child at 64 px with its lungs, and the class names.

    Children whose image is known to stand under another id as well are left out: a generator that copied one would
    be innocent of the other.

    Raises:
        UnsuitableData: The set is not on this machine.
    """
    home = data_folder("cxr-pediatric")
    rows = chests_without_twins()
    first: dict[str, dict[str, str]] = {}
    for row in rows:
        first.setdefault(row["patient_id"], row)
    classes = tuple(sorted({row["label"] for row in rows}))
    images, masks = [], []
    with zipfile.ZipFile(home / "images_128.zip") as pictures, zipfile.ZipFile(home / "lung_masks_128.zip") as lungs:
        for row in first.values():
            images.append(_halved(_opened(pictures, row["image"]) / 127.5 - 1.0))
            masks.append(_halved((_opened(lungs, row["image"]) == 255).astype(np.float32)))
    labels = np.array([classes.index(row["label"]) for row in first.values()], dtype=np.int64)
    people = ImageSet(
        np.stack(images)[:, None], np.stack(masks)[:, None], labels, np.arange(len(first), dtype=np.int64)
    )
    return people, classes


def _opened(archive: zipfile.ZipFile, name: str) -> Pixels:
    return np.asarray(Image.open(io.BytesIO(archive.read(name)))).astype(np.float32)


def _halved(picture: Pixels) -> Pixels:
    return np.asarray(picture.reshape(SIDE, 2, SIDE, 2).mean((1, 3)), dtype=np.float32)


def _radiograph_people(count: int, number: int) -> ImageSet:
    people, _ = radiographs()
    rng = np.random.default_rng([SEED + 1, count, number])
    return people.take(rng.permutation(len(people))[:count])


def source(name: str) -> Source:
    """The source called ``phantom`` or ``pediatric``."""
    if name == "phantom":
        return Source(name, PHANTOM_CLASSES, PHANTOM_SEGMENTS, phantom_people, True)
    return Source(name, radiographs()[1], ("lungs",), _radiograph_people, False)

"""Real images with masks: brain slices with tumours, and children's chests with lungs; parted by person."""

from __future__ import annotations

import csv
import io
import zipfile
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from benchmarks.pediatric import chests_without_twins, data_folder
from synthrelease.generators.protocol import Batch

SOURCE_SIDE = 128
LUNG = 255
MILD = ("rotate", "shift", "zoom", "exposure")
BLOCK = 20
"""Slices of neighbouring numbers stay together: the brains' owners are not told, and their slices stand in order."""


@dataclass(frozen=True)
class Sides:
    """A cohort in two parts that share nobody.

    Attributes:
        train: Images to learn from; how many of their masks are used is decided later.
        held_out: Images to be judged on, masks and all.
        classes: Names.
        segment: Name of the one mask.
        owners: (M,) whose each held-out image is.
        transforms: That leave an image of its class and its mask true: a chest is never mirrored.
    """

    train: Batch
    held_out: Batch
    classes: tuple[str, ...]
    segment: str
    transforms: tuple[str, ...]
    owners: npt.NDArray[np.int64]


def of_rows(batch: Batch, rows: Tensor) -> Batch:
    """Some images of a batch."""
    labelled = None if batch.labelled is None else batch.labelled[rows]
    return Batch(batch.images[rows], batch.masks[rows], batch.labels[rows], labelled=labelled)


@cache
def brains(side: int, train: int, held_out: int) -> Sides:
    """MR slices of the brain, three kinds of tumour, one mask.

    Args:
        side: H = W; 128 divided by a whole number.
        train: Images, at most. held_out: The same.

    Raises:
        UnsuitableData: The set is not on this machine.
    """
    folder = data_folder("brain-mr-figshare")
    with (folder / "labels.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    rng = np.random.default_rng(20)
    block = np.array([int(row["source_index"]) // BLOCK for row in rows])
    order = rng.permutation(np.unique(block))
    apart = np.isin(block, order[: len(order) // 4])
    classes = tuple(sorted({row["label"] for row in rows}))
    parts, some = [], np.empty(0, dtype=np.int64)
    for chosen, most in ((~apart, train), (apart, held_out)):
        some = rng.permutation(np.flatnonzero(chosen))[:most]
        parts.append(_read(folder, "tumor_masks_128.zip", [rows[i] for i in some], "label", classes, side))
    return Sides(parts[0], parts[1], classes, "tumour", (*MILD, "mirror"), block[some])


@cache
def chests(side: int, train: int, held_out: int) -> Sides:
    """Radiographs of children, one a child, normal or with a pneumonia, lungs as one mask. Arguments as of :func:`brains`."""
    rows = list({row["patient_id"]: row for row in chests_without_twins()}.values())
    rng = np.random.default_rng(21)
    order = rng.permutation(len(rows))
    classes = tuple(sorted({row["label"] for row in rows}))
    folder = data_folder("cxr-pediatric")
    parts = [
        _read(folder, "lung_masks_128.zip", [rows[i] for i in some], "label", classes, side)
        for some in (order[:train], order[train : train + held_out])
    ]
    return Sides(parts[0], parts[1], classes, "lungs", MILD, np.arange(len(parts[1].labels)))


def _read(
    folder: object, masks: str, rows: list[dict[str, str]], column: str, classes: tuple[str, ...], side: int
) -> Batch:
    def shrunk(archive: zipfile.ZipFile, name: str) -> npt.NDArray[np.float32]:
        values = np.asarray(Image.open(io.BytesIO(archive.read(name))), dtype=np.float32)
        if masks in archive.filename:  # type: ignore[operator]
            values = (values == LUNG).astype(np.float32)
        few = SOURCE_SIDE // side
        return values.reshape(side, few, side, few).mean(axis=(1, 3), dtype=np.float32)

    with zipfile.ZipFile(f"{folder}/images_128.zip") as pictures, zipfile.ZipFile(f"{folder}/{masks}") as drawn:
        images = np.stack([shrunk(pictures, row["image"]) for row in rows])[:, None] / 127.5 - 1.0
        wanted = np.stack([shrunk(drawn, row["image"]) for row in rows])[:, None]
    labels = torch.tensor([classes.index(row[column]) for row in rows])
    return Batch(torch.from_numpy(images.astype(np.float32)), torch.from_numpy(wanted), labels)

"""Samples out of a trained generator. Reads a checkpoint; has no path to private pixels, masks or label counts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch

from synthrelease.archive.writer import SampleBatch
from synthrelease.generators.protocol import Generator

BATCH = 64


def label_draw(
    classes: Sequence[str], shares: Mapping[str, float] | None, images: int, seed: int
) -> npt.NDArray[np.int64]:
    """Class index of every sample: exact public shares (largest remainder), in a seeded order.

    Args:
        classes: Class names in order.
        shares: Share of each class, summing to 1; classes left out get none. None: equal shares.
        images: Number of samples.
        seed: Of the order; not a secret.

    Returns:
        (images,) int64.

    >>> np.bincount(label_draw(("a", "b"), {"a": 0.75, "b": 0.25}, 8, seed=0)).tolist()
    [6, 2]
    """
    wanted = np.array([1 / len(classes) if shares is None else shares.get(name, 0.0) for name in classes]) * images
    counts = np.floor(wanted).astype(np.int64)
    # A share of 1/3 of 10 leaves one image over: the largest remainders get one more each.
    for index in np.argsort(counts - wanted, kind="stable")[: images - int(counts.sum())]:
        counts[index] += 1
    labels = np.repeat(np.arange(len(classes), dtype=np.int64), counts)
    return np.random.default_rng(seed).permutation(labels)


def draw_samples(generator: Generator, labels: npt.NDArray[np.int64], seed: int) -> Iterator[SampleBatch]:
    """Sample one image with masks for each label, batch by batch.

    Args:
        generator: Trained.
        labels: (n,) class indices.
        seed: Of the draw. Batch b uses its own stream of (seed, b), so any batch can be drawn again alone.

    Yields:
        Batches of at most 64 samples, in the order of ``labels``.
    """
    for number, start in enumerate(range(0, len(labels), BATCH)):
        part = labels[start : start + BATCH]
        stream = np.random.SeedSequence([seed, number]).generate_state(1, np.uint64)[0]
        rng = torch.Generator().manual_seed(int(stream >> np.uint64(1)))
        with torch.inference_mode():
            batch = generator.sample(torch.from_numpy(part), rng)
        yield SampleBatch(batch.images.numpy(), batch.masks.numpy(), part)

"""Samples out of a trained generator. Reads a checkpoint; has no path to private pixels, masks or label counts."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch

from synthrelease.archive.samples import Cells, SampleBatch, Samples, shard_size
from synthrelease.dicom.release.notes import Note
from synthrelease.errors import UnsuitableData, UsageError
from synthrelease.generators.protocol import Generator, Ranked, Stocked
from synthrelease.generators.ranks import ranks_of
from synthrelease.policy.shares import patients_by_class
from synthrelease.records.digests import digest_of


def label_draw(
    classes: Sequence[str],
    shares: Mapping[str, float] | None,
    images: int,
    seed: int,
    images_per_patient: int = 1,
) -> npt.NDArray[np.uint8]:
    """Class index of every sample: exact public shares (largest remainder), in a seeded order, patient by patient.

    Args:
        classes: Class names in order, at most 256.
        shares: Share of each class, summing to 1; classes left out get none. None: equal shares. Of patients, since
            all images of a patient have one class.
        images: Number of samples.
        seed: Of the order; not a secret.
        images_per_patient: So many consecutive samples are one patient; the last patient may have fewer.

    Returns:
        (images,) uint8: one byte an image is all that grows with their number.

    >>> np.bincount(label_draw(("a", "b"), {"a": 0.75, "b": 0.25}, 8, seed=0)).tolist()
    [6, 2]
    >>> label_draw(("a", "b"), None, 5, seed=1, images_per_patient=2).tolist()
    [0, 0, 0, 0, 1]
    """
    if len(classes) > 256:
        raise UsageError(f"{len(classes)} classes", fix="Use at most 256.")
    patients = -(-images // images_per_patient)
    counts = patients_by_class(classes, shares, patients)
    labels = np.repeat(np.arange(len(classes), dtype=np.uint8), counts)
    return np.repeat(np.random.default_rng(seed).permutation(labels), images_per_patient)[:images]


def generated_samples(
    generator: Generator,
    labels: npt.NDArray[np.uint8],
    seed: int,
    *,
    edition: str,
    images_per_patient: int = 1,
    notes: Sequence[Note] = (),
) -> Samples:
    """One image with masks for each label, shard by shard.

    Args:
        generator: Trained.
        labels: (n,) class indices.
        seed: Of the draw. Shard s uses its own stream of (seed, s), so any shard can be drawn again alone.
        edition: Digest of the generator.
        images_per_patient: Gives the shards their size.
        notes: What of all that the generator tells of an image is written, in order.

    Raises:
        UnsuitableData: The generator would have to give an image twice.
    """
    size = shard_size(images_per_patient)
    if isinstance(generator, Stocked):
        generator.refuse_repeats(np.bincount(labels).tolist())
    ranks = ranks_of(labels, 1 if isinstance(generator, Stocked) else images_per_patient)

    def draw(shard: int) -> SampleBatch:
        part = labels[shard * size : (shard + 1) * size].astype(np.int64)
        stream = np.random.SeedSequence([seed, shard]).generate_state(1, np.uint64)[0]
        rng = torch.Generator().manual_seed(int(stream >> np.uint64(1)))
        with torch.inference_mode():
            wanted, own = torch.from_numpy(part), torch.from_numpy(ranks[shard * size : (shard + 1) * size])
            if isinstance(generator, Stocked):
                batch = generator.sample_numbered(wanted, own, rng, seed=seed)
            elif isinstance(generator, Ranked):
                batch = generator.sample_ranked(wanted, own, rng)
            else:
                batch = generator.sample(wanted, rng)
        return SampleBatch(batch.images.numpy(), batch.masks.numpy(), part, note_cells(batch.notes, notes))

    drawn = hashlib.sha256(labels.tobytes()).hexdigest()
    return Samples(digest_of(["generated 1", edition, seed, size, drawn]), draw)


def note_cells(told: Mapping[str, torch.Tensor], notes: Sequence[Note]) -> Cells:
    """What a generator tells of n images as rows of cells, a column for each note.

    Args:
        told: (n,) numbers by name.
        notes: In the order of the columns.

    Raises:
        UnsuitableData: The generator does not tell one of them, or a number is not one that its column can hold.

    >>> told = {"restarts": torch.tensor([0.0, 2.0]), "guide_nodule": torch.tensor([0.25, 1.0])}
    >>> note_cells(told, [Note("guide_nodule", ""), Note("restarts", "")])
    (('0.250', '0'), ('1.000', '2'))
    """
    missing = [note.name for note in notes if note.name not in told]
    if missing:
        raise UnsuitableData(
            f"the generator does not tell {', '.join(missing)} of its images", fix="Train it again with this version."
        )
    columns = [[note.cell(value) for value in told[note.name].tolist()] for note in notes]
    return tuple(zip(*columns, strict=True))

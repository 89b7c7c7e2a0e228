"""Where an encoder's training images come from: memory-mapped or in memory, a few at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from synthrelease.cohort.store import CohortStore
from synthrelease.records.digests import digest_of

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]


class Source(Protocol):
    """Images with the patient of each."""

    def __len__(self) -> int:
        """N, how many images."""
        ...

    @property
    def patient(self) -> IntArray:
        """(N,) int64; equal for images of one patient."""
        ...

    def take(self, rows: IntArray) -> FloatArray:
        """(n, 1, H, W) float32 in [-1, 1] of n rows in 0..N-1, any order."""
        ...


class ArraySource:
    """Images in memory.

    Args:
        images: (N, 1, H, W) float32 in [-1, 1]. patient: (N,); None: each image is another patient.

    Raises:
        ValueError: Shapes do not fit.
    """

    def __init__(self, images: FloatArray, patient: IntArray | None = None) -> None:
        people = np.arange(len(images)) if patient is None else patient
        if images.ndim != 4 or images.shape[1] != 1 or people.shape != (len(images),):
            raise ValueError(f"images are (N, 1, H, W) and patients (N,), not {images.shape} and {people.shape}")
        self._images = images
        self._patient = np.asarray(people, dtype=np.int64)

    def __len__(self) -> int:
        return len(self._images)

    @property
    def patient(self) -> IntArray:
        """(N,)."""
        return self._patient

    def take(self, rows: IntArray) -> FloatArray:
        """See `Source`."""
        return np.asarray(self._images[rows], dtype=np.float32)


class StoreSource:
    """Rows of a cohort; pixels stay on disk until a batch asks for them.

    Args:
        store: The cohort. rows: Image rows that may be seen; ascending, all unless told.
    """

    def __init__(self, store: CohortStore, rows: IntArray | None = None) -> None:
        self._store = store
        self._rows = np.arange(len(store.patient), dtype=np.int64) if rows is None else np.asarray(rows, dtype=np.int64)

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def patient(self) -> IntArray:
        """(N,) patient indices of the store."""
        return self._store.patient[self._rows]

    def take(self, rows: IntArray) -> FloatArray:
        """See `Source`."""
        return self._store.images(self._rows[rows])


def rows_by_patient(patient: IntArray) -> list[IntArray]:
    """Image rows of each patient, ascending."""
    order = np.argsort(patient, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(patient[order])) + 1)


def one_image_each(source: Source, people: list[IntArray], chosen: Iterable[int], generator: torch.Generator) -> Tensor:
    """One image of each chosen patient, drawn at random.

    Args:
        people: Of `rows_by_patient`. chosen: Positions in it.

    Returns:
        (n, 1, H, W) float32.
    """
    rows = [
        int(own[int(torch.randint(len(own), (), generator=generator))]) for own in (people[person] for person in chosen)
    ]
    return torch.from_numpy(np.ascontiguousarray(source.take(np.array(rows, dtype=np.int64))))


def source_digest(source: Source) -> str:
    """Of who is who and of two images: enough to tell another cohort, without reading all of it."""
    few = np.ascontiguousarray(source.take(np.array([0, len(source) - 1], dtype=np.int64)))
    people = hashlib.sha256(np.ascontiguousarray(source.patient).tobytes()).hexdigest()
    return digest_of([len(source), people, hashlib.sha256(few.tobytes()).hexdigest()])

"""The values that readers hand to the store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from synthrelease.cohort.processes import Workers
from synthrelease.records.refusals import Refusal

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]


def patient_key(issuer: str, patient: str) -> str:
    """``issuer|id``: the same id from two issuers is two people. A bar in the issuer is written otherwise.

    >>> patient_key("A", "B|C") == patient_key("A|B", "C")
    False
    """
    return f"{issuer.replace('%', '%25').replace('|', '%7C')}|{patient}"


def study_key(study: str) -> str:
    """A study taken for a patient; no issuer is written like this."""
    return f"%study|{study}"


@dataclass(frozen=True)
class SourceImage:
    """One usable image of one patient, at source resolution.

    Attributes:
        image_id: SOP Instance UID (with ``#`` and the frame's number where the file has several), or the table's image
            path. Private.
        patient_id: Patient key including the issuer (``issuer|id``). Private.
        pixels: (H, W) float32 in [-1, 1], bright = dense, after the declared window.
        masks: (K, H, W) bool in the order of the cohort's segments, or None where the image has no mask.
        label: Class name.
        pixel_digest: SHA-256 of the decoded stored pixels, hex; equal for byte-equal images.
        attributes: Coarse sex, age and scanner, where told; see :mod:`synthrelease.cohort.attributes`. Private.
    """

    image_id: str
    patient_id: str
    pixels: FloatArray
    masks: BoolArray | None
    label: str
    pixel_digest: str
    attributes: Mapping[str, str] = field(default_factory=dict)


class CohortReader(Protocol):
    """A folder of DICOM or a table of images, read one image at a time."""

    def read(self) -> Iterator[SourceImage | Refusal]:
        """Yield every image found, in a stable order, each as an image or as a refusal."""
        ...


Job = TypeVar("Job")
JobIn = TypeVar("JobIn", contravariant=True)


class Work(Protocol[JobIn]):
    """What a reader does with one job; picklable, so that any process can do it."""

    def __call__(self, job: JobIn, notes: Counter[str]) -> Iterator[SourceImage | Refusal]:
        """Yield the images of a job, each as an image or as a refusal, and count remarks."""
        ...


class PlannedReader(Protocol[Job]):
    """A reader whose work falls into jobs that know nothing of each other.

    Attributes:
        notes: Remarks on what was read all the same, counted.
        work: Does a job.
    """

    notes: Counter[str]

    @property
    def work(self) -> Work[Job]:
        """Does a job."""
        ...

    def plan(self, workers: Workers) -> Iterator[Job | Refusal]:
        """Yield a job or a refusal for everything found, in a stable order."""
        ...

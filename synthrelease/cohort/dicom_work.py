"""One file of a DICOM folder to its images: pixels, masks, window, class. Knows nothing of any other file.

Everything that needs a look at several files was decided before, by :mod:`synthrelease.cohort.dicom_folder`, so that jobs
can be done by any process in any order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from synthrelease.cohort.attributes import attributes_of, scanner_of
from synthrelease.cohort.masking import Drawn, Masks
from synthrelease.cohort.naming import Naming
from synthrelease.cohort.resample import squared
from synthrelease.cohort.types import SourceImage, patient_key, study_key
from synthrelease.cohort.windows import to_unit
from synthrelease.dicom.mask_reading import Target
from synthrelease.dicom.opening import read_attribute
from synthrelease.dicom.reading import ReadImage, open_image
from synthrelease.dicom.scanning import Found
from synthrelease.policy.schema import CohortSettings, Window
from synthrelease.records.refusals import Reason, Refusal

NOTE_STUDY = "patient id missing, the study taken as the patient"


@dataclass(frozen=True, slots=True)
class ImageJob:
    """Some frames of a file. Private.

    Attributes:
        found: What the first look at the file told.
        frames: Which, from 0.
        leads: Whether a refusal of the whole file is told with this job, and not with another of the same file.
        masks: Segmentations and structure sets that may speak of the image.
        drawn: Masks that a table names for it.
        label: Class, or why there is none; None where an attribute of the file holds it.
    """

    found: Found
    frames: range
    leads: bool
    masks: tuple[Path, ...]
    drawn: tuple[Drawn, ...]
    label: str | Reason | None


class DicomWork:
    """Does the jobs of a DICOM folder.

    Args:
        settings: How the cohort is read.
    """

    def __init__(self, settings: CohortSettings) -> None:
        self._settings = settings
        self._masks = Masks(settings)
        self._naming = Naming.of(settings)

    def __reduce__(self) -> tuple[Callable[[str], DicomWork], tuple[str]]:
        return _work_of, (self._settings.model_dump_json(),)

    def __call__(self, job: ImageJob, notes: Counter[str]) -> Iterator[SourceImage | Refusal]:
        """Yield each frame of a job as an image or as a refusal."""
        found = job.found
        file = open_image(found.path)
        if isinstance(file, Refusal) or file.frames != found.frames:
            if job.leads:
                yield file if isinstance(file, Refusal) else Refusal(found.path, Reason.HEADER_CUT, "names two counts")
            return
        label = self._label(job)
        for index in job.frames:
            image = file.frame(index)
            yield image if isinstance(image, Refusal) else self._read(job, image, label, notes)

    def _read(self, job: ImageJob, image: ReadImage, label: str | Reason, notes: Counter[str]) -> SourceImage | Refusal:
        found, settings = job.found, self._settings
        if (image.sop_uid, image.issuer, image.patient_id) != (found.sop_uid, found.issuer, found.patient):
            # Masks and class were looked up for the other one.
            return Refusal(found.path, Reason.HEADER_CUT, "names two instances")
        patient = self._patient(image, notes)
        if patient is None:
            return Refusal(found.path, Reason.NO_PATIENT)
        if isinstance(label, Reason):
            return Refusal(found.path, label)
        height, width = image.pixels.shape
        target = Target(image.sop_uid, image.frame, (height, width), image.plane, image.frame_of_reference)
        told: Counter[str] = Counter()  # counted when nothing refuses the image any more
        planes = self._masks.of(target, label, job.masks, job.drawn, told) if settings.segments else None
        if isinstance(planes, Reason):
            if settings.masks == "required":
                return Refusal(found.path, planes)
            told[f"{planes}, image kept without"] += 1
            planes = None
        try:
            pixels = to_unit(
                image.pixels,
                self._window(image),
                value_range=image.value_range,
                own=image.window,
                inverted=image.inverted,
                padding=image.padding,
            )
        except (ValueError, ArithmeticError):
            return Refusal(found.path, Reason.NO_WINDOW)
        if pixels.min() == pixels.max():
            return Refusal(found.path, Reason.CONSTANT, "within the window")
        if image.spacing_mm is not None:
            pixels, planes = squared(pixels, planes, image.spacing_mm[0] / image.spacing_mm[1])
        notes.update(image.notes)
        notes.update(told)
        image_id = image.sop_uid if image.frame is None else f"{image.sop_uid}#{image.frame}"
        attributes = attributes_of(image.sex, image.age, scanner_of(image.manufacturer, image.model))
        return SourceImage(image_id, patient, pixels, planes, label, image.pixel_digest, attributes)

    def _window(self, image: ReadImage) -> Window:
        # A synthetic image carries the window that gives back what the model made; a fixed window speaks of the
        # values of the private archive, which a synthetic file does not have.
        if image.synthetic and image.window is not None:
            return self._settings.window.model_copy(update={"mode": "header"})
        return self._settings.window

    def _patient(self, image: ReadImage, notes: Counter[str]) -> str | None:
        """Issuer and id: the same id from two issuers is two people."""
        if image.patient_id:
            return patient_key(image.issuer, image.patient_id)
        if self._settings.identity.missing == "study" and image.study_uid:
            notes[NOTE_STUDY] += 1
            return study_key(image.study_uid)
        return None

    def _label(self, job: ImageJob) -> str | Reason:
        if job.label is not None:
            return job.label
        keyword = self._settings.label.attribute or ""
        return self._naming.class_of(read_attribute(job.found.path, keyword))


@lru_cache(maxsize=1)
def _work_of(settings: str) -> DicomWork:
    """The one of this process, so that what it keeps open serves job after job."""
    return DicomWork(CohortSettings.model_validate_json(settings))

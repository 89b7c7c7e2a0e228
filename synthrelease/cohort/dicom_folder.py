"""A folder of DICOM files: images wherever they lie, with the masks that belong to them.

First a look at every header: which instance, which patient, which references. What only shows between files (an
instance twice, or under two patients; which masks belong to an image) is decided there. What is left are jobs that
know nothing of each other: see :mod:`synthrelease.cohort.dicom_work`.

One patient's files never give another patient masks: a mask that names nobody belongs to the image that it refers to,
and one that only tells places is tried on images of its own patient alone.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from synthrelease.cohort.dicom_work import DicomWork, ImageJob
from synthrelease.cohort.labels import Labels
from synthrelease.cohort.mask_table import MaskTable, of_two_issuers
from synthrelease.cohort.planned import read_planned
from synthrelease.cohort.processes import Workers
from synthrelease.cohort.types import SourceImage, patient_key
from synthrelease.dicom.frames import MOST_FRAMES
from synthrelease.dicom.opening import list_files
from synthrelease.dicom.scanning import Found, Kind, scan
from synthrelease.errors import UsageError
from synthrelease.policy.schema import CohortSettings
from synthrelease.records.digests import digest_of_file
from synthrelease.records.refusals import Reason, Refusal

NOTE_TEXT = "text file beside the images"
NOTE_DIRECTORY = "DICOMDIR, passed over: the folder itself is read"
NOTE_ORPHAN = "mask that belongs to no image of the folder"
FRAMES_A_JOB = 16
_TEXT = frozenset((".csv", ".html", ".json", ".jsonl", ".md", ".sha256", ".txt", ".yaml", ".yml"))
_ISSUERS_FIX = "Add a column IssuerOfPatientID to the table."


class DicomFolder:
    """Reads a folder of DICOM files.

    Args:
        settings: How the cohort is read.
        folder: Private.
        labels: Classes by key; not used when `settings.label.attribute` names an attribute.
        beside: Files of the folder that are not part of the cohort, such as its label table.
        masks: The masks that are no DICOM; None without.

    Attributes:
        notes: Remarks on what was read all the same, counted.
        work: Does a job.
    """

    def __init__(
        self,
        settings: CohortSettings,
        folder: Path,
        labels: Labels,
        beside: frozenset[Path] = frozenset(),
        masks: MaskTable | None = None,
    ) -> None:
        self._settings = settings
        self._folder = Path(os.path.normpath(folder))
        self._labels = labels
        self._table = masks
        self._beside = {Path(os.path.normpath(path)) for path in (*beside, *(masks.files if masks else ()))}
        self.notes: Counter[str] = Counter()
        self.work = DicomWork(settings)

    def read(self) -> Iterator[SourceImage | Refusal]:
        """Yield the refusals of the first look, then every other image, both in the order of their paths."""
        return read_planned(self)

    def plan(self, workers: Workers) -> Iterator[ImageJob | Refusal]:
        """Yield the refusals of the first look, then a job or a refusal for every other image.

        Raises:
            UsageError: A table names patients by an id that two issuers gave, and does not tell issuers.
        """
        images: dict[str, list[Found]] = {}
        masks: list[Found] = []
        files = [path for path in list_files(self._folder) if path not in self._beside]
        for path, found in zip(files, workers.map(scan, files), strict=True):
            if isinstance(found, Refusal) and found.reason is Reason.NOT_DICOM and path.suffix in _TEXT:
                self.notes[NOTE_TEXT] += 1
            elif isinstance(found, Refusal):
                yield found
            elif found.kind is Kind.DIRECTORY:
                self.notes[NOTE_DIRECTORY] += 1
            elif found.kind is Kind.MASK:
                masks.append(found)
            else:
                images.setdefault(found.sop_uid, []).append(found)
        self._check_issuers([found for group in images.values() for found in group])
        taken: dict[str, Found] = {}
        for group in images.values():
            kept, refused = _settled(group) if len(group) > 1 else (group[0], [])
            yield from refused
            if kept is not None:
                taken[kept.sop_uid] = kept
        paths, strangers = self._belonging(masks, taken)
        for found in taken.values():
            if found.sop_uid in strangers:
                yield Refusal(found.path, Reason.TWO_PATIENTS, "its mask names another patient")
            else:
                yield from self._jobs(found, tuple(paths.get(found.sop_uid, ())))
        if self._table is not None:
            self._table.count_unused(self.notes)

    def _jobs(self, found: Found, masks: tuple[Path, ...]) -> Iterator[ImageJob | Refusal]:
        """The jobs of one file; frames that are many make several."""
        if found.frames > MOST_FRAMES:
            yield Refusal(found.path, Reason.IMPLAUSIBLE_SIZE, "too many frames")
            return
        chosen = frames_chosen(found.frames, self._settings.frames)
        if chosen is None:
            yield Refusal(found.path, Reason.MULTI_FRAME)
            return
        drawn = self._table.of(found) if self._table is not None else ()
        label = self._label(found)
        for start in range(chosen.start, chosen.stop, FRAMES_A_JOB):
            frames = range(start, min(start + FRAMES_A_JOB, chosen.stop))
            yield ImageJob(found, frames, start == chosen.start, masks, drawn, label)

    def _label(self, found: Found) -> str | Reason | None:
        if self._settings.label.attribute is not None:
            return None
        if not self._labels.by_patient:
            return self._labels.of(found.sop_uid)
        return self._labels.of(patient_key(found.issuer, found.patient) if self._labels.issuers else found.patient)

    def _check_issuers(self, images: list[Found]) -> None:
        """Refuse a table whose rows cannot be told apart by patient: one row would speak of two people.

        It is refused as a whole. Left out, an ambiguous patient would be one whose data follow from another's.
        """
        labels, table = self._labels, self._table
        if labels.by_patient and not labels.issuers:
            named = frozenset(labels.by_key)
            if of_two_issuers(images, named):
                raise UsageError(
                    "the label table names a Patient ID that two issuers gave, and does not tell issuers",
                    fix=_ISSUERS_FIX,
                )
            if labels.disputed and any(found.issuer for found in images):
                raise UsageError(
                    "the label table gives one Patient ID two classes, and does not tell issuers",
                    fix=f"{_ISSUERS_FIX[:-1]}, or correct it.",
                )
        if table is not None and not table.tells_issuers and of_two_issuers(images, table.patients):
            raise UsageError(
                "masks.csv names a Patient ID that two issuers gave, and does not tell issuers", fix=_ISSUERS_FIX
            )

    def _belonging(self, masks: list[Found], images: dict[str, Found]) -> tuple[dict[str, list[Path]], set[str]]:
        """Mask files by image, and the images whose mask names another patient."""
        paths: dict[str, list[Path]] = {}
        strangers: set[str] = set()
        if not self._settings.segments:
            return paths, strangers
        placed: dict[str, list[Found]] = {}
        for found in images.values():
            if found.frame_of_reference:
                placed.setdefault(found.frame_of_reference, []).append(found)
        for mask in masks:
            referred = [images[uid] for uid in mask.references if uid in images]
            if not mask.references:
                around = placed.get(mask.frame_of_reference, ())
                referred = [image for image in around if _may_lie_in(mask, image)]
            if not referred:
                self.notes[NOTE_ORPHAN] += 1
            for image in referred:
                paths.setdefault(image.sop_uid, []).append(mask.path)
                if _of_two_people(mask, image):
                    strangers.add(image.sop_uid)
        return paths, strangers


def frames_chosen(frames: int, choice: str) -> range | None:
    """Which frames of a file are read, from 0; None when it is refused for having several.

    >>> frames_chosen(9, "each"), frames_chosen(9, "middle"), frames_chosen(9, "refuse"), frames_chosen(1, "refuse")
    (range(0, 9), range(4, 5), None, range(0, 1))
    """
    if frames == 1 or choice == "each":
        return range(frames)
    return range(frames // 2, frames // 2 + 1) if choice == "middle" else None


def _may_lie_in(mask: Found, image: Found) -> bool:
    """Whether a mask that names no image may belong to one: the same patient, and the series if it names one."""
    known = bool(mask.patient) and mask.patient == image.patient and not _of_two_people(mask, image)
    return known and mask.series_uid in ("", image.series_uid)


def _of_two_people(mask: Found, image: Found) -> bool:
    """Whether a mask names another patient than its image. Issuers are often left out of masks."""
    if mask.patient and image.patient and mask.patient != image.patient:
        return True
    return bool(mask.issuer and image.issuer and mask.issuer != image.issuer)


def _settled(group: list[Found]) -> tuple[Found | None, list[Refusal]]:
    """Which of several files with one SOP Instance UID is kept, and the refusals of the others."""
    if len({(found.issuer, found.patient) for found in group}) > 1:
        return None, [Refusal(found.path, Reason.TWO_PATIENTS) for found in group]
    if len({digest_of_file(found.path) for found in group}) > 1:
        return None, [Refusal(found.path, Reason.DUPLICATE) for found in group]
    return group[0], [Refusal(found.path, Reason.COPY) for found in group[1:]]

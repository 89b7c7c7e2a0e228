"""A folder of DICOM files: images wherever they lie, with the segmentations that refer to them.

Two passes. The first looks at headers: which instance, which patient, which references. What only shows between
files (an instance twice, or under two patients) is refused there. The second reads pixels, one image at a time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from synthrelease.cohort.labels import Labels, known_class
from synthrelease.cohort.masking import Masks
from synthrelease.cohort.resample import squared
from synthrelease.cohort.types import SourceImage, patient_key, study_key
from synthrelease.cohort.windows import to_unit
from synthrelease.dicom.reading import ReadImage, list_files, read_image
from synthrelease.dicom.scanning import Found, Kind, scan
from synthrelease.policy.schema import CohortSettings, Window
from synthrelease.records.digests import digest_of_file
from synthrelease.records.refusals import Reason, Refusal

NOTE_STUDY = "patient id missing, the study taken as the patient"
NOTE_TEXT = "text file beside the images"
NOTE_ORPHAN = "segmentation that refers to no image of the folder"
_TEXT = frozenset((".csv", ".html", ".json", ".jsonl", ".md", ".sha256", ".txt", ".yaml", ".yml"))


class DicomFolder:
    """Reads a folder of DICOM files.

    Args:
        settings: How the cohort is read.
        folder: Private.
        labels: Classes by key; not used when `settings.label.attribute` names an attribute.
        beside: Files of the folder that are not part of the cohort, such as its label table.

    Attributes:
        notes: Remarks on what was read all the same, counted.
    """

    def __init__(
        self, settings: CohortSettings, folder: Path, labels: Labels, beside: frozenset[Path] = frozenset()
    ) -> None:
        self._settings = settings
        self._folder = folder
        self._labels = labels
        self._beside = beside
        self.notes: Counter[str] = Counter()

    def read(self) -> Iterator[SourceImage | Refusal]:
        """Yield the refusals of the first pass, then every other image, both in the order of their paths."""
        images: dict[str, list[Found]] = {}
        segmentations: list[Found] = []
        for path in list_files(self._folder):
            if path in self._beside:
                continue
            found = scan(path)
            if isinstance(found, Refusal) and found.reason is Reason.NOT_DICOM and path.suffix in _TEXT:
                self.notes[NOTE_TEXT] += 1
            elif isinstance(found, Refusal):
                yield found
            elif found.kind is Kind.MASK:
                segmentations.append(found)
            else:
                images.setdefault(found.sop_uid, []).append(found)
        taken: list[Found] = []
        for group in images.values():
            kept, refused = _settled(group) if len(group) > 1 else (group[0], [])
            yield from refused
            if kept is not None:
                taken.append(kept)
        files, strangers = self._references(segmentations, {found.sop_uid: found for found in taken})
        masks = Masks(self._settings.segments, files, self.notes)
        for found in taken:
            if found.sop_uid in strangers:
                yield Refusal(found.path, Reason.TWO_PATIENTS, "its segmentation names another patient")
            else:
                yield self._read(found, masks)

    def _references(
        self, segmentations: list[Found], images: dict[str, Found]
    ) -> tuple[dict[str, list[Path]], set[str]]:
        """Segmentations by image, and the images whose segmentation names another patient."""
        files: dict[str, list[Path]] = {}
        strangers: set[str] = set()
        if not self._settings.segments:
            return files, strangers
        for found in segmentations:
            referred = [images[uid] for uid in found.references if uid in images]
            if not referred:
                self.notes[NOTE_ORPHAN] += 1
            for image in referred:
                files.setdefault(image.sop_uid, []).append(found.path)
                # Issuers are often left out of segmentations: only the ids are compared.
                ids = {patient.split(b"|", 1)[1] for patient in (found.patient, image.patient)}
                if len(ids - {b""}) == 2:
                    strangers.add(image.sop_uid)
        return files, strangers

    def _read(self, found: Found, masks: Masks) -> SourceImage | Refusal:
        image = read_image(found.path)
        if isinstance(image, Refusal):
            return image
        if image.sop_uid != found.sop_uid:
            # Masks and class were looked up for the other one.
            return Refusal(found.path, Reason.HEADER_CUT, "names two instances")
        patient = self._patient(image)
        if patient is None:
            return Refusal(found.path, Reason.NO_PATIENT)
        label = self._label(image)
        if isinstance(label, Reason):
            return Refusal(found.path, label)
        planes = masks.of(image.sop_uid, image.pixels.shape) if self._settings.segments else None
        if isinstance(planes, Reason):
            if self._settings.masks == "required":
                return Refusal(found.path, planes)
            self.notes[f"{planes}, image kept without"] += 1
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
        self.notes.update(image.notes)
        return SourceImage(image.sop_uid, patient, pixels, planes, label, image.pixel_digest)

    def _window(self, image: ReadImage) -> Window:
        # A synthetic image carries the window that gives back what the model made; a fixed window speaks of the
        # values of the private archive, which a synthetic file does not have.
        if image.synthetic and image.window is not None:
            return self._settings.window.model_copy(update={"mode": "header"})
        return self._settings.window

    def _patient(self, image: ReadImage) -> str | None:
        """Issuer and id: the same id from two issuers is two people."""
        if image.patient_id:
            return patient_key(image.issuer, image.patient_id)
        if self._settings.identity.missing == "study" and image.study_uid:
            self.notes[NOTE_STUDY] += 1
            return study_key(image.study_uid)
        return None

    def _label(self, image: ReadImage) -> str | Reason:
        attribute = self._settings.label.attribute
        if attribute is None:
            return self._labels.of(image.patient_id if self._labels.by_patient else image.sop_uid)
        try:
            value = image.header.get(attribute)
        except Exception:  # An element that cannot be parsed: pydicom raises almost anything.
            value = None
        return known_class("" if value is None else str(value), self._settings.classes)


def _settled(group: list[Found]) -> tuple[Found | None, list[Refusal]]:
    """Which of several files with one SOP Instance UID is kept, and the refusals of the others."""
    if len({found.patient for found in group}) > 1:
        return None, [Refusal(found.path, Reason.TWO_PATIENTS) for found in group]
    if len({digest_of_file(found.path) for found in group}) > 1:
        return None, [Refusal(found.path, Reason.DUPLICATE) for found in group]
    return group[0], [Refusal(found.path, Reason.COPY) for found in group[1:]]

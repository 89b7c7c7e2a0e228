"""The phantom cohort as a hospital would hand it over: DICOM images and segmentations with telling headers.

Nobody in it exists, yet every header value has the shape of a real one (names, numbers, dates, places), so that a
scan for header values that leaked into a release has something to find.
"""

from __future__ import annotations

import csv
import hashlib
import io
import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset

from synthrelease.cohort.phantom.patients import PhantomImage, PhantomPatient, simulate_patient
from synthrelease.cohort.phantom.render import SEGMENTS
from synthrelease.dicom.image import MAX_LEVEL, ImageHeader, dx_image
from synthrelease.dicom.segmentation import segmentation
from synthrelease.errors import UsageError
from synthrelease.records.files import atomic_folder, atomic_write_text

LABEL_COLUMNS = ("SOPInstanceUID", "PatientID", "label")
FINDINGS_COLUMN, SEPARATOR = "findings", "|"
"""Of a cohort with several findings at once: the findings of the image, beside its class in `label`."""
LANDMARK_COLUMNS = ("SOPInstanceUID", "PatientID", "landmark", "row", "column")

_DETECTOR_MM = 384.0
_FAMILY = (
    *("ABERNATHY", "BRISTOWE", "CALLOWHILL", "DRUMMELZIER", "ELLINGWORTH", "FARNSBY", "GRIMSTEAD", "HOLLOWAY"),
    *("INCHBALD", "JESMOND", "KETTERIDGE", "LAVINGTON", "MARCHBANKS", "NETHERCOTT", "OAKESHOTT", "PENHALIGON"),
    *("QUILLFEATHER", "RAVENHILL", "SALTONSTALL", "THISTLEWOOD", "UNDERCLIFF", "VANTONGEREN", "WETHERELL"),
)
_GIVEN = {
    "F": [
        "ADELAIDE",
        "BEATRIX",
        "CORDELIA",
        "DOROTHEA",
        "EUGENIA",
        "FRANCESCA",
        "GWENDOLEN",
        "HENRIETTA",
        "ISOLDE",
        "JOSEPHINE",
    ],
    "M": [
        "AMBROSE",
        "BARNABY",
        "CASPIAN",
        "DESMOND",
        "EVERARD",
        "FERDINAND",
        "GODFREY",
        "HORATIO",
        "IGNATIUS",
        "JULIAN",
    ],
}
_HOSPITALS = ("Ravensmoor General Infirmary", "St Cuthbert Chest Hospital", "Port Ellery Medical Centre")
_ROOMS = ("CHEST1", "CHEST2", "ERXRAY", "PORTABLE3")
_DETECTORS = (("Lumenray", "DR-4400", "2.1.7"), ("Orthoplane", "Axio 12", "V5.03"), ("Lumenray", "DR-5200", "3.0.2"))

Row = tuple[str, ...]


def phantom_uid(seed: int, index: int, name: str) -> str:
    """A UID under 2.25 that `(seed, index, name)` decide alone (PS3.5, annex B.2)."""
    digest = hashlib.sha256(f"synthrelease phantom {seed} {index} {name}".encode()).digest()
    return f"2.25.{int.from_bytes(digest[:16], 'big')}"


@dataclass(frozen=True)
class _Person:
    """What the hospital knows of one patient, and when each image was taken."""

    name: str
    birth_date: str
    visits: tuple[date, ...]
    rng: np.random.Generator


def _admit(patient: PhantomPatient, seed: int) -> _Person:
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(patient.index, 1)))
    first = date(2016, 1, 4) + timedelta(days=int(rng.integers(0, 2200)))
    gaps = np.cumsum([0, *rng.integers(2, 200, len(patient.images) - 1)])
    birth = first - timedelta(days=int(patient.age_years * 365.25 + rng.integers(0, 365)))
    name = f"{rng.choice(_FAMILY)}^{rng.choice(_GIVEN[patient.sex])}^{chr(65 + int(rng.integers(26)))}"
    visits = tuple(first + timedelta(days=int(gap)) for gap in gaps)
    return _Person(name, birth.strftime("%Y%m%d"), visits, rng)


def _image(patient: PhantomPatient, person: _Person, seed: int, number: int) -> Dataset:
    """One radiograph with the header a hospital would give it."""
    picture, rng = patient.images[number], person.rng
    uid = {name: phantom_uid(seed, patient.index, f"{name} {number}") for name in ("study", "series", "image", "frame")}
    manufacturer, model, version = _DETECTORS[int(rng.integers(len(_DETECTORS)))]
    spacing = _DETECTOR_MM / picture.pixels.shape[0]
    header = ImageHeader(
        patient_id=patient.patient_id,
        issuer="RAVENSMOOR",
        patient_name=person.name,
        patient_sex=patient.sex,
        patient_birth_date=person.birth_date,
        study_uid=uid["study"],
        series_uid=uid["series"],
        sop_uid=uid["image"],
        frame_of_reference_uid=uid["frame"],
        study_id=f"S{int(rng.integers(10**6, 10**7))}",
        accession_number=f"RX{int(rng.integers(10**8, 10**9))}",
        study_date=person.visits[number].strftime("%Y%m%d"),
        study_time=f"{int(rng.integers(7, 21)):02d}{int(rng.integers(60)):02d}{int(rng.integers(60)):02d}",
        series_number=1,
        instance_number=1,
        manufacturer=manufacturer,
        model_name=model,
        software_versions=version,
        institution_name=str(rng.choice(_HOSPITALS)),
        spacing_mm=(spacing, spacing),
    )
    image = dx_image(np.round(picture.pixels * MAX_LEVEL).astype(np.uint16), header)
    image.PatientAge = f"{patient.age_years:03d}Y"
    image.ReferringPhysicianName = f"{rng.choice(_FAMILY)}^{rng.choice(_GIVEN['F'])}"
    image.OperatorsName = f"{rng.choice(_FAMILY)}^{rng.choice(_GIVEN['M'])}"
    image.StationName = str(rng.choice(_ROOMS))
    image.StudyDescription = "Chest PA"
    return image


def _masks(image: Dataset, picture: PhantomImage, seed: int, index: int, number: int) -> Dataset:
    return segmentation(
        image,
        np.stack([picture.masks[name] for name in SEGMENTS]),
        SEGMENTS,
        sop_uid=phantom_uid(seed, index, f"segmentation {number}"),
        series_uid=phantom_uid(seed, index, f"segmentation series {number}"),
        dimension_uid=phantom_uid(seed, index, f"dimensions {number}"),
        created_date=image.StudyDate,
        created_time=image.StudyTime,
        marking=None,
    )


def _write_patient(folder: Path, seed: int, index: int, size: int, several: bool) -> tuple[list[Row], list[Row]]:
    """Write one patient's files; returns the rows for the label and landmark tables."""
    patient = simulate_patient(seed, index, size, several=several)
    person = _admit(patient, seed)
    home = folder / patient.patient_id
    home.mkdir()
    labels: list[Row] = []
    landmarks: list[Row] = []
    for number, picture in enumerate(patient.images):
        image = _image(patient, person, seed, number)
        image.save_as(home / f"IMG{number + 1:02d}.dcm", enforce_file_format=True)
        masks = _masks(image, picture, seed, index, number)
        masks.save_as(home / f"SEG{number + 1:02d}.dcm", enforce_file_format=True)
        key = (str(image.SOPInstanceUID), patient.patient_id)
        labels.append((*key, patient.finding, *((_findings(patient.finding),) if several else ())))
        for name, (row, column) in sorted(picture.landmarks.items()):
            landmarks.append((*key, name, f"{row:.3f}", f"{column:.3f}"))
    return labels, landmarks


def _write_one(task: tuple[Path, int, int, int, bool]) -> tuple[list[Row], list[Row]]:
    return _write_patient(*task)


def _results(tasks: list[tuple[Path, int, int, int, bool]], processes: int) -> Iterator[tuple[list[Row], list[Row]]]:
    """Each patient's rows, in the order of the patients however many processes work."""
    if processes == 1:
        yield from map(_write_one, tasks)
        return
    # spawn, not fork: the caller may hold threads (torch, BLAS), which a fork would copy in mid-step.
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(_write_one, tasks, chunksize=max(1, min(16, len(tasks) // (4 * processes))))


def _findings(name: str) -> str:
    """The findings of a patient as one cell.

    >>> _findings("nodule_and_effusion"), _findings("normal")
    ('nodule|effusion', 'normal')
    """
    return SEPARATOR.join(name.split("_and_"))


def _table(columns: Row, rows: list[Row]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue()


def write_phantom_cohort(
    folder: Path,
    *,
    patients: int,
    seed: int,
    size: int = 128,
    several: bool = False,
    processes: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write a phantom cohort as DX images with DICOM-SEG masks, `labels.csv` and `landmarks.csv`.

    The bytes depend on `patients`, `seed`, `size` and `several` alone, never on `processes`. The folder appears under its
    name only when it is complete.

    Args:
        folder: Where to; replaced when it exists. Gets `PATxxxxx/IMGnn.dcm` and `PATxxxxx/SEGnn.dcm`.
        patients: How many, >= 1.
        seed: Seed of the cohort, >= 0.
        size: Width and height of the images, 32 to 512 pixels.
        several: Whether some patients have both findings at once; `labels.csv` then has a column `findings` too. The files
            of the other patients are the same.
        processes: How many processes write, >= 1.
        progress: Called as `progress(done, patients)` after each patient.

    Raises:
        UsageError: A number is out of range.
        UnsuitableData: The disk is full or the place cannot be written.
    """
    if patients < 1 or processes < 1 or seed < 0 or not 32 <= size <= 512:
        raise UsageError(
            f"a phantom cohort of {patients} patients, seed {seed}, size {size}, {processes} processes cannot be made",
            fix="Ask for at least 1 patient and 1 process, a seed of 0 or more, and a size of 32 to 512 pixels.",
        )
    labels: list[Row] = []
    landmarks: list[Row] = []
    with atomic_folder(folder) as partial:
        tasks = [(partial, seed, index, size, several) for index in range(patients)]
        for done, (more_labels, more_landmarks) in enumerate(_results(tasks, processes), start=1):
            labels += more_labels
            landmarks += more_landmarks
            if progress is not None:
                progress(done, patients)
        columns = (*LABEL_COLUMNS, FINDINGS_COLUMN) if several else LABEL_COLUMNS
        atomic_write_text(partial / "labels.csv", _table(columns, labels))
        atomic_write_text(partial / "landmarks.csv", _table(LANDMARK_COLUMNS, landmarks))

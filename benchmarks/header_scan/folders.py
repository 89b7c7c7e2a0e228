"""Invented folders for the header gates: a hospital whose values collide with everything, and two archives.

Every name, number and date here is made up; the hospital is built to raise false alarms (short patient numbers, people
called May and Rose, a hospital called General, studies on the archive's own date).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian, generate_uid

from synthrelease.archive.samples import SampleBatch, held_samples
from synthrelease.archive.texts import expected_texts
from synthrelease.archive.writer import write_archive
from synthrelease.audit.expectation import Expectation
from synthrelease.dicom.release.settings import ArchiveSettings
from synthrelease.dicom.release.templates import release_templates

RELEASE_DATE = "20260315"
FAMILY = (
    *("May", "Rose", "Lee", "Abernathy", "Włodarczyk", "Chest", "Okonkwo", "Müller", "Smith", "Nguyen", "O'Brien"),
    *("Kim", "King", "Synthetic", "Patient", "Heart", "Images", "Garcia-Lopez", "van Dyk", "Normal", "Lung"),
    *("Białek", "Öztürk", "Ng", "Li", "Day", "Young", "Hall", "Fitzwilliam", "Castellanos"),
)
GIVEN = (
    *("Ann", "May", "Rose", "Grace", "Beatrix", "José", "John", "Lee", "Zoë", "Mark"),
    *("Joy", "Maria", "Chris", "Kofi", "Li", "Xi", "Olivia", "Noah", "Ivy", "Dean"),
)
HOSPITALS = ("General", "General Hospital", "Port Ellery Chest Hospital", "University Medical Center", "St. Ravensmoor")
COMMENTS = (
    "Compared with the study of last year. Transferred from Ravensmoor by Dr Kowalczyk.",
    "portable",
    "Patient may not raise arms; image rotated to the left lung.",
)
SEGMENTS = ("lung_left", "lung_right", "heart", "effusion")
CLASSES = ("normal", "effusion")


def write_hospital(folder: Path, files: int, *, seed: int = 0) -> None:
    """Real-looking headers, two images a patient, without pixels worth the name."""
    rng = np.random.default_rng(seed)
    for number in range(files):
        image = hospital_header(number // 2, number, rng)
        path = folder / f"{number // 2:05d}" / f"IM{number:06d}"
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save_as(path, enforce_file_format=True)


def hospital_header(patient: int, number: int, rng: np.random.Generator) -> Dataset:
    """One header of a patient."""
    image = Dataset()
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image.file_meta.MediaStorageSOPClassUID = DigitalXRayImageStorageForPresentation
    image.file_meta.ImplementationVersionName = "LUMENRAY_4"
    root = "1.3.6.1.4.1.99999.7.20240131"
    image.SpecificCharacterSet = "ISO_IR 192"
    image.SOPClassUID = DigitalXRayImageStorageForPresentation
    image.SOPInstanceUID = f"{root}.3.{10_000 + number}.{number * 7 + 3}"
    image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
    image.StudyInstanceUID = f"{root}.1.{20_000 + patient}"
    image.SeriesInstanceUID = f"{root}.2.{30_000 + number}"
    image.FrameOfReferenceUID = f"2.25.{300_000_000_000_000_000 + number}"
    family, given = FAMILY[patient % len(FAMILY)], GIVEN[(patient // 7) % len(GIVEN)]
    image.PatientName = "山田^太郎" if patient % 40 == 39 else f"{family}^{given}"
    # A third of the patients have short numbers, a third padded ones, a third a code.
    image.PatientID = (str(patient + 1), f"{patient + 1:06d}", f"MRN{4_401_200 + patient}")[patient % 3]
    image.IssuerOfPatientID = "RAVENSMOOR"
    image.PatientBirthDate = f"{1930 + patient % 80}{1 + patient % 12:02d}{1 + patient % 28:02d}"
    image.PatientSex = "FM"[patient % 2]
    image.PatientAge = f"{20 + patient % 70:03d}Y"
    image.OtherPatientIDsSequence = [Dataset()]
    image.OtherPatientIDsSequence[0].PatientID = f"{9_900_000 + 13 * patient}"
    same_day = patient % 10 == 0
    image.StudyDate = RELEASE_DATE if same_day else f"20{10 + patient % 15}{1 + patient % 12:02d}{1 + patient % 28:02d}"
    image.SeriesDate = image.ContentDate = image.AcquisitionDate = image.StudyDate
    image.StudyTime = (
        "000000" if same_day else f"{8 + patient % 10:02d}{patient % 60:02d}{number % 60:02d}.{number:06d}"
    )
    image.AccessionNumber = str(patient % 900 + 1) if patient % 2 else f"RX{88_123_000 + patient}"
    image.StudyID = str(patient % 50 + 1)
    image.ReferringPhysicianName = f"{GIVEN[patient % len(GIVEN)]}son^{FAMILY[(patient + 3) % len(FAMILY)]}"
    image.PerformingPhysicianName = "Doe^Jane"
    image.InstitutionName = HOSPITALS[patient % len(HOSPITALS)]
    image.InstitutionAddress = "1 Harbour Road, Port Ellery"
    image.InstitutionalDepartmentName = "Radiology"
    image.StationName = f"DR{1 + patient % 4}"
    image.DeviceSerialNumber = f"SN{5_550_100 + patient % 4}"
    image.Manufacturer = "Lumenray"
    image.Modality = "DX"
    image.StudyDescription = ("CHEST PA", "Thorax, two views", "Image of the heart")[patient % 3]
    image.SeriesDescription = "Digital X-Ray Image"
    image.ProtocolName = "Chest"
    image.ImageComments = COMMENTS[patient % len(COMMENTS)]
    image.RequestAttributesSequence = [Dataset()]
    image.RequestAttributesSequence[0].RequestedProcedureID = f"P{777_000 + patient}"
    image.RequestAttributesSequence[0].ReasonForTheRequestedProcedure = "cough for weeks"
    image.BodyPartExamined = "CHEST"
    image.SeriesNumber = image.InstanceNumber = "1"
    image.add_new(0x00090010, "LO", "RAVENS PRIVATE")
    image.add_new(0x00091001, "LO", f"Cohort-Zebrafinch {patient + 1}")
    image.add_new(0x00091002, "UN", f"batch {60_000 + patient}".encode())
    image.Rows = image.Columns = 4
    image.BitsAllocated, image.BitsStored, image.HighBit = 16, 12, 11
    image.SamplesPerPixel, image.PhotometricInterpretation, image.PixelRepresentation = 1, "MONOCHROME2", 0
    image.PixelData = rng.integers(0, 4096, 16).astype("<u2").tobytes()
    return image


def settings(images: int, *, side: int = 128, reports: bool = False) -> ArchiveSettings:
    """Public settings of an archive whose release is named like a hospital."""
    return ArchiveSettings(
        release_name="General chest release",
        segments=SEGMENTS,
        classes=CLASSES,
        spacing_mm=(2.34375, 2.34375),
        software_version="0.1.0",
        study_date=RELEASE_DATE,
        edition="c0ffee",
        images=images,
        images_per_patient=2,
        rows=side,
        columns=side,
        reports=reports,
    )


def write_ours(folder: Path, wanted: ArchiveSettings, *, seed: int = 0) -> Expectation:
    """An archive of our own with noise for pixels, and what it must be."""
    rng = np.random.default_rng(seed)
    shape = (wanted.images, 1, wanted.rows, wanted.columns)
    pixels = rng.uniform(-1, 1, shape).astype(np.float32)
    masks = (rng.random((wanted.images, len(wanted.segments), *shape[2:])) < 0.3).astype(np.float32)
    labels = np.repeat(rng.integers(0, len(wanted.classes), wanted.patients), wanted.images_per_patient)[
        : wanted.images
    ]
    write_archive(folder, held_samples(SampleBatch(pixels, masks, labels), wanted), wanted)
    return Expectation(release_templates(wanted), expected_texts(wanted, labels.tolist()), labels)


def write_foreign(folder: Path, files: int, *, seed: int = 1) -> None:
    """An archive as another tool may write it: random UIDs, own numbers, everyday words, no template."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(files):
        image = Dataset()
        image.file_meta = FileMetaDataset()
        image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        image.file_meta.MediaStorageSOPClassUID = DigitalXRayImageStorageForPresentation
        image.SOPClassUID = DigitalXRayImageStorageForPresentation
        image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        image.StudyInstanceUID, image.SeriesInstanceUID = generate_uid(), generate_uid(prefix=None)
        image.PatientName, image.PatientID = f"Virtual^{number + 1}", str(number + 1)
        image.StudyDate, image.StudyTime, image.StudyID, image.AccessionNumber = "20000101", "120000", "1", ""
        image.StudyDescription, image.SeriesDescription, image.ProtocolName = "CHEST PA", "General chest", "Chest"
        image.ImageComments = "Generated image. May not be used for care; the left lung may rotate."
        image.Manufacturer, image.InstitutionName, image.Modality = "OpenGAN", "Virtual clinic", "DX"
        image.BodyPartExamined, image.InstanceNumber = "CHEST", str(number + 1)
        image.Rows = image.Columns = 64
        image.BitsAllocated, image.BitsStored, image.HighBit = 16, 16, 15
        image.SamplesPerPixel, image.PhotometricInterpretation, image.PixelRepresentation = 1, "MONOCHROME2", 0
        image.PixelData = rng.integers(0, 65536, 64 * 64).astype("<u2").tobytes()
        image.save_as(folder / f"{number:06d}.dcm", enforce_file_format=True)
    (folder / "README.md").write_text("Virtual chests. May, Rose and a general hospital: words, no people.\n")

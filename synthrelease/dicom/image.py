"""A grey image as Digital X-Ray Image Storage - For Presentation (PS3.3, section A.26).

DX and not CR: DX admits the Frame of Reference module, and without a frame of reference no common viewer opens a
segmentation over the image. Pixels are 12 bit in 16 with an identity window, so what a model made is what a
reader sees.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sr.coding import Code
from pydicom.uid import UID, DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian

from synthrelease.errors import UnsuitableData

MAX_LEVEL = 4095
"""Largest stored value: 12 bits."""

IMPLEMENTATION_CLASS_UID = UID("2.25.184699050585622090246601961047021826748")
"""Says which software wrote the file (PS3.10, section 7.1); never changes."""

IMPLEMENTATION_VERSION = "SYNTHRELEASE_1"
"""Changes when the layout of the files does (VR SH, at most 16 characters)."""

# Anatomic Region (CID 4009, DX Anatomy Imaged) by Body Part Examined; other parts get the whole body.
_REGIONS = {
    "CHEST": Code("43799004", "SCT", "Thoracic cavity"),
    "BREAST": Code("76752008", "SCT", "Breast"),
    "ABDOMEN": Code("113345001", "SCT", "Abdomen"),
    "HEAD": Code("69536005", "SCT", "Head"),
    "BRAIN": Code("12738006", "SCT", "Brain"),
}
_WHOLE_BODY = Code("38266002", "SCT", "Entire body")


@dataclass(frozen=True)
class SyntheticMarking:
    """What says, in the file itself, that no patient stands behind it.

    Attributes:
        release_name: The release, as recipients know it; at most 64 characters (VR LO).
        software: Name of the software that synthesised the data.
        version: Its version.
        description: One sentence on how the pixels came about (Derivation Description, VR ST).

    Source: PS3.3, section C.12.1 (Synthetic Data (0008,001C), since 2024b).
    """

    release_name: str
    software: str
    version: str
    description: str = "Made by a generative model; no acquisition took place and no patient stands behind it."


@dataclass(frozen=True, kw_only=True)
class ImageHeader:
    """Every header value of an image that differs from file to file.

    Attributes:
        patient_id: Patient ID.
        issuer: Issuer of Patient ID; the pair names the patient.
        patient_name: With a caret between its parts.
        patient_sex: "M", "F", "O" or "" when unknown.
        patient_birth_date: YYYYMMDD, or "" when unknown.
        study_uid: Study Instance UID.
        series_uid: Series Instance UID.
        sop_uid: SOP Instance UID.
        frame_of_reference_uid: One per image, since nothing places two radiographs in one space.
        study_id: Study ID (VR SH).
        accession_number: Accession Number (VR SH), or "".
        study_date: YYYYMMDD.
        study_time: HHMMSS.
        series_number: From 1.
        instance_number: From 1.
        manufacturer: Of the equipment, or of the software for a synthetic image.
        model_name: Of the equipment or software.
        software_versions: Of the equipment or software.
        institution_name: "" leaves the attribute out.
        spacing_mm: Distance between pixel centres (between rows, between columns).
        body_part: Body Part Examined (PS3.16, annex L).
        synthetic: The marking of a synthetic image; None writes an ordinary one.
    """

    patient_id: str
    issuer: str
    patient_name: str
    patient_sex: str = ""
    patient_birth_date: str = ""
    study_uid: str
    series_uid: str
    sop_uid: str
    frame_of_reference_uid: str
    study_id: str
    accession_number: str
    study_date: str
    study_time: str
    series_number: int
    instance_number: int
    manufacturer: str
    model_name: str
    software_versions: str
    institution_name: str = ""
    spacing_mm: tuple[float, float]
    body_part: str = "CHEST"
    synthetic: SyntheticMarking | None = None


def dx_image(levels: npt.NDArray[np.uint16], header: ImageHeader) -> Dataset:
    """A DX For Presentation image of the given stored values.

    Args:
        levels: (H, W) uint16, stored values in 0..4095, brighter is larger.
        header: Everything else.

    Returns:
        A data set with file meta, ready for `save_as(path, enforce_file_format=True)`.

    Raises:
        UnsuitableData: The array is not (H, W) uint16, or a value needs more than 12 bits.

    Source: PS3.3, sections A.26 and C.8.11.
    """
    if levels.ndim != 2 or levels.dtype != np.uint16 or levels.size == 0:
        raise UnsuitableData(
            f"an image of shape {levels.shape} and type {levels.dtype} cannot be written",
            fix="Give a (rows, columns) uint16 array.",
        )
    if int(levels.max()) > MAX_LEVEL:
        raise UnsuitableData("an image holds values above 4095", fix="Map the pixels to 0..4095 first.")
    image = Dataset()
    image.file_meta = file_meta(DigitalXRayImageStorageForPresentation, header.sop_uid)
    image.preamble = b"\0" * 128
    _identify(image, header)
    _describe_acquisition(image, header)
    _add_pixels(image, levels)
    if header.synthetic is not None:
        _mark_synthetic(image, header, header.synthetic)
    return image


def file_meta(sop_class: str, sop_uid: str) -> FileMetaDataset:
    """File Meta Information that names this software and nothing else (PS3.10, section 7.1)."""
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\x00\x01"
    meta.MediaStorageSOPClassUID = UID(sop_class)
    meta.MediaStorageSOPInstanceUID = UID(sop_uid)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = IMPLEMENTATION_CLASS_UID
    meta.ImplementationVersionName = IMPLEMENTATION_VERSION
    return meta


def code_item(code: Code) -> Dataset:
    """A Code Sequence item (PS3.3, section 8.8)."""
    item = Dataset()
    item.CodeValue = code.value
    item.CodingSchemeDesignator = code.scheme_designator
    item.CodeMeaning = code.meaning
    return item


def _identify(image: Dataset, header: ImageHeader) -> None:
    """Patient, study, series, equipment, frame of reference and instance."""
    image.SpecificCharacterSet = "ISO_IR 192"
    image.SOPClassUID = DigitalXRayImageStorageForPresentation
    image.SOPInstanceUID = header.sop_uid
    image.PatientName = header.patient_name
    image.PatientID = header.patient_id
    if header.issuer:
        image.IssuerOfPatientID = header.issuer
        image.TypeOfPatientID = "TEXT"
    image.PatientBirthDate = header.patient_birth_date
    image.PatientSex = header.patient_sex
    image.StudyInstanceUID = header.study_uid
    image.StudyID = header.study_id
    image.StudyDate = image.SeriesDate = image.ContentDate = header.study_date
    image.StudyTime = image.SeriesTime = image.ContentTime = header.study_time
    image.AccessionNumber = header.accession_number
    image.ReferringPhysicianName = ""
    image.Modality = "DX"
    image.PresentationIntentType = "FOR PRESENTATION"
    image.SeriesInstanceUID = header.series_uid
    image.SeriesNumber = header.series_number
    image.InstanceNumber = header.instance_number
    image.Manufacturer = header.manufacturer
    image.ManufacturerModelName = header.model_name
    image.SoftwareVersions = header.software_versions
    if header.institution_name:
        image.InstitutionName = header.institution_name
    image.FrameOfReferenceUID = header.frame_of_reference_uid
    image.PositionReferenceIndicator = ""


def _describe_acquisition(image: Dataset, header: ImageHeader) -> None:
    """DX Anatomy Imaged, DX Image, DX Detector and DX Positioning, as far as they are mandatory."""
    image.ImageType = ["ORIGINAL", "PRIMARY", ""]
    image.BodyPartExamined = header.body_part
    image.AnatomicRegionSequence = [code_item(_REGIONS.get(header.body_part, _WHOLE_BODY))]
    image.ImageLaterality = "U"
    image.PatientOrientation = ["L", "F"]
    image.ImagerPixelSpacing = [_decimal(distance) for distance in header.spacing_mm]
    image.PositionerType = ""
    image.DetectorType = ""
    image.BurnedInAnnotation = "NO"
    image.LossyImageCompression = "00"
    image.AcquisitionContextSequence = []


def _add_pixels(image: Dataset, levels: npt.NDArray[np.uint16]) -> None:
    image.SamplesPerPixel = 1
    image.PhotometricInterpretation = "MONOCHROME2"
    image.Rows, image.Columns = levels.shape
    image.BitsAllocated, image.BitsStored, image.HighBit = 16, 12, 11
    image.PixelRepresentation = 0
    image.PixelIntensityRelationship = "LOG"
    image.PixelIntensityRelationshipSign = -1
    image.RescaleIntercept, image.RescaleSlope, image.RescaleType = "0", "1", "US"
    image.PresentationLUTShape = "IDENTITY"
    # PS3.3 C.11.2.1.2.1 maps c - 0.5 - (w-1)/2 .. c - 0.5 + (w-1)/2, here exactly 0..4095, to the full range.
    image.WindowCenter, image.WindowWidth = "2048", "4096"
    image.PixelData = np.ascontiguousarray(levels, dtype="<u2").tobytes()


def _mark_synthetic(image: Dataset, header: ImageHeader, marking: SyntheticMarking) -> None:
    """Everything by which a person or a program can tell that the image is synthetic."""
    image.ImageType = ["DERIVED", "PRIMARY", ""]
    image.DerivationDescription = marking.description
    image.ImageComments = "SYNTHETIC IMAGE. Not acquired from a patient. Not for clinical use."
    image.PatientComments = "Synthetic patient; no such person exists."
    image.PatientIdentityRemoved = "YES"
    image.DeidentificationMethod = [
        "Synthetic: the header was written from a template",
        "No attribute was taken from an acquired image",
    ]
    image.RecognizableVisualFeatures = "NO"
    # Once one attribute of the Clinical Trial Subject module is there, the group is demanded (PS3.3 C.7.1.3).
    image.ClinicalTrialSponsorName = marking.software
    image.ClinicalTrialProtocolID = marking.release_name
    image.ClinicalTrialProtocolName = "Synthetic archive"
    image.ClinicalTrialSiteID = ""
    image.ClinicalTrialSiteName = ""
    image.ClinicalTrialSubjectID = header.patient_id
    mark_instance(image, marking)
    image.ContributingEquipmentSequence = [synthesizer(marking, header.study_date + header.study_time)]


def mark_instance(instance: Dataset, marking: SyntheticMarking) -> None:
    """The SOP Common attributes of any synthetic instance, image or mask (PS3.3, section C.12.1)."""
    instance.SyntheticData = "YES"
    instance.ContentQualification = "RESEARCH"
    instance.TimezoneOffsetFromUTC = "+0000"


def synthesizer(marking: SyntheticMarking, made_at: str) -> Dataset:
    """The Contributing Equipment item of the software that synthesised the data, at `made_at` (VR DT)."""
    item = Dataset()
    item.Manufacturer = marking.software
    item.ManufacturerModelName = marking.software
    item.SoftwareVersions = marking.version
    item.ContributionDateTime = made_at
    item.ContributionDescription = "Synthesised the data"
    item.PurposeOfReferenceCodeSequence = [code_item(Code("109100", "DCM", "Synthesizing Equipment"))]
    return item


def _decimal(value: float) -> str:
    """A Decimal String of at most 16 characters (PS3.5, table 6.2-1)."""
    return f"{value:.10g}"

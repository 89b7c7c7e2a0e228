"""What images and masks have in common: who wrote the file, coded items, and the mark of a synthetic instance."""

from __future__ import annotations

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sr.coding import Code
from pydicom.uid import UID, ExplicitVRLittleEndian
from pydicom.valuerep import format_number_as_ds

from synthrelease.dicom.image.body_parts import body_part
from synthrelease.dicom.image.header import ImageHeader, SyntheticMarking
from synthrelease.errors import UsageError

IMPLEMENTATION_CLASS_UID = UID("2.25.184699050585622090246601961047021826748")
"""Says which software wrote the file (PS3.10, section 7.1); never changes."""

IMPLEMENTATION_VERSION = "SYNTHRELEASE_1"
"""Changes when the layout of the files does (VR SH, at most 16 characters)."""

_NOTICE = "SYNTHETIC IMAGE. Not acquired from a patient. Not for clinical use."


def file_meta(sop_class: str, sop_uid: str, transfer_syntax: str = ExplicitVRLittleEndian) -> FileMetaDataset:
    """File Meta Information that names this software and nothing else (PS3.10, section 7.1)."""
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\x00\x01"
    meta.MediaStorageSOPClassUID = UID(sop_class)
    meta.MediaStorageSOPInstanceUID = UID(sop_uid)
    meta.TransferSyntaxUID = UID(transfer_syntax)
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


def decimal(value: float) -> str:
    """A length or a window as Decimal String: ten digits, at most 16 characters (PS3.5, table 6.2-1)."""
    return f"{value:.10g}"


def exact_decimal(value: float) -> str:
    """A factor as Decimal String with every digit that 16 characters hold."""
    return str(format_number_as_ds(float(value)))


def identify(image: Dataset, header: ImageHeader) -> None:
    """Patient, study, series, equipment, frame of reference, body part and instance; the same for every image class.

    Raises:
        UsageError: A laterality that is none.
    """
    if header.laterality not in ("", "R", "L", "B"):
        raise UsageError(f"laterality {header.laterality!r}", fix="Use R, L, B (both), or nothing when it is unknown.")
    image.SpecificCharacterSet = "ISO_IR 192"
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
    image.SeriesInstanceUID = header.series_uid
    image.SeriesNumber = header.series_number
    image.InstanceNumber = header.instance_number
    if header.series_description:
        image.SeriesDescription = header.series_description
    image.Manufacturer = header.manufacturer
    image.ManufacturerModelName = header.model_name
    image.SoftwareVersions = header.software_versions
    if header.institution_name:
        image.InstitutionName = header.institution_name
    image.FrameOfReferenceUID = header.frame_of_reference_uid
    image.PositionReferenceIndicator = ""
    image.BurnedInAnnotation = "NO"
    image.LossyImageCompression = "00"
    image.BodyPartExamined = header.body_part
    paired = body_part(header.body_part).paired
    image.ImageLaterality = header.laterality or ("B" if paired else "U")
    if paired and not header.laterality:
        comment(image, "Image Laterality is nominal.")


def comment(image: Dataset, sentence: str) -> None:
    """Add a sentence to Image Comments."""
    image.ImageComments = " ".join(filter(None, [image.get("ImageComments"), sentence]))


def mark_image(image: Dataset, header: ImageHeader, marking: SyntheticMarking) -> None:
    """Everything by which a person or a program can tell that the image is synthetic."""
    image.ImageType = ["DERIVED", *image.ImageType[1:]]
    image.DerivationDescription = marking.description
    image.ImageComments = " ".join(filter(None, [_NOTICE, image.get("ImageComments")]))
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

"""The class of a synthetic image as a structured report, TID 1500 Measurement Report (PS3.16, annex A).

    Imaging Measurement Report
        observer: the software, a device; no person observed anything
        procedure reported, by the image's class
        Image Library: the image
        Imaging Measurements
            Measurement Group, tracked by the word of the class:
                Finding = the class, and the class = Present    (a class without a code: Finding = its word)
                algorithm = the software and its version
                source = the image

Enhanced SR, the oldest class that can say this, so that an old archive stores it. The report states what the
generator was told to draw; nobody read the image. highdicom builds the tree; what it would take from the clock is
pinned, and the device that it would credit with an acquisition is removed.
"""

from __future__ import annotations

import highdicom as hd
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code
from pydicom.uid import EnhancedSRStorage, SecondaryCaptureImageStorage

from synthrelease.dicom.findings import finding_code
from synthrelease.dicom.image import SyntheticMarking, file_meta
from synthrelease.dicom.pinning import pin, standard_tables_remembered
from synthrelease.errors import UsageError

_DEVICE_UID = "2.25.189244186339174060902006558260462537789"  # names the software as an observer; never changes
_FINDING = Code("121071", "DCM", "Finding")
_PRESENT = Code("52101004", "SCT", "Present")
# CID 100, and mammography, which it lacks; by Modality (0008,0060).
_PROCEDURES = {
    "DX": Code("43468-8", "LN", "XR unspecified body region"),
    "CT": Code("25045-6", "LN", "CT unspecified body region"),
    "MR": Code("25056-3", "LN", "MRI unspecified body region"),
    "MG": Code("71651007", "SCT", "Mammography"),
}
_ANY_PROCEDURE = Code("363679005", "SCT", "Imaging procedure")
_SERIES_AFTER_IMAGE = 2


def report(
    image: Dataset,
    label: str,
    *,
    sop_uid: str,
    series_uid: str,
    tracking_uid: str,
    created_date: str,
    created_time: str,
    marking: SyntheticMarking,
    series_number: int | None = None,
) -> Dataset:
    """The report that a synthetic image shows a class.

    Two reports of one class differ in nothing but the image's patient, UIDs and numbers and the UIDs given here, so
    all reports of a class have one length when the UIDs do.

    Args:
        image: A synthetic image, as `grey_image` makes it. Its patient and study attributes are copied.
        label: The class; `finding_code` says which code it gets.
        sop_uid: SOP Instance UID of the report.
        series_uid: Its Series Instance UID, another than the image's.
        tracking_uid: Names this one observation (PS3.16, TID 1501).
        created_date: YYYYMMDD; the clock is never read into the file.
        created_time: HHMMSS.
        marking: As given to the image.
        series_number: None: the image's and two, since the masks' series lies between.

    Returns:
        A data set with file meta, ready for `save_as(path, enforce_file_format=True)`. Its instance number is the
        image's.

    Raises:
        UsageError: The image is not marked as synthetic.

    Source: PS3.3, section A.35.2 (Enhanced SR); PS3.16, TID 1500, 1501 and 1600.
    """
    if image.get("SyntheticData") != "YES":
        raise UsageError(
            "a report of a class is asked for an image that is not marked as synthetic", fix="Give a synthetic image."
        )
    with standard_tables_remembered():
        built = hd.sr.EnhancedSR(
            evidence=[image],
            content=_content(image, label, tracking_uid, marking),
            series_instance_uid=series_uid,
            series_number=int(image.SeriesNumber) + _SERIES_AFTER_IMAGE if series_number is None else series_number,
            sop_instance_uid=sop_uid,
            instance_number=int(image.InstanceNumber),
            manufacturer=marking.software,
            manufacturer_model_name=marking.software,
            software_versions=marking.version,
            device_serial_number="0",
            series_description="Class of a synthetic image",
            is_complete=True,
            is_final=True,
            content_date=created_date,
            content_time=created_time,
            series_date=created_date,
            series_time=created_time,
        )
    built.file_meta = file_meta(EnhancedSRStorage, sop_uid)
    pin(built, created_date, created_time, marking)
    return built


def _content(image: Dataset, label: str, tracking_uid: str, marking: SyntheticMarking) -> hd.sr.MeasurementReport:
    software = hd.sr.ObserverContext(
        observer_type=Code("121007", "DCM", "Device"),
        observer_identifying_attributes=hd.sr.DeviceObserverIdentifyingAttributes(
            uid=_DEVICE_UID,
            name=marking.software,
            manufacturer_name=marking.software,
            model_name=marking.software,
        ),
    )
    return hd.sr.MeasurementReport(
        observation_context=hd.sr.ObservationContext(observer_device_context=software),
        procedure_reported=_PROCEDURES.get(str(image.Modality), _ANY_PROCEDURE),
        imaging_measurements=[_group(image, label, tracking_uid, marking)],
        referenced_images=[_listed(image)],
    )


def _listed(image: Dataset) -> Dataset:
    """The image as highdicom's Image Library takes it.

    A secondary capture has neither a detector's spacing nor a plane, whatever its modality says; highdicom goes by
    the modality alone and would look for them.
    """
    if image.SOPClassUID != SecondaryCaptureImageStorage:
        return image
    listed = Dataset()
    for keyword in ("SOPClassUID", "SOPInstanceUID", "FrameOfReferenceUID", "Rows", "Columns"):
        listed[keyword] = image[keyword]
    listed.Modality = "OT"
    return listed


def _group(
    image: Dataset, label: str, tracking_uid: str, marking: SyntheticMarking
) -> hd.sr.MeasurementsAndQualitativeEvaluations:
    code = finding_code(label)
    group = hd.sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=hd.sr.TrackingIdentifier(uid=tracking_uid, identifier=label),
        finding_type=code,
        # Without its family: highdicom would read that code back as one more evaluation.
        algorithm_id=hd.sr.AlgorithmIdentification(name=marking.software, version=marking.version),
        qualitative_evaluations=[hd.sr.QualitativeEvaluation(name=code, value=_PRESENT)] if code else None,
        source_images=[hd.sr.SourceImageForMeasurementGroup.from_source_image(image)],
    )
    if code is None:
        # TID 1501 is extensible; a finding as text is what other reports use (PS3.16, CID 7002).
        word = hd.sr.TextContentItem(
            name=_FINDING, value=label, relationship_type=hd.sr.RelationshipTypeValues.CONTAINS
        )
        group[0].ContentSequence.append(word)
    return group

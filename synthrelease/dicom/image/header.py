"""What differs from image to image beside the pixels: who, which study, which place, and the mark of a synthetic one."""

from __future__ import annotations

from dataclasses import dataclass


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
        series_uid: Series Instance UID; one per image, since a series has one frame of reference.
        sop_uid: SOP Instance UID.
        frame_of_reference_uid: One per image, since nothing places two images in one space.
        study_id: Study ID (VR SH).
        accession_number: Accession Number (VR SH), or "".
        study_date: YYYYMMDD.
        study_time: HHMMSS.
        series_number: From 1.
        instance_number: From 1.
        series_description: Series Description (VR LO); "" leaves the attribute out.
        manufacturer: Of the equipment, or of the software for a synthetic image.
        model_name: Of the equipment or software.
        software_versions: Of the equipment or software.
        institution_name: "" leaves the attribute out.
        spacing_mm: Distance between pixel centres (between rows, between columns).
        slice_thickness_mm: Of a CT or MR slice; its mask has the same. Not used by the other classes.
        body_part: Body Part Examined (PS3.16, annex L).
        laterality: "R", "L" or "B" (both); "" when unknown, which writes "U" for an unpaired part of the body and "B",
            called nominal in Image Comments, for a paired one.
        modality: Of a secondary capture, what it looks like, e.g. "US"; "" writes "OT". The other classes have their own.
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
    series_description: str = ""
    manufacturer: str
    model_name: str
    software_versions: str
    institution_name: str = ""
    spacing_mm: tuple[float, float]
    slice_thickness_mm: float = 1.0
    body_part: str = "CHEST"
    laterality: str = ""
    modality: str = ""
    synthetic: SyntheticMarking | None = None

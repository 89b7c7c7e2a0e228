"""The sample headers of the writing tests."""

from __future__ import annotations

from dataclasses import replace

from synthrelease.dicom.image import ImageHeader, SyntheticMarking

MARKING = SyntheticMarking("release 1", "synthrelease", "0.1.0")
SYNTHETIC = ImageHeader(
    patient_id="SYN-000001",
    issuer="SYNTHRELEASE release 1",
    patient_name="SYNTHETIC^000001",
    study_uid="2.25.11",
    series_uid="2.25.12",
    sop_uid="2.25.13",
    frame_of_reference_uid="2.25.14",
    study_id="1",
    accession_number="",
    study_date="20010203",
    study_time="040506",
    series_number=1,
    instance_number=1,
    manufacturer="synthrelease",
    model_name="synthrelease",
    software_versions="0.1.0",
    spacing_mm=(0.143, 0.2),
    synthetic=MARKING,
)
PRIVATE = replace(
    SYNTHETIC,
    patient_id="4711",
    issuer="HOSPITAL",
    patient_name="Müller^Änne",
    patient_sex="F",
    patient_birth_date="19500607",
    accession_number="A1",
    manufacturer="X-Ray Works",
    model_name="Alpha",
    institution_name="A Hospital",
    synthetic=None,
)

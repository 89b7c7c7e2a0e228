"""Structured reports of a class: valid by dciodvfy, read by highdicom and DCMTK, the same bytes every time."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.sr._concepts_dict import concepts
from pydicom.sr.coding import Code

from synthrelease.archive.conformance import archive_problems, instance_problems
from synthrelease.dicom.findings import FINDINGS, finding_code
from synthrelease.dicom.image import ImageClass, ImageHeader, grey_image
from synthrelease.dicom.report import report
from synthrelease.errors import UsageError
from tests.dicom.headers import MARKING, SYNTHETIC

LEVELS = np.zeros((21, 37), np.uint16)
PRESENT = Code("52101004", "SCT", "Present")


def uid(number: int) -> str:
    """A UID of 44 characters, as every UID of an archive is."""
    return f"2.25.{314159265358979323846264338327950288400 + number}"


HEADER = replace(SYNTHETIC, study_uid=uid(1), series_uid=uid(2), sop_uid=uid(3), frame_of_reference_uid=uid(4))


def image_of(image_class: ImageClass = ImageClass.DX, header: ImageHeader = HEADER) -> Dataset:
    part = "BREAST" if image_class is ImageClass.MG else "CHEST"
    return grey_image(LEVELS, replace(header, body_part=part), image_class)


def report_of(image: Dataset, label: str, first_uid: int = 5) -> Dataset:
    return report(
        image,
        label,
        sop_uid=uid(first_uid),
        series_uid=uid(first_uid + 1),
        tracking_uid=uid(first_uid + 2),
        created_date="20010203",
        created_time="040506",
        marking=MARKING,
    )


def save(instance: Dataset, path: Path) -> Path:
    instance.save_as(path, enforce_file_format=True)
    return path


def group_of(path: Path) -> highdicom.sr.MeasurementsAndQualitativeEvaluations:
    groups = highdicom.sr.srread(path).content.get_image_measurement_groups()
    assert len(groups) == 1
    return groups[0]


@pytest.mark.parametrize("label", ["pneumonia", "smudge"], ids=["with a code", "without a code"])
@pytest.mark.parametrize("image_class", ImageClass)
def test_a_report_of_every_image_class_validates(tmp_path: Path, image_class: ImageClass, label: str) -> None:
    image = image_of(image_class)
    files = [save(image, tmp_path / "I"), save(report_of(image, label), tmp_path / "R")]
    assert instance_problems(files[1]) == []
    assert archive_problems(files) == archive_problems(files[::-1]) == []


def test_a_report_that_disagrees_with_its_image_on_the_study_is_found(tmp_path: Path) -> None:
    stray = report_of(image_of(), "normal")
    stray.StudyDate = "20010204"
    files = [save(image_of(), tmp_path / "I"), save(stray, tmp_path / "R")]
    assert any("StudyDate" in problem for problem in archive_problems(files))


@pytest.mark.parametrize("modality", ["US", "CT", "DX"])
def test_a_capture_is_reported_whatever_it_looks_like(tmp_path: Path, modality: str) -> None:
    image = image_of(ImageClass.SC, replace(HEADER, modality=modality))
    assert instance_problems(save(report_of(image, "normal"), tmp_path / "R")) == []


@pytest.mark.parametrize("label", FINDINGS)
def test_every_known_class_validates_and_reads_back(tmp_path: Path, label: str) -> None:
    path = save(report_of(image_of(), label), tmp_path / "R")
    assert instance_problems(path) == []
    group = group_of(path)
    assert group.tracking_identifier == label
    assert group.finding_type == FINDINGS[label]
    ((evaluation,),) = group.get_qualitative_evaluations()
    assert (evaluation.name, evaluation.value) == (FINDINGS[label], PRESENT)
    (source,) = group.source_images
    assert source.referenced_sop_instance_uid == uid(3)


@pytest.mark.parametrize("label", ["smudge", "a_class_of_more_than_sixteen_let", "größe \\ form"])
def test_a_class_without_a_code_is_found_as_its_word(tmp_path: Path, label: str) -> None:
    path = save(report_of(image_of(), label), tmp_path / "R")
    assert instance_problems(path) == []
    group = group_of(path)
    assert group.finding_type is None
    texts = [item for item in group[0].ContentSequence if item.ValueType == "TEXT"]
    assert [item.value for item in texts if item.name == Code("121071", "DCM", "Finding")] == [label]


def test_no_code_contradicts_dicoms_own_tables() -> None:
    unknown = []
    for word, code in FINDINGS.items():
        meanings = {
            meaning.lower()
            for terms in concepts[code.scheme_designator].values()
            for value, (meaning, _) in terms.items()
            if value == code.value
        }
        if not meanings:
            unknown.append(word)
        assert not meanings or code.meaning.lower() in meanings, word
        assert finding_code(word) == code
    assert "pneumonia" in unknown  # SNOMED CT has it, DICOM's tables do not


def test_a_report_says_that_it_is_synthetic_and_who_made_it(tmp_path: Path) -> None:
    read = pydicom.dcmread(save(report_of(image_of(), "normal"), tmp_path / "R"))
    assert (read.SyntheticData, read.ContentQualification) == ("YES", "RESEARCH")
    assert read.PatientIdentityRemoved == "YES"
    assert read.ClinicalTrialProtocolID == "release 1"
    purposes = [item.PurposeOfReferenceCodeSequence[0].CodeValue for item in read.ContributingEquipmentSequence]
    assert purposes == ["109100", "109102"]  # synthesised, then written; no device acquired anything
    assert (read.CompletionFlag, read.VerificationFlag, read.PreliminaryFlag) == ("COMPLETE", "UNVERIFIED", "FINAL")
    observers = highdicom.sr.srread(tmp_path / "R").content.get_observer_contexts()
    assert [observer.observer_type.meaning for observer in observers] == ["Device"]
    assert (read.PatientID, read.IssuerOfPatientID) == ("SYN-000001", "SYNTHRELEASE release 1")
    assert (read.SeriesNumber, read.InstanceNumber) == (3, 1)


def test_two_builds_are_the_same_bytes_and_hold_only_given_uids(tmp_path: Path) -> None:
    first, second = (save(report_of(image_of(), "normal"), tmp_path / name) for name in "AB")
    assert first.read_bytes() == second.read_bytes()
    read = pydicom.dcmread(first)
    uids = {str(element.value) for element in read.iterall() if element.VR == "UI"}
    (device,) = (
        str(item.UID) for item in read.ContentSequence if item.ConceptNameCodeSequence[0].CodeValue == "121012"
    )
    own = {found for found in uids if not found.startswith("1.2.840.10008.")}
    assert own == {uid(n) for n in range(1, 8)} | {device}
    dates = {str(element.value) for element in read.iterall() if element.VR in ("DA", "TM", "DT")}
    assert dates == {"", "20010203", "040506", "20010203040506"}  # a birth date is empty


@pytest.mark.parametrize("image_class", ImageClass)
def test_reports_of_one_class_differ_in_nothing_but_identity(tmp_path: Path, image_class: ImageClass) -> None:
    other = replace(
        HEADER,
        patient_id="SYN-000002",
        patient_name="SYNTHETIC^000002",
        study_uid=uid(11),
        series_uid=uid(12),
        sop_uid=uid(13),
        frame_of_reference_uid=uid(14),
    )
    first = save(report_of(image_of(image_class), "nodule"), tmp_path / "A").read_bytes()
    second = save(report_of(image_of(image_class, other), "nodule", 15), tmp_path / "B").read_bytes()
    for number in range(1, 8):
        first = first.replace(uid(number).encode(), uid(number + 10).encode())
    assert first.replace(b"000001", b"000002") == second


def test_building_a_report_leaves_the_image_as_it_was() -> None:
    image = image_of(ImageClass.SC)
    before = image.to_json()
    report_of(image, "normal")
    assert image.to_json() == before


def test_an_image_that_is_not_synthetic_gets_no_report() -> None:
    with pytest.raises(UsageError, match="not marked as synthetic"):
        report_of(image_of(header=replace(HEADER, synthetic=None)), "normal")


@pytest.mark.skipif(shutil.which("dsrdump") is None, reason="DCMTK is not installed")
@pytest.mark.parametrize("label", ["pneumonia", "smudge"])
def test_dcmtk_reads_the_tree(tmp_path: Path, label: str) -> None:
    path = save(report_of(image_of(), label), tmp_path / "R")
    done = subprocess.run(["dsrdump", "-Er", "-Ec", str(path)], capture_output=True, text=True, check=True)
    assert f'"Tracking Identifier")="{label}"' in done.stdout
    finding = '"Finding")=(233604007,SCT,"Pneumonia")' if label == "pneumonia" else '"Finding")="smudge"'
    assert finding in done.stdout
    assert "E: " not in done.stderr

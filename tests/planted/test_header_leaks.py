"""Values of real headers planted in outgoing files must be found; the writer's own files must not be accused.

Here without a policy at hand, as on an archive that another tool made. With the policy: test_closed_world.py.
"""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
from pydicom import dcmread

from benchmarks.header_scan import folders as invented
from synthrelease.audit.checks.header_leak import HeaderLeak
from synthrelease.audit.gate import judge
from synthrelease.audit.profile import load_profile
from synthrelease.audit.runner import check_ids
from synthrelease.dicom.image import ImageHeader, SyntheticMarking, dx_image
from synthrelease.records.findings import Verdict

SURNAMES = ("Abernathy", "Włodarczyk", "山田", "Chest", "Okonkwo", "Lee")


def header(number, *, real):
    marking = SyntheticMarking("demo release", "synthrelease", "0.1.0")
    root = "1.3.6.1.4.1.99999.7" if real else "2.25.3407"
    return ImageHeader(
        patient_id=f"MRN{4401200 + number}" if real else f"SYN-{number:06d}",
        issuer="RAVENSMOOR" if real else "SYNTHRELEASE demo",
        patient_name=f"{SURNAMES[number % 6]}^Beatrix" if real else f"SYNTHETIC^{number:06d}",
        patient_birth_date=f"19510{number % 9 + 1}17" if real else "",
        study_uid=f"{root}.1.{number}",
        series_uid=f"{root}.2.{number}",
        sop_uid="2.25.3339874301982734987" if real and number == 8 else f"{root}.3.{number}",
        frame_of_reference_uid=f"{root}.4.{number}",
        study_id=f"{number}",
        accession_number=f"RX{88123000 + number}" if real else "",
        study_date=f"2019041{number % 9}" if real else "20260101",
        study_time="101500",
        series_number=1,
        instance_number=1,
        manufacturer="Lumenray" if real else "synthrelease",
        model_name="DR" if real else "synthrelease",
        software_versions="2.1",
        institution_name="Port Ellery Chest Hospital" if real else "",
        spacing_mm=(1.0, 1.0),
        synthetic=None if real else marking,
    )


@pytest.fixture
def folders(tmp_path):
    levels = np.random.default_rng(0).integers(0, 4096, (16, 16)).astype(np.uint16)
    for name, real in (("real", True), ("synthetic", False)):
        (tmp_path / name).mkdir()
        for number in range(12):
            image = dx_image(levels, header(number, real=real))
            if real and number == 3:
                image.add_new(0x00090010, "LO", "RAVENS PRIVATE")
                image.add_new(0x00091001, "LO", "Cohort-Zebrafinch")
            image.save_as(tmp_path / name / f"{number:06d}.dcm", enforce_file_format=True)
    return tmp_path / "real", tmp_path / "synthetic"


def measure(clean, folders):
    case = replace(clean, real_folder=folders[0], synthetic_folder=folders[1])
    return HeaderLeak().measure(case, np.random.default_rng(0))


def edit(path, change):
    dataset = dcmread(path)
    change(dataset)
    dataset.save_as(path, enforce_file_format=True)


def test_files_of_the_writer_are_not_accused_and_plants_are_recovered(clean, folders):
    found = measure(clean, folders)
    assert found.statistic.value == 0, found.details
    assert len(found.power.planted) >= 20
    assert set(found.power.planted.values()) == {1.0}
    assert found.controls_missed == ()


LEAKS = {
    "patient id in a comment": lambda d: setattr(d, "ImageComments", "copy of MRN4401205, see notes"),
    "surname in a comment": lambda d: setattr(d, "ImageComments", "resembles abernathy"),
    "surname outside latin letters": lambda d: setattr(d, "PatientName", "山田^X"),
    "surname with diacritics": lambda d: setattr(d, "PatientComments", "like Włodarczyk"),
    "surname without its diacritics": lambda d: setattr(d, "PatientComments", "like WLODARCZYK"),
    "whole name turned round": lambda d: setattr(d, "ImageComments", "Beatrix Lee"),
    "name of ordinary letters in one word": lambda d: setattr(d, "ImageComments", "BeatrixAbernathy"),
    "patient id inside a word": lambda d: setattr(d, "StudyID", "XMRN4401205Y"),
    "patient number padded": lambda d: setattr(d, "StudyID", "0004401205"),
    "birth date": lambda d: setattr(d, "PatientBirthDate", "19510317"),
    "birth date with dots": lambda d: setattr(d, "ImageComments", "born 17.03.1951"),
    "study date": lambda d: setattr(d, "ContentDate", "20190413"),
    "study date in words": lambda d: setattr(d, "ImageComments", "seen on April 13, 2019"),
    "sop uid": lambda d: setattr(d, "FrameOfReferenceUID", "1.3.6.1.4.1.99999.7.3.5"),
    "uid under 2.25 in a comment": lambda d: setattr(d, "ImageComments", "from 2.25.3339874301982734987"),
    "institution": lambda d: setattr(d, "InstitutionName", "Ellery"),
    "private tag": lambda d: (d.add_new(0x00090010, "LO", "X"), d.add_new(0x00091001, "LO", "zebrafinch")),
    "preamble": lambda d: setattr(d, "preamble", b"okonkwo".ljust(128, b"\0")),
}


@pytest.mark.parametrize("leak", LEAKS)
def test_a_planted_value_is_found_in_the_one_file_that_carries_it(clean, folders, leak):
    edit(folders[1] / "000004.dcm", LEAKS[leak])
    assert measure(clean, folders).statistic.value == 1


def test_bytes_behind_the_pixels_and_names_of_files_are_looked_at(clean, folders):
    with (folders[1] / "000002.dcm").open("ab") as stream:
        stream.write(b"\0MRN4401207\0")
    (folders[1] / "000003.dcm").rename(folders[1] / "RX88123004.dcm")
    assert measure(clean, folders).statistic.value == 2


def test_a_table_with_a_real_uid_beside_the_archive_is_found(clean, folders):
    (folders[1] / "labels.csv").write_text("SOPInstanceUID,label\n1.3.6.1.4.1.99999.7.3.5,normal\n")
    (folders[1] / "README.md").write_text("A chest archive, for a hospital in port.")
    assert measure(clean, folders).statistic.value == 1


def test_a_date_that_all_files_share_is_not_counted_but_told_when_there_is_no_template(clean, folders):
    edit(folders[0] / "000001.dcm", lambda d: setattr(d, "StudyDate", "20260101"))
    for path in folders[1].iterdir():
        edit(path, lambda d: setattr(d, "StudyDate", "20190413"))
    found = measure(clean, folders)
    assert found.statistic.value == 0
    assert "one date that all carry" in found.note
    edit(folders[1] / "000004.dcm", lambda d: setattr(d, "PatientBirthDate", "19510317"))
    assert measure(clean, folders).statistic.value == 1


def test_a_leak_fails_the_gate_and_its_finding_repeats_no_private_value(clean, folders):
    edit(folders[1] / "000004.dcm", LEAKS["patient id in a comment"])
    found = measure(clean, folders)
    judgement = judge({HeaderLeak(): found}, load_profile("standard", check_ids()))["header_leak"]
    assert judgement.verdict is Verdict.FAIL
    told = json.dumps([asdict(found.statistic), found.details, judgement.reason])
    assert "4401205" not in told
    assert found.details["files_by_attribute"] == {"PatientID": 1}


def test_without_folders_the_check_is_inconclusive_and_still_required(clean):
    judgement = judge(
        {HeaderLeak(): HeaderLeak().measure(clean, np.random.default_rng(0))}, load_profile("standard", check_ids())
    )
    assert (judgement["header_leak"].verdict, judgement["header_leak"].required) == (Verdict.INCONCLUSIVE, True)


def test_a_cohort_without_dicom_has_no_headers_to_leak(clean, folders, tmp_path):
    (tmp_path / "table").mkdir()
    (tmp_path / "table" / "images.csv").write_text("image,label\n")
    found = measure(clean, (tmp_path / "table", folders[1]))
    assert found.not_applicable
    judgement = judge({HeaderLeak(): found}, load_profile("standard", check_ids()))["header_leak"]
    assert (judgement.verdict, judgement.required) == (Verdict.INCONCLUSIVE, False)


def test_a_thousand_clean_files_of_another_tool_raise_no_alarm(clean, tmp_path):
    invented.write_hospital(tmp_path / "real", 300)
    invented.write_foreign(tmp_path / "synthetic", 999)
    found = measure(clean, (tmp_path / "real", tmp_path / "synthetic"))
    assert (found.n["outgoing_files"], found.statistic.value) == (1000, 0), found.details
    assert found.controls_missed == ()


def test_shifted_and_dummy_dates_are_learnt_and_found(clean, folders):
    for number, path in enumerate(sorted(folders[0].iterdir())):
        day = ("21830415", "99991231", "18750412", "17000101")[number % 4]
        edit(
            path,
            lambda d, day=day: (setattr(d, "PatientBirthDate", day), setattr(d, "AcquisitionDateTime", day + "10")),
        )
    found = measure(clean, folders)
    assert (found.statistic.value, found.controls_missed) == (0, ())
    edit(folders[1] / "000004.dcm", lambda d: setattr(d, "ImageComments", "born 15.04.2183"))
    assert measure(clean, folders).statistic.value == 1

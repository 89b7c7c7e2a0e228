"""A folder of which a third has masks becomes an archive in which every image has them, and no map of it is used at sampling."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pydicom
import pytest

from synthrelease.archive.conformance import archive_problems, instance_problems
from synthrelease.cohort.phantom.writer import write_phantom_cohort
from synthrelease.privacy.accounting import Mechanism, epsilon_of
from tests.stories.conftest import House, say

POLICY = """\
schema: 1
purpose: annotate what few have annotated
sharing: {tier: registered}
roles: {operator: Olga Operator, custodian: Carl Custodian}
cohort:
  name: few_masks
  classes: [normal, nodule, effusion]
  segments: [right_lung, left_lung]
  masks: optional
  resolution: 16
  holdout_fraction: 0.5
privacy:
  {mode: private, epsilon: 8, delta: 1e-4, expected_patients: 30, lifetime_epsilon: 10, moments_share: 1, steps: 0}
generator:
  {name: um, image_frequencies: 8, mask_frequencies: 6, width: 8, latent: 4, superpixels: 36, batch: 4, warmup_steps: 3}
archive: {images: 9}
audit: {profile: quick}
release: {name: few-masks-release}
"""
LUNGS = {"Right lung", "Left lung"}


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> House:
    """A house after `synthrelease train` and `sample` on a folder in which two patients of three have lost their masks."""
    house = House(tmp_path_factory.mktemp("few"))
    house.policy.write_text(POLICY)
    cohort = house.folder / "cohort"
    write_phantom_cohort(cohort, patients=60, seed=3, size=32)
    for number, patient in enumerate(sorted(cohort.iterdir())):
        for mask in patient.glob("SEG*.dcm") if number % 3 else ():
            mask.unlink()
    said = house.say("train", "--policy", house.policy, "--cohort", cohort, "--threads", 1)
    assert said.code == 0, said.err
    said = house.say("sample", "--threads", 1)
    assert said.code == 0, said.err
    return house


def test_every_image_goes_out_with_a_segmentation_of_its_own_that_names_its_organs(few: House) -> None:
    files = [path for path in sorted((few.run / "archive" / "DICOM").rglob("?0000001")) if path.is_file()]
    headers = [pydicom.dcmread(path) for path in files]
    images = {header.SOPInstanceUID for header in headers if header.Modality != "SEG"}
    masks = [header for header in headers if header.Modality == "SEG"]
    assert len(images) == 9
    assert {
        mask.ReferencedSeriesSequence[0].ReferencedInstanceSequence[0].ReferencedSOPInstanceUID for mask in masks
    } == images
    for mask in masks:
        assert mask.SyntheticData == "YES"
        assert {segment.SegmentedPropertyTypeCodeSequence[0].CodeMeaning for segment in mask.SegmentSequence} <= LUNGS
        assert {segment.SegmentAlgorithmType for segment in mask.SegmentSequence} == {"AUTOMATIC"}
    assert [problem for path in files for problem in instance_problems(path)] == []
    assert archive_problems(files) == []


def test_the_record_charges_the_count_of_masks_and_comes_to_its_epsilon(few: House) -> None:
    training = json.loads((few.run / "training.json").read_text())
    mechanisms = [Mechanism.from_json(each) for each in training["privacy"]["mechanisms"]]
    assert {each.name for each in mechanisms} == {"class_counts", "masked_counts", "class_sums", "second_moments"}
    assert training["guidance"]["maps"] == "generated"
    assert epsilon_of(mechanisms, 1e-4) == pytest.approx(training["privacy"]["epsilon"], abs=1e-3)
    assert training["privacy"]["epsilon"] <= 8


def test_sampling_gives_the_same_archive_where_no_real_image_is_left(few: House, tmp_path: Path) -> None:
    """Neither the folder nor what was read of it is needed: no map of a real image can then be behind a sample."""
    house = few.copied_into(tmp_path)
    before = json.loads((house.run / "archive.json").read_text())
    shutil.rmtree(house.folder / "cohort")
    shutil.rmtree(house.run / "cohort.private")
    shutil.rmtree(house.run / "archive")
    said = house.say("sample", "--threads", 1)
    assert said.code == 0, said.err
    assert json.loads((house.run / "archive.json").read_text()) == before


def test_an_audit_of_few_patients_is_undecided_and_nothing_is_released(few: House, tmp_path: Path) -> None:
    house = few.copied_into(tmp_path)
    said = house.say("audit", "--threads", 1)
    assert said.code == 4, said.err
    findings = {each["id"]: each for each in json.loads((house.run / "audit.json").read_text())["findings"]}
    assert findings["mask_copies"]["verdict"] == "inconclusive"
    assert findings["header_leak"]["verdict"] == "pass"
    refused = house.say("approve", "--by", "Ann Approver", "--statement", "I read the internal report.")
    assert refused.code == 4
    assert say("verify", house.run / "archive").code != 0

"""DX images and anchored segmentations: valid by dciodvfy, exact by highdicom, marked or unmarked as asked."""

from __future__ import annotations

import hashlib
import warnings
from contextlib import nullcontext
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from synthrelease.archive.conformance import archive_problems, instance_problems
from synthrelease.dicom.image import ImageHeader, SyntheticMarking, dx_image
from synthrelease.dicom.segmentation import segmentation
from synthrelease.dicom.segments import SEGMENTS, segment
from synthrelease.errors import UnsuitableData, UsageError
from tests.dicom.headers import MARKING, PRIVATE, SYNTHETIC

NAMES = ("right_lung", "left_lung", "nodule", "unheard of thing")
LEVELS = np.random.default_rng(0).integers(0, 4096, (21, 37)).astype(np.uint16)  # frames end inside a byte


def disjoint() -> np.ndarray:
    masks = np.zeros((4, 21, 37), bool)
    masks[0, 2:9, 3:12] = masks[1, 2:9, 20:30] = masks[2, 12:15, 5:6] = masks[3, 20, 36] = True
    return masks


def overlapping() -> np.ndarray:
    masks = disjoint()
    masks[2, 4:6, 4:6] = True
    return masks


def one_absent() -> np.ndarray:
    masks = disjoint()
    masks[2] = False
    return masks


def file_bytes(instance: Dataset) -> bytes:
    stream = BytesIO()
    instance.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


CASES = {
    "disjoint": disjoint(),
    "overlapping": overlapping(),
    "one absent": one_absent(),
    "all absent": np.zeros((4, 21, 37), bool),
    "all full": np.ones((4, 21, 37), bool),
}


def masks_over(image: Dataset, masks: np.ndarray, marking: SyntheticMarking | None = MARKING) -> Dataset:
    return segmentation(
        image,
        masks,
        NAMES[: len(masks)],
        sop_uid="2.25.21",
        series_uid="2.25.22",
        dimension_uid="2.25.23",
        created_date="20010203",
        created_time="040506",
        marking=marking,
    )


@pytest.mark.parametrize("header", [SYNTHETIC, PRIVATE], ids=["synthetic", "private-looking"])
@pytest.mark.parametrize("case", CASES)
def test_image_and_masks_validate_without_error_or_warning(tmp_path: Path, header: ImageHeader, case: str) -> None:
    image = dx_image(LEVELS, header)
    image.save_as(tmp_path / "I", enforce_file_format=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        masks_over(image, CASES[case], header.synthetic).save_as(tmp_path / "M", enforce_file_format=True)
    assert instance_problems(tmp_path / "I") == []
    assert instance_problems(tmp_path / "M") == []
    assert archive_problems([tmp_path / "I", tmp_path / "M"]) == []


@pytest.mark.parametrize("case", CASES)
def test_masks_read_back_exactly_by_highdicom(tmp_path: Path, case: str) -> None:
    image = dx_image(LEVELS, SYNTHETIC)
    masks_over(image, CASES[case]).save_as(tmp_path / "M", enforce_file_format=True)
    read = highdicom.seg.segread(tmp_path / "M")
    planes = read.get_pixels_by_source_instance([image.SOPInstanceUID])
    assert np.array_equal(planes[0].transpose(2, 0, 1), CASES[case])
    assert read.NumberOfFrames == 4
    assert [item.SegmentLabel for item in read.SegmentSequence] == list(NAMES)
    assert read.SegmentsOverlap == ("YES" if case in ("overlapping", "all full") else "NO")


@pytest.mark.parametrize(
    ("header", "digest"),
    [
        (SYNTHETIC, "cf69175c485aeb7367d378ce4fa7a6b4acda958b8b67f2313b51427b29ecf361"),
        (PRIVATE, "b56ae078efac24c568a15c5e7a21dad75482692ed559d359b93a885c2a6d6094"),
    ],
    ids=["synthetic", "private-looking"],
)
def test_the_bytes_of_an_image_are_those_of_its_layout_version(header: ImageHeader, digest: str) -> None:
    """Who changes them on purpose raises IMPLEMENTATION_VERSION: archives and phantoms are known by their digests."""
    assert hashlib.sha256(file_bytes(dx_image(LEVELS, header))).hexdigest() == digest


def test_pixels_read_back_exactly_through_window_and_modality_table(tmp_path: Path) -> None:
    dx_image(LEVELS, SYNTHETIC).save_as(tmp_path / "I", enforce_file_format=True)
    image = pydicom.dcmread(tmp_path / "I")
    assert np.array_equal(image.pixel_array, LEVELS)
    shown = pydicom.pixels.apply_voi_lut(pydicom.pixels.apply_modality_lut(image.pixel_array, image), image)
    assert np.allclose(shown, LEVELS)
    assert list(image.ImagerPixelSpacing) == [0.143, 0.2]


def test_masks_share_the_images_frame_of_reference_and_spacing_and_say_where_they_lie() -> None:
    image = dx_image(LEVELS, SYNTHETIC)
    masks = masks_over(image, disjoint())
    assert masks.FrameOfReferenceUID == image.FrameOfReferenceUID == "2.25.14"
    shared = masks.SharedFunctionalGroupsSequence[0]
    assert list(shared.PixelMeasuresSequence[0].PixelSpacing) == [0.143, 0.2]
    assert list(shared.PlaneOrientationSequence[0].ImageOrientationPatient) == [1, 0, 0, 0, 1, 0]
    for frame in masks.PerFrameFunctionalGroupsSequence:
        assert list(frame.PlanePositionSequence[0].ImagePositionPatient) == [0, 0, 0]
        source = frame.DerivationImageSequence[0].SourceImageSequence[0]
        assert source.ReferencedSOPInstanceUID == image.SOPInstanceUID


def test_building_masks_leaves_the_image_a_plain_dx() -> None:
    image = dx_image(LEVELS, SYNTHETIC)
    before = image.to_json()
    masks_over(image, disjoint())
    assert image.to_json() == before
    assert "ImagePositionPatient" not in image


def test_synthetic_image_and_masks_both_say_so() -> None:
    image = dx_image(LEVELS, SYNTHETIC)
    masks = masks_over(image, disjoint())
    for instance in (image, masks):
        assert instance.SyntheticData == "YES"
        assert instance.ContentQualification == "RESEARCH"
        assert instance.PatientIdentityRemoved == "YES"
        assert instance.ClinicalTrialProtocolID == "release 1"
        purposes = [i.PurposeOfReferenceCodeSequence[0].CodeValue for i in instance.ContributingEquipmentSequence]
        assert purposes[0] == "109100"
        assert "109101" not in purposes  # no device acquired anything
    assert {i.SegmentAlgorithmType for i in masks.SegmentSequence} == {"AUTOMATIC"}


def test_private_looking_image_and_masks_carry_no_mark() -> None:
    image = dx_image(LEVELS, PRIVATE)
    masks = masks_over(image, disjoint(), None)
    for instance in (image, masks):
        text = " ".join(str(element.value) for element in instance.iterall()).lower()
        assert "SyntheticData" not in instance
        assert "ContentQualification" not in instance
        assert "synth" not in text
    assert image.ImageType[0] == "ORIGINAL"
    assert image.InstitutionName == "A Hospital"
    assert masks.PatientName == "Müller^Änne"


def test_two_builds_are_the_same_bytes_and_hold_only_given_uids(tmp_path: Path) -> None:
    for name in ("A", "B"):
        masks_over(dx_image(LEVELS, SYNTHETIC), disjoint()).save_as(tmp_path / name, enforce_file_format=True)
    assert (tmp_path / "A").read_bytes() == (tmp_path / "B").read_bytes()
    read = pydicom.dcmread(tmp_path / "A")
    uids = {str(element.value) for element in read.iterall() if element.VR == "UI"}
    assert {uid for uid in uids if not uid.startswith("1.2.840.10008.")} == {
        f"2.25.{n}" for n in (11, 12, 13, 14, 21, 22, 23)
    }
    assert "highdicom" not in str(read.file_meta)


@pytest.mark.parametrize("part", ["CHEST", "BREAST", "ABDOMEN", "HEAD", "BRAIN", "KNEE"])
def test_every_body_part_validates(tmp_path: Path, part: str) -> None:
    dx_image(LEVELS, replace(SYNTHETIC, body_part=part)).save_as(tmp_path / "I", enforce_file_format=True)
    assert instance_problems(tmp_path / "I") == []


def test_every_known_segment_validates(tmp_path: Path) -> None:
    image = dx_image(LEVELS, SYNTHETIC)
    masks = segmentation(
        image,
        np.ones((len(SEGMENTS), 21, 37), bool),
        list(SEGMENTS),
        sop_uid="2.25.21",
        series_uid="2.25.22",
        dimension_uid="2.25.23",
        created_date="20010203",
        created_time="040506",
        marking=MARKING,
    )
    masks.save_as(tmp_path / "M", enforce_file_format=True)
    assert instance_problems(tmp_path / "M") == []


def test_an_unknown_segment_is_a_lesion_with_its_own_name() -> None:
    assert segment("opacity").name == "opacity"
    assert segment("opacity").type == SEGMENTS["lesion"].type
    assert segment("heart") is SEGMENTS["heart"]


@pytest.mark.parametrize("name", ["", " ", "x" * 65, "a\\b"])
def test_a_name_that_cannot_be_a_label_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="Segment Label"):
        segment(name)


@pytest.mark.parametrize(
    "levels",
    [np.zeros((2, 3, 4), np.uint16), np.zeros((2, 3), np.int16), np.zeros((0, 3), np.uint16), LEVELS + np.uint16(9)],
)
def test_pixels_that_do_not_fit_twelve_bits_are_refused(levels: np.ndarray) -> None:
    with pytest.raises(UnsuitableData):
        dx_image(levels, SYNTHETIC)


@pytest.mark.parametrize(
    "masks", [np.zeros((4, 21, 36), bool), np.zeros((4, 21, 37), np.uint8), np.zeros((0, 21, 37), bool)]
)
def test_masks_that_do_not_fit_the_image_are_refused(masks: np.ndarray) -> None:
    with pytest.raises(UnsuitableData):
        masks_over(dx_image(LEVELS, SYNTHETIC), masks)


def test_a_synthetic_image_with_unmarked_masks_is_refused() -> None:
    with pytest.raises(UsageError, match="disagree"):
        masks_over(dx_image(LEVELS, SYNTHETIC), disjoint(), None)
    with pytest.raises(UsageError, match="disagree"):
        masks_over(dx_image(LEVELS, PRIVATE), disjoint(), MARKING)


def test_a_segment_named_twice_is_refused() -> None:
    with pytest.raises(UsageError, match="twice"):
        segmentation(
            dx_image(LEVELS, SYNTHETIC),
            disjoint()[:2],
            ("lung", "lung"),
            sop_uid="2.25.21",
            series_uid="2.25.22",
            dimension_uid="2.25.23",
            created_date="20010203",
            created_time="040506",
            marking=MARKING,
        )


def test_highdicom_is_left_as_it_was_found_and_its_memory_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    import highdicom._standard_utils as tables
    import highdicom.base as base

    before = (tables.is_attribute_in_iod, base.is_attribute_in_iod)
    remembered = file_bytes(masks_over(dx_image(LEVELS, SYNTHETIC), disjoint()))
    assert (tables.is_attribute_in_iod, base.is_attribute_in_iod) == before
    monkeypatch.setattr("synthrelease.dicom.segmentation.standard_tables_remembered", nullcontext)
    assert file_bytes(masks_over(dx_image(LEVELS, SYNTHETIC), disjoint())) == remembered

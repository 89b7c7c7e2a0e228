"""Every image class and depth: valid by dciodvfy, exact in pixels, window and spacing, marked, and never by chance."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.pixels import apply_modality_lut, apply_voi_lut

from synthrelease.archive.conformance import archive_problems, instance_problems
from synthrelease.dicom.image import (
    BODY_PARTS,
    ImageClass,
    ImageHeader,
    check_body_part,
    dx_image,
    grey_image,
    highest_level,
)
from synthrelease.dicom.reading import ReadImage, read_image
from synthrelease.dicom.segmentation import segmentation
from synthrelease.errors import UnsuitableData, UsageError

DEPTHS = (12, 16)
CHEST_WINDOW = (-1350.0, 150.0)
EVERY_CLASS = pytest.mark.parametrize("image_class", list(ImageClass))
EVERY_DEPTH = pytest.mark.parametrize("bits", DEPTHS)


def levels(bits: int) -> np.ndarray:
    """Random stored values, both ends among them, of an odd number of pixels."""
    drawn = np.random.default_rng(bits).integers(0, highest_level(bits), (21, 37), endpoint=True).astype(np.uint16)
    drawn[0, :2] = 0, highest_level(bits)
    return drawn


def built(
    header: ImageHeader, image_class: ImageClass, bits: int = 12, value_range: tuple[float, float] | None = None
) -> Dataset:
    part = "BREAST" if image_class is ImageClass.MG else header.body_part
    return grey_image(levels(bits), replace(header, body_part=part), image_class, bits=bits, value_range=value_range)


def saved(image: Dataset, path: Path) -> Dataset:
    image.save_as(path, enforce_file_format=True)
    return pydicom.dcmread(path)


def elements(instance: Dataset) -> Iterator[pydicom.DataElement]:
    yield from instance.file_meta
    yield from instance.iterall()


@EVERY_CLASS
def test_every_class_validates_at_every_depth_without_error_or_warning(
    tmp_path: Path, synthetic_header: ImageHeader, private_header: ImageHeader, image_class: ImageClass
) -> None:
    for bits in DEPTHS:
        for header in (synthetic_header, private_header):
            acquired_ct = image_class is ImageClass.CT and header is private_header
            path = tmp_path / f"I{bits}{header.patient_id}"
            built(header, image_class, bits, CHEST_WINDOW if acquired_ct else None).save_as(
                path, enforce_file_format=True
            )
            assert instance_problems(path) == []


@EVERY_CLASS
@EVERY_DEPTH
def test_pixels_and_window_show_every_level_and_nothing_else(
    tmp_path: Path, synthetic_header: ImageHeader, image_class: ImageClass, bits: int
) -> None:
    image = saved(built(synthetic_header, image_class, bits), tmp_path / "I")
    assert np.array_equal(image.pixel_array, levels(bits))
    assert (image.BitsAllocated, image.BitsStored, image.HighBit) == (16, bits, bits - 1)
    shown = apply_voi_lut(apply_modality_lut(image.pixel_array, image), image)
    assert np.allclose(shown, levels(bits), rtol=0, atol=1e-6)
    own = read_image(tmp_path / "I")
    assert isinstance(own, ReadImage)
    assert own.value_range == (0, highest_level(bits))
    assert own.window is not None
    assert own.window.applied(np.array([0, highest_level(bits) / 2, highest_level(bits)], np.float32)) == (
        pytest.approx([0, 0.5, 1], abs=1e-6)
    )
    # One level in from either end is already shown as grey: the window is no wider than the pixels.
    ends = np.array([1, highest_level(bits) - 1], np.float32)
    assert own.window.applied(ends)[0] > 0
    assert own.window.applied(ends)[1] < 1


@EVERY_DEPTH
@pytest.mark.parametrize("value_range", [CHEST_WINDOW, (-1024.0, 3071.0), (-0.5, 1 / 3), (-1e4, 1e5)])
def test_ct_in_hounsfield_units_says_the_same_pixels_in_those_units(
    tmp_path: Path, synthetic_header: ImageHeader, value_range: tuple[float, float], bits: int
) -> None:
    image = saved(built(synthetic_header, ImageClass.CT, bits, value_range), tmp_path / "I")
    assert instance_problems(tmp_path / "I") == []
    assert image.RescaleType == "HU"
    assert np.array_equal(image.pixel_array, levels(bits))
    units = apply_modality_lut(image.pixel_array, image)
    assert units[0, 0] == pytest.approx(value_range[0], rel=1e-9)
    assert units[0, 1] == pytest.approx(value_range[1], rel=1e-9)
    shown = apply_voi_lut(units, image)  # from 0 to the highest output, which pydicom takes from the stored bits
    assert shown[0, 0] == pytest.approx(shown.min(), abs=1e-6)
    scaled = (shown - shown[0, 0]) / (shown[0, 1] - shown[0, 0])
    assert np.allclose(scaled, levels(bits) / highest_level(bits), rtol=0, atol=1e-6)
    own = read_image(tmp_path / "I")
    assert isinstance(own, ReadImage)
    assert own.window is not None
    assert own.window.applied(np.array(value_range, np.float32)) == pytest.approx([0, 1], abs=1e-6)
    assert own.window.center == pytest.approx(sum(value_range) / 2 + 0.5)
    assert own.window.width == pytest.approx(value_range[1] - value_range[0] + 1)


def test_ct_without_a_known_unit_claims_none(synthetic_header: ImageHeader) -> None:
    image = built(synthetic_header, ImageClass.CT)
    assert (image.RescaleIntercept, image.RescaleSlope, image.RescaleType) == (0, 1, "US")


def test_an_acquired_ct_without_a_unit_is_refused(private_header: ImageHeader) -> None:
    with pytest.raises(UsageError, match="no unit"):
        built(private_header, ImageClass.CT)


@pytest.mark.parametrize("image_class", [ImageClass.DX, ImageClass.MG, ImageClass.MR, ImageClass.SC])
def test_a_physical_range_is_refused_where_there_is_no_unit(
    synthetic_header: ImageHeader, image_class: ImageClass
) -> None:
    with pytest.raises(UsageError, match="no physical unit"):
        built(synthetic_header, image_class, value_range=CHEST_WINDOW)


@pytest.mark.parametrize("value_range", [(1.0, 1.0), (2.0, 1.0), (0.0, float("inf")), (float("nan"), 1.0)])
def test_a_range_that_is_none_is_refused(synthetic_header: ImageHeader, value_range: tuple[float, float]) -> None:
    with pytest.raises(UsageError, match="no range"):
        built(synthetic_header, ImageClass.CT, value_range=value_range)


@EVERY_CLASS
def test_spacing_is_said_where_the_class_wants_it(
    tmp_path: Path, synthetic_header: ImageHeader, image_class: ImageClass
) -> None:
    image = saved(built(synthetic_header, image_class), tmp_path / "I")
    projection = image_class in (ImageClass.DX, ImageClass.MG)
    assert image["ImagerPixelSpacing" if projection else "PixelSpacing"].value == [0.143, 0.2]
    assert ("PixelSpacing" in image) != projection
    own = read_image(tmp_path / "I")
    assert isinstance(own, ReadImage)
    assert own.spacing_mm == (0.143, 0.2)
    if image_class in (ImageClass.CT, ImageClass.MR):
        assert image.ImagePositionPatient == [0, 0, 0]
        assert image.ImageOrientationPatient == [1, 0, 0, 0, 1, 0]
        assert image.SliceThickness == 2.5
    if image_class is ImageClass.SC:
        assert image.PixelSpacingCalibrationType == "GEOMETRY"
        assert image.PixelSpacingCalibrationDescription
        assert "NominalScannedPixelSpacing" not in image


@EVERY_CLASS
def test_every_class_says_that_it_is_synthetic_and_that_nothing_acquired_it(
    synthetic_header: ImageHeader, image_class: ImageClass
) -> None:
    image = built(synthetic_header, image_class)
    assert image.SyntheticData == "YES"
    assert image.ContentQualification == "RESEARCH"
    assert image.ImageType[:2] == ["DERIVED", "PRIMARY"]
    assert image.ImageComments.startswith("SYNTHETIC IMAGE.")
    assert image.IssuerOfPatientID == "SYNTHRELEASE release 1"
    assert image.ClinicalTrialProtocolID == "release 1"
    assert image.FrameOfReferenceUID == "2.25.14"
    equipment = [item.PurposeOfReferenceCodeSequence[0].CodeValue for item in image.ContributingEquipmentSequence]
    assert equipment == ["109100"]


@EVERY_CLASS
def test_an_acquired_image_of_any_class_carries_no_mark(private_header: ImageHeader, image_class: ImageClass) -> None:
    image = built(private_header, image_class, value_range=CHEST_WINDOW if image_class is ImageClass.CT else None)
    assert image.ImageType[0] == "ORIGINAL"
    assert "synth" not in " ".join(str(element.value) for element in image.iterall()).lower()


@EVERY_CLASS
@EVERY_DEPTH
def test_two_builds_are_the_same_bytes_and_know_no_other_time_or_uid(
    tmp_path: Path, synthetic_header: ImageHeader, image_class: ImageClass, bits: int
) -> None:
    first, second = (BytesIO(), BytesIO())
    for stream in (first, second):
        built(synthetic_header, image_class, bits).save_as(stream, enforce_file_format=True)
    assert first.getvalue() == second.getvalue()
    image = pydicom.dcmread(BytesIO(first.getvalue()))
    times = {str(element.value) for element in elements(image) if element.VR in ("DA", "TM", "DT") and element.value}
    assert times == {"20010203", "040506", "20010203040506"}
    uids = {str(element.value) for element in elements(image) if element.VR == "UI"}
    own = {uid for uid in uids if not uid.startswith("1.2.840.10008.")}
    assert own - {str(image.file_meta.ImplementationClassUID)} == {f"2.25.{n}" for n in (11, 12, 13, 14)}


@EVERY_CLASS
def test_no_header_value_depends_on_the_pixels(synthetic_header: ImageHeader, image_class: ImageClass) -> None:
    part = "BREAST" if image_class is ImageClass.MG else "CHEST"
    header = replace(synthetic_header, body_part=part)
    dark, bright = (grey_image(np.full((9, 5), level, np.uint16), header, image_class) for level in (0, 4095))
    differing = {element.keyword for element in dark if element != bright[element.tag]}
    assert differing == {"PixelData"}


@pytest.mark.parametrize(
    ("image_class", "part", "laterality", "written", "orientation"),
    [
        (ImageClass.DX, "CHEST", "", "U", ["L", "F"]),
        (ImageClass.DX, "KNEE", "", "B", ["L", "F"]),
        (ImageClass.DX, "KNEE", "L", "L", ["L", "F"]),
        (ImageClass.MG, "BREAST", "", "B", ["A", "F"]),
        (ImageClass.MG, "BREAST", "L", "L", ["A", "F"]),
        (ImageClass.MG, "BREAST", "R", "R", ["P", "F"]),
        (ImageClass.CT, "HIP", "", "B", None),
        (ImageClass.MR, "BRAIN", "", "U", None),
        (ImageClass.SC, "EYE", "R", "R", None),
    ],
)
def test_side_and_orientation_are_what_is_known_of_them(
    tmp_path: Path,
    synthetic_header: ImageHeader,
    image_class: ImageClass,
    part: str,
    laterality: str,
    written: str,
    orientation: list[str] | None,
) -> None:
    header = replace(synthetic_header, body_part=part, laterality=laterality)
    image = grey_image(levels(12), header, image_class)
    image.save_as(tmp_path / "I", enforce_file_format=True)
    assert instance_problems(tmp_path / "I") == []
    assert image.ImageLaterality == written
    assert image.get("PatientOrientation") == orientation
    # A side that was only filled in is called so.
    assert ("Image Laterality is nominal" in image.ImageComments) == (written == "B")


def test_a_laterality_that_is_none_is_refused(synthetic_header: ImageHeader) -> None:
    with pytest.raises(UsageError, match="laterality"):
        built(replace(synthetic_header, laterality="X"), ImageClass.DX)


def test_a_mammogram_of_another_part_is_refused(synthetic_header: ImageHeader) -> None:
    with pytest.raises(UsageError, match="mammogram"):
        grey_image(levels(12), synthetic_header, ImageClass.MG)


def test_every_known_body_part_validates(tmp_path: Path, synthetic_header: ImageHeader) -> None:
    path = tmp_path / "I"
    problems = {}
    for part in BODY_PARTS:
        check_body_part(part)
        image = grey_image(levels(12), replace(synthetic_header, body_part=part), ImageClass.CT)
        image.save_as(path, enforce_file_format=True)
        problems[part] = instance_problems(path)
    assert {part: found for part, found in problems.items() if found} == {}


def test_an_unknown_body_part_draws_a_warning_and_is_refused_by_the_check(
    tmp_path: Path, synthetic_header: ImageHeader
) -> None:
    dx_image(levels(12), replace(synthetic_header, body_part="SKIN")).save_as(tmp_path / "I", enforce_file_format=True)
    assert instance_problems(tmp_path / "I") != []
    with pytest.raises(UsageError, match="SKIN"):
        check_body_part("SKIN")
    with pytest.raises(UsageError) as refused:
        check_body_part("SHOULDERS")
    assert "SHOULDER" in refused.value.fix


def test_a_capture_takes_the_modality_that_it_looks_like(tmp_path: Path, synthetic_header: ImageHeader) -> None:
    assert built(synthetic_header, ImageClass.SC).Modality == "OT"
    image = built(replace(synthetic_header, modality="US"), ImageClass.SC)
    image.save_as(tmp_path / "I", enforce_file_format=True)
    assert image.Modality == "US"
    assert instance_problems(tmp_path / "I") == []


@pytest.mark.parametrize("bits", [0, 8, 10, 14, 32])
def test_another_depth_is_refused(synthetic_header: ImageHeader, bits: int) -> None:
    with pytest.raises(UsageError, match=f"{bits} bits"):
        grey_image(np.zeros((4, 4), np.uint16), synthetic_header, bits=bits)


@EVERY_CLASS
def test_a_value_above_twelve_bits_needs_sixteen(synthetic_header: ImageHeader, image_class: ImageClass) -> None:
    header = replace(synthetic_header, body_part="BREAST")
    deep = np.full((4, 4), 4096, np.uint16)
    with pytest.raises(UnsuitableData, match="above 4095"):
        grey_image(deep, header, image_class, bits=12)
    assert np.array_equal(grey_image(deep, header, image_class, bits=16).pixel_array, deep)


@EVERY_CLASS
def test_several_images_of_one_patient_with_masks_agree_with_each_other(
    tmp_path: Path, synthetic_header: ImageHeader, image_class: ImageClass
) -> None:
    paths = []
    for number in (1, 2, 3):
        header = replace(
            synthetic_header,
            sop_uid=f"2.25.{number}01",
            series_uid=f"2.25.{number}02",
            frame_of_reference_uid=f"2.25.{number}03",
            series_number=2 * number - 1,
            series_description=f"Image {number}",
            body_part="BREAST" if image_class is ImageClass.MG else "CHEST",
        )
        image = grey_image(levels(12), header, image_class)
        masks = segmentation(
            image,
            np.zeros((1, 21, 37), np.bool_),
            ["lesion"],
            sop_uid=f"2.25.{number}04",
            series_uid=f"2.25.{number}05",
            dimension_uid=f"2.25.{number}06",
            created_date="20010203",
            created_time="040506",
            marking=synthetic_header.synthetic,
        )
        for letter, instance in (("I", image), ("M", masks)):
            paths.append(tmp_path / f"{letter}{number}")
            instance.save_as(paths[-1], enforce_file_format=True)
            assert instance_problems(paths[-1]) == []
        assert (image.SeriesNumber, masks.SeriesNumber) == (2 * number - 1, 2 * number)
        assert image.SeriesDescription == f"Image {number}"
    assert archive_problems(paths) == []

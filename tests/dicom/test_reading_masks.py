"""Reading segmentations: our reader against highdicom, and files that it must refuse."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian, generate_uid

from synthrelease.dicom.elements import Elements, file_elements
from synthrelease.dicom.image import ImageHeader, dx_image
from synthrelease.dicom.mask_reading import _Decoded, _Walked, open_segmentation
from synthrelease.dicom.reading import ReadImage, list_files, read_image, read_segmentation
from synthrelease.dicom.scanning import Kind, scan
from synthrelease.dicom.segmentation import segmentation
from synthrelease.records.refusals import Reason, Refusal

NAMES = ("right_lung", "left_lung", "nodule")
ORIGINALS = (
    Path(os.environ.get("SYNTHRELEASE_DATA", Path(__file__).resolve().parents[2] / "../shared/data"))
    / "dicom-originals"
)


def image_of(shape: tuple[int, int]) -> Dataset:
    pixels = np.random.default_rng(0).integers(0, 4096, shape).astype(np.uint16)
    header = ImageHeader(
        patient_id="PID-7",
        issuer="",
        patient_name="DOE^JANE",
        study_uid=generate_uid(),
        series_uid=generate_uid(),
        sop_uid=generate_uid(),
        frame_of_reference_uid=generate_uid(),
        study_id="1",
        accession_number="",
        study_date="20240102",
        study_time="101112",
        series_number=1,
        instance_number=1,
        manufacturer="Maker",
        model_name="Model",
        software_versions="1",
        spacing_mm=(1.0, 1.0),
    )
    return dx_image(pixels, header)


def pair(shape: tuple[int, int] = (19, 21), seed: int = 0) -> tuple[Dataset, Dataset, np.ndarray]:
    """An image, its segmentation and the masks; 19 x 21 bits do not end with a byte."""
    image = image_of(shape)
    masks = np.random.default_rng(seed).random((len(NAMES), *shape)) > 0.6
    uids = {"sop_uid": generate_uid(), "series_uid": generate_uid(), "dimension_uid": generate_uid()}
    return (
        image,
        segmentation(image, masks, NAMES, **uids, created_date="20240102", created_time="101112", marking=None),
        masks,
    )


def anchored(image: Dataset) -> Dataset:
    """What highdicom asks of a source image."""
    image.ImagePositionPatient, image.ImageOrientationPatient = [0, 0, 0], [1, 0, 0, 0, 1, 0]
    image.SliceThickness, image.PixelSpacing = 1, [1, 1]
    return image


def by_highdicom(image: Dataset, values: np.ndarray, kind: str, segments: int, **options: Any) -> Dataset:
    described = [
        hd.seg.SegmentDescription(
            number, f"s{number}", pydicom.sr.codedict.codes.SCT.Organ, pydicom.sr.codedict.codes.SCT.Lung, "MANUAL"
        )
        for number in range(1, segments + 1)
    ]
    return hd.seg.Segmentation(
        [anchored(image)],
        values,
        kind,
        described,
        generate_uid(),
        2,
        generate_uid(),
        1,
        "Maker",
        "Model",
        "1",
        "0",
        **options,
    )


def save(folder: Path, dataset: Dataset, name: str = "seg.dcm") -> Path:
    dataset.save_as(folder / name, enforce_file_format=True)
    return folder / name


def masks_of(path: Path) -> np.ndarray:
    found = read_segmentation(path)
    assert not isinstance(found, Refusal), found
    return np.stack([mask.mask for mask in found])


def test_overlapping_masks_come_back_exactly_and_as_highdicom_reads_them(tmp_path: Path) -> None:
    image, seg, masks = pair()
    path = save(tmp_path, seg)
    found = read_segmentation(path)
    assert not isinstance(found, Refusal)
    assert [mask.name for mask in found] == list(NAMES)
    assert [mask.code for mask in found] == ["3341006", "44029006", "27925004"]
    assert {mask.source_sop_uid for mask in found} == {image.SOPInstanceUID}
    np.testing.assert_array_equal(np.stack([mask.mask for mask in found]), masks)
    oracle = hd.seg.segread(path).get_pixels_by_source_instance([image.SOPInstanceUID])[0]
    np.testing.assert_array_equal(np.stack([mask.mask for mask in found]), np.moveaxis(oracle, -1, 0) > 0)


def test_the_fast_and_the_slow_reader_agree(tmp_path: Path) -> None:
    _, seg, _ = pair()
    path = save(tmp_path, seg)
    fast, slow = _Walked(path.read_bytes()), _Decoded(path)
    assert list(fast.sources) == list(slow.sources)
    for one, other in zip(fast.masks(fast.sources[0]), slow.masks(slow.sources[0]), strict=True):
        assert (one.name, one.code) == (other.name, other.code)
        np.testing.assert_array_equal(one.mask, other.mask)


def test_implicit_vr_is_read_fast_too(tmp_path: Path) -> None:
    _, seg, masks = pair()
    seg.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    path = save(tmp_path, seg)
    _Walked(path.read_bytes())
    np.testing.assert_array_equal(masks_of(path), masks)


def test_sequences_of_undefined_length_are_walked(tmp_path: Path) -> None:
    _, seg, masks = pair()

    def undefine(dataset: Dataset) -> None:
        for element in dataset:
            if element.VR == "SQ":
                element.is_undefined_length = True
                for item in element.value:
                    item.is_undefined_length_sequence_item = True
                    undefine(item)

    seg = pydicom.dcmread(save(tmp_path, seg))  # highdicom lets files share their items
    undefine(seg)
    path = save(tmp_path, seg)
    assert path.read_bytes().count(b"\xff\xff\xff\xff") > 20
    _Walked(path.read_bytes())
    np.testing.assert_array_equal(masks_of(path), masks)
    found = scan(path)
    assert not isinstance(found, Refusal)
    assert len(found.references) == 1


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.1", "1.2.840.10008.1.2.5"])
def test_label_maps_are_read(tmp_path: Path, syntax: str) -> None:
    image = image_of((16, 16))
    values = np.random.default_rng(0).integers(0, 4, (1, 16, 16)).astype(np.uint8)
    path = save(tmp_path, by_highdicom(image, values, "LABELMAP", 3, transfer_syntax_uid=syntax))
    np.testing.assert_array_equal(masks_of(path), np.stack([values[0] == number for number in (1, 2, 3)]))


def test_fractional_masks_are_cut_at_one_half(tmp_path: Path) -> None:
    values = np.random.default_rng(0).random((1, 16, 16, 2)).astype(np.float32)
    path = save(tmp_path, by_highdicom(image_of((16, 16)), values, "FRACTIONAL", 2, max_fractional_value=255))
    quantised = np.around(values[0] * 255) / 255
    np.testing.assert_array_equal(masks_of(path), np.moveaxis(quantised > 0.5, -1, 0))


def test_a_described_segment_without_a_frame_is_empty(tmp_path: Path) -> None:
    values = np.zeros((1, 16, 16, 2), np.uint8)
    values[0, 3:5, 3:5, 0] = 1
    path = save(tmp_path, by_highdicom(image_of((16, 16)), values, "BINARY", 2, omit_empty_frames=True))
    assert int(pydicom.dcmread(path).NumberOfFrames) == 1
    assert masks_of(path).sum(axis=(1, 2)).tolist() == [4, 0]


def test_a_frame_is_matched_by_reference_and_not_by_order(tmp_path: Path) -> None:
    _, seg, masks = pair()
    seg = pydicom.dcmread(save(tmp_path, seg))  # highdicom lets frames share their items
    frames = list(seg.PerFrameFunctionalGroupsSequence)
    other = generate_uid()
    frames[1].DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID = other
    path = save(tmp_path, seg)
    opened = open_segmentation(path)
    assert not isinstance(opened, Refusal)
    first, second = opened.sources
    assert second == other
    assert [mask.mask.any() for mask in opened.masks(first)] == [True, False, True]
    np.testing.assert_array_equal(opened.masks(other)[1].mask, masks[1])


def test_frames_without_reference_belong_to_the_only_listed_image(tmp_path: Path) -> None:
    _, seg, masks = pair()
    for frame in seg.PerFrameFunctionalGroupsSequence:
        del frame.DerivationImageSequence
    np.testing.assert_array_equal(masks_of(save(tmp_path, seg)), masks)


def test_frames_that_name_no_image_are_refused(tmp_path: Path) -> None:
    _, seg, _ = pair()
    for frame in seg.PerFrameFunctionalGroupsSequence:
        del frame.DerivationImageSequence
    del seg.ReferencedSeriesSequence
    result = read_segmentation(save(tmp_path, seg))
    assert isinstance(result, Refusal)
    assert result.reason is Reason.MASK_UNREADABLE


def test_cut_segmentations_are_refused(tmp_path: Path) -> None:
    _, seg, _ = pair()
    content = save(tmp_path, seg).read_bytes()
    path = tmp_path / "cut"
    for length in [*range(0, len(content), 997), len(content) - 1]:
        path.write_bytes(content[:length])
        result = read_segmentation(path)
        assert isinstance(result, Refusal)
        assert result.reason is Reason.MASK_UNREADABLE


def test_an_image_is_no_segmentation(tmp_path: Path) -> None:
    image, _, _ = pair()
    result = read_segmentation(save(tmp_path, image))
    assert isinstance(result, Refusal)


def test_a_segmentation_is_scanned_as_a_mask_with_its_references(tmp_path: Path) -> None:
    image, seg, _ = pair()
    listed = save(tmp_path, seg, "listed")
    del seg.ReferencedSeriesSequence
    for path in (listed, save(tmp_path, seg, "in_frames")):
        found = scan(path)
        assert not isinstance(found, Refusal)
        assert (found.kind, found.references) == (Kind.MASK, (str(image.SOPInstanceUID),))
    seg.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    found = scan(save(tmp_path, seg))
    assert not isinstance(found, Refusal)
    assert found.references == (str(image.SOPInstanceUID),)


def test_the_walk_finds_what_pydicom_finds(tmp_path: Path) -> None:
    _, seg, _ = pair()
    path = save(tmp_path, seg)
    elements, _ = file_elements(path.read_bytes(), pixels=True)

    def compare(walked: Elements, dataset: Dataset) -> int:
        count = 0
        for element in dataset:
            tag = int(element.tag)
            assert tag in walked
            if element.VR == "SQ":
                items = walked.items(tag)
                assert len(items) == len(element.value)
                count += sum(compare(one, other) for one, other in zip(items, element.value, strict=True))
            elif element.VR in ("UI", "CS", "LO"):
                assert walked.text(tag) == str(element.value).replace("', '", "\\").strip("['] ")
                count += 1
        return count

    assert compare(elements, pydicom.dcmread(path)) > 50


@pytest.mark.real
@pytest.mark.skipif(not ORIGINALS.is_dir(), reason="the unmodified DICOM files of SYNTHRELEASE_DATA are not here")
def test_unmodified_files_of_public_collections_are_read_or_refused_with_a_reason() -> None:
    images = masks = 0
    for path in list_files(ORIGINALS):
        found, image = scan(path), read_image(path)
        images += isinstance(image, ReadImage)
        if not isinstance(found, Refusal) and found.kind is Kind.MASK:
            result = read_segmentation(path)
            if not isinstance(result, Refusal):
                masks += 1
                assert {mask.source_sop_uid for mask in result} <= set(found.references)
    assert images >= 60
    assert masks >= 14

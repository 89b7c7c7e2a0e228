"""Reading segmentations: our reader against highdicom, and files that it must refuse."""

from __future__ import annotations

import copy
import dataclasses
import os
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import openjpeg.utils
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian, generate_uid

from synthrelease.dicom.elements import Elements, file_elements
from synthrelease.dicom.image import ImageHeader, dx_image
from synthrelease.dicom.mask_reading import Target, open_segmentation
from synthrelease.dicom.planes import plane_from
from synthrelease.dicom.reading import ReadImage, list_files, open_image, read_segmentation
from synthrelease.dicom.scanning import Kind, scan
from synthrelease.dicom.segmentation import segmentation
from synthrelease.dicom.segmentation_reading import Walked
from synthrelease.dicom.slow_masks import Decoded
from synthrelease.records.refusals import Reason, Refusal
from tests.dicom.multi_frame import item

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
    fast, slow = Walked(path.read_bytes()), Decoded(path)
    assert list(fast.sources) == list(slow.sources)
    for one, other in zip(fast.masks(Target(fast.sources[0])), slow.masks(Target(slow.sources[0])), strict=True):
        assert (one.name, one.code) == (other.name, other.code)
        np.testing.assert_array_equal(one.mask, other.mask)


def test_implicit_vr_is_read_fast_too(tmp_path: Path) -> None:
    _, seg, masks = pair()
    seg.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    path = save(tmp_path, seg)
    Walked(path.read_bytes())
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
    Walked(path.read_bytes())
    np.testing.assert_array_equal(masks_of(path), masks)
    found = scan(path)
    assert not isinstance(found, Refusal)
    assert len(found.references) == 1


RLE, JPEG_LS, JPEG_2000 = "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.90"


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.1", RLE, JPEG_LS, JPEG_2000])
def test_label_maps_are_read_fast_compressed_or_not(tmp_path: Path, syntax: str) -> None:
    values = np.random.default_rng(0).integers(0, 4, (1, 64, 64)).astype(np.uint8)
    made = syntax if syntax != JPEG_2000 else "1.2.840.10008.1.2.1"  # pydicom has no encoder for it here
    seg = by_highdicom(image_of((64, 64)), values, "LABELMAP", 3, transfer_syntax_uid=made)
    if syntax == JPEG_2000:
        seg.file_meta.TransferSyntaxUID = syntax
        seg.PixelData = encapsulate([openjpeg.utils.encode_array(values[0], photometric_interpretation=2)])
        seg["PixelData"].is_undefined_length = True
    path = save(tmp_path, seg)
    Walked(path.read_bytes())
    np.testing.assert_array_equal(masks_of(path), np.stack([values[0] == number for number in (1, 2, 3)]))


def test_compressed_binary_masks_are_read_fast(tmp_path: Path) -> None:
    values = np.random.default_rng(0).random((1, 64, 64, 2)) > 0.5
    path = save(tmp_path, by_highdicom(image_of((64, 64)), values, "BINARY", 2, transfer_syntax_uid=JPEG_2000))
    Walked(path.read_bytes())
    np.testing.assert_array_equal(masks_of(path), np.moveaxis(values[0], -1, 0))


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.1", RLE, JPEG_LS])
def test_fractional_masks_are_cut_at_one_half_as_highdicom_does(tmp_path: Path, syntax: str) -> None:
    values = np.random.default_rng(0).random((1, 64, 64, 2)).astype(np.float32)
    options = {"max_fractional_value": 200, "transfer_syntax_uid": syntax}
    path = save(tmp_path, by_highdicom(image_of((64, 64)), values, "FRACTIONAL", 2, **options))
    fast, slow = Walked(path.read_bytes()), Decoded(path)
    for one, other in zip(fast.masks(Target(fast.sources[0])), slow.masks(Target(slow.sources[0])), strict=True):
        np.testing.assert_array_equal(one.mask, other.mask)
    quantised = np.around(values[0] * 200) / 200
    np.testing.assert_array_equal(masks_of(path), np.moveaxis(quantised > 0.5, -1, 0))


def test_a_deflated_file_is_left_to_highdicom_and_read(tmp_path: Path) -> None:
    _, seg, masks = pair()
    seg.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    path = save(tmp_path, seg)
    with pytest.raises(ValueError, match="transfer syntax"):
        Walked(path.read_bytes())
    assert isinstance(open_segmentation(path), Decoded)
    np.testing.assert_array_equal(masks_of(path), masks)


def test_another_byte_order_which_no_reader_takes_is_refused(tmp_path: Path) -> None:
    result = read_segmentation(Path(pydicom.__file__).parent / "data/test_files/liver_expb_1frame.dcm")
    assert isinstance(result, Refusal)
    assert result.reason is Reason.MASK_UNREADABLE


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
    assert [mask.mask.any() for mask in opened.masks(Target(first))] == [True, False, True]
    np.testing.assert_array_equal(opened.masks(Target(other))[1].mask, masks[1])


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


def volume(folder: Path, count: int = 3) -> tuple[Path, list[Target], np.ndarray]:
    """A segmentation of a volume that tells places only; its images, in another order; their masks (N, K, H, W)."""
    masks = np.random.default_rng(1).random((count, 12, 14, 2)) > 0.5
    reference, series = generate_uid(), generate_uid()
    images = []
    for index in range(count):
        image = anchored(image_of((12, 14)))
        image.ImagePositionPatient, image.PixelSpacing = [3, -4, 2.5 * index], [1, 0.8]
        image.FrameOfReferenceUID, image.SeriesInstanceUID = reference, series
        image.StudyInstanceUID = images[0].StudyInstanceUID if images else image.StudyInstanceUID
        images.append(image)
    described = [
        hd.seg.SegmentDescription(
            number, f"s{number}", pydicom.sr.codedict.codes.SCT.Organ, pydicom.sr.codedict.codes.SCT.Lung, "MANUAL"
        )
        for number in (1, 2)
    ]
    seg = hd.seg.Segmentation(
        images, masks, "BINARY", described, generate_uid(), 2, generate_uid(), 1, "Maker", "Model", "1", "0"
    )
    seg = pydicom.dcmread(save(folder, seg))
    del seg.ReferencedSeriesSequence
    for frame in seg.PerFrameFunctionalGroupsSequence:
        del frame.DerivationImageSequence
    targets = [
        Target(
            str(image.SOPInstanceUID),
            None,
            (12, 14),
            plane_from(image.ImagePositionPatient, image.ImageOrientationPatient, image.PixelSpacing),
            reference,
        )
        for image in images
    ]
    order = [2, 0, 1][:count]
    return save(folder, seg), [targets[index] for index in order], np.moveaxis(masks, -1, 1)[order]


def test_frames_without_reference_are_matched_by_their_place(tmp_path: Path) -> None:
    path, targets, masks = volume(tmp_path)
    opened = open_segmentation(path)
    assert not isinstance(opened, Refusal)
    assert not opened.sources
    for target, expected in zip(targets, masks, strict=True):
        np.testing.assert_array_equal(np.stack([mask.mask for mask in opened.masks(target)]), expected)


ELSEWHERE = {
    "other coordinates": {"frame_of_reference": "1.2.3"},
    "no coordinates": {"frame_of_reference": ""},
    "no place": {"plane": None},
    "another size": {"shape": (14, 12)},
    "beside": {"plane": plane_from([3.1, -4, 2.5], [1, 0, 0, 0, 1, 0], [1, 0.8])},
    "between two slices": {"plane": plane_from([3, -4, 1.25], [1, 0, 0, 0, 1, 0], [1, 0.8])},
    "oblique": {"plane": plane_from([3, -4, 2.5], [1, 0, 0, 0, 0.999, 0.0447], [1, 0.8])},
    "another spacing": {"plane": plane_from([3, -4, 2.5], [1, 0, 0, 0, 1, 0], [1.02, 0.8])},
    "mirrored": {"plane": plane_from([3, -4, 2.5], [-1, 0, 0, 0, 1, 0], [1, 0.8])},
}


@pytest.mark.parametrize("how", list(ELSEWHERE))
def test_an_image_that_lies_elsewhere_has_no_mask_of_them(how: str, tmp_path: Path) -> None:
    path, targets, _ = volume(tmp_path)
    opened = open_segmentation(path)
    assert not isinstance(opened, Refusal)
    assert opened.masks(dataclasses.replace(targets[0], **ELSEWHERE[how])) == []


def listing(path: Path, targets: list[Target]) -> None:
    """Name the images in the list of a segmentation whose frames tell places only."""
    seg = pydicom.dcmread(path)
    seg.ReferencedSeriesSequence = [
        item(ReferencedInstanceSequence=[item(ReferencedSOPInstanceUID=each.sop_uid) for each in targets])
    ]
    seg.save_as(path)


def test_a_listed_slice_in_whose_place_there_is_no_frame_has_empty_masks(tmp_path: Path) -> None:
    path, targets, _ = volume(tmp_path)
    assert targets[0].plane is not None
    above = dataclasses.replace(targets[0], sop_uid="1.2.3", plane=targets[0].plane.moved(2.5))
    listing(path, [*targets, above])
    opened = open_segmentation(path)
    assert not isinstance(opened, Refusal)
    assert [mask.mask.any() for mask in opened.masks(above)] == [False, False]
    assert all(mask.mask.any() for mask in opened.masks(targets[0]))


@pytest.mark.parametrize("how", list(ELSEWHERE))
def test_a_listed_image_on_another_grid_than_its_frames_is_an_error_and_not_empty(how: str, tmp_path: Path) -> None:
    path, targets, _ = volume(tmp_path)
    listing(path, targets)
    opened = open_segmentation(path)
    assert not isinstance(opened, Refusal)
    elsewhere = dataclasses.replace(targets[0], **ELSEWHERE[how])
    if how == "between two slices":
        assert not any(mask.mask.any() for mask in opened.masks(elsewhere))
        return
    with pytest.raises(ValueError, match="do not say"):
        opened.masks(elsewhere)


def of_frames(*numbers: list[int]) -> tuple[str, Dataset, np.ndarray]:
    """A segmentation whose first segments belong to frames of one image."""
    image, seg, masks = pair()
    for frame, of in zip(seg.PerFrameFunctionalGroupsSequence, numbers, strict=False):
        frame.DerivationImageSequence = copy.deepcopy(frame.DerivationImageSequence)
        frame.DerivationImageSequence[0].SourceImageSequence[0].ReferencedFrameNumber = of
    return str(image.SOPInstanceUID), seg, masks


def test_masks_of_a_multi_frame_image_are_matched_by_frame(tmp_path: Path) -> None:
    uid, seg, masks = of_frames([2], [3], [2])
    opened = open_segmentation(save(tmp_path, seg))
    assert not isinstance(opened, Refusal)
    second, third, fourth = (opened.masks(Target(uid, frame, (19, 21))) for frame in (2, 3, 4))
    np.testing.assert_array_equal([mask.mask for mask in second], [masks[0], np.zeros_like(masks[1]), masks[2]])
    np.testing.assert_array_equal([mask.mask for mask in third], [np.zeros_like(masks[0]), masks[1], 0 * masks[2]])
    assert [mask.mask.any() for mask in fourth] == [False, False, False]


def test_a_mask_of_several_frames_at_once_belongs_to_none_that_can_be_told(tmp_path: Path) -> None:
    uid, seg, _ = of_frames([1, 2], [1, 2], [1, 2])
    opened = open_segmentation(save(tmp_path, seg))
    assert not isinstance(opened, Refusal)
    with pytest.raises(ValueError, match="do not say"):
        opened.masks(Target(uid, 1, (19, 21)))


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
        found, file = scan(path), open_image(path)
        frames = [] if isinstance(file, Refusal) else [file.frame(index) for index in range(file.frames)]
        images += sum(isinstance(frame, ReadImage) for frame in frames)
        if not isinstance(found, Refusal) and found.kind is Kind.MASK:
            result = read_segmentation(path)
            if not isinstance(result, Refusal):
                masks += 1
                assert {mask.source_sop_uid for mask in result} <= set(found.references)
    assert images >= 80
    assert masks >= 14


@pytest.mark.real
@pytest.mark.skipif(not ORIGINALS.is_dir(), reason="the unmodified DICOM files of SYNTHRELEASE_DATA are not here")
def test_both_readers_agree_on_every_segmentation_of_public_collections() -> None:
    compared = 0
    for path in list_files(ORIGINALS):
        try:
            fast = Walked(path.read_bytes())
            slow = Decoded(path)
        except Exception:
            continue
        for source in fast.sources:
            try:
                expected = slow.masks(Target(source))
            except ValueError:
                continue
            for one, other in zip(fast.masks(Target(source)), expected, strict=True):
                np.testing.assert_array_equal(one.mask, other.mask)
                compared += 1
    assert compared >= 40

"""Every form of masks over every image class: valid, read back exactly, coded, and the same bytes each time."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO
from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless

from synthrelease.archive.conformance import archive_problems, instance_problems
from synthrelease.dicom.image import ImageClass, ImageHeader, grey_image
from synthrelease.dicom.mask_forms import Compression, MaskKind, check_form, frames_of, label_map
from synthrelease.dicom.mask_packing import encapsulated
from synthrelease.dicom.mask_reading import read_segmentation
from synthrelease.dicom.segmentation import segmentation
from synthrelease.dicom.segments import SEGMENTS, segment
from synthrelease.errors import UsageError

NAMES = ("right_lung", "left_lung", "nodule", "unheard of thing")
ROWS, COLUMNS = 33, 47  # odd: frames end inside a byte, and rows divide no length
FORMS = [
    (MaskKind.BINARY, Compression.NONE),
    (MaskKind.BINARY, Compression.JPEG_2000),
    *((MaskKind.LABELMAP, compression) for compression in Compression),
]
COMPRESSED = [form for form in FORMS if form[1] is not Compression.NONE]
EVERY_CLASS = pytest.mark.parametrize("image_class", list(ImageClass))
EVERY_FORM = pytest.mark.parametrize(("kind", "compression"), FORMS, ids=[f"{kind} {how}" for kind, how in FORMS])


def overlapping() -> np.ndarray:
    masks = np.zeros((4, ROWS, COLUMNS), np.bool_)
    masks[0, 2:9, 3:12] = masks[1, 2:9, 20:30] = masks[2, 4:6, 4:6] = masks[3, 32, 46] = True
    return masks


def one_absent() -> np.ndarray:
    masks = overlapping()
    masks[2] = False
    return masks


CASES = {
    "overlapping": overlapping(),
    "one absent": one_absent(),
    "all absent": np.zeros((4, ROWS, COLUMNS), np.bool_),
    "all full": np.ones((4, ROWS, COLUMNS), np.bool_),
    "random": np.random.default_rng(3).random((4, ROWS, COLUMNS)) < 0.4,
}


def image_of(header: ImageHeader, image_class: ImageClass = ImageClass.DX) -> Dataset:
    part = "BREAST" if image_class is ImageClass.MG else "CHEST"
    pixels = np.random.default_rng(0).integers(0, 4096, (ROWS, COLUMNS)).astype(np.uint16)
    return grey_image(pixels, replace(header, body_part=part), image_class)


def masks_over(
    image: Dataset,
    header: ImageHeader,
    masks: np.ndarray,
    kind: MaskKind = MaskKind.BINARY,
    compression: Compression = Compression.NONE,
    names: tuple[str, ...] = NAMES,
    **further: object,
) -> Dataset:
    given = {"sop_uid": "2.25.21", "series_uid": "2.25.22", "dimension_uid": "2.25.23", **further}
    return segmentation(
        image,
        masks,
        names,
        created_date="20010203",
        created_time="040506",
        marking=header.synthetic,
        kind=kind,
        compression=compression,
        **given,
    )


def saved(instance: Dataset, path: Path) -> Path:
    instance.save_as(path, enforce_file_format=True)
    return path


def held(masks: np.ndarray, kind: MaskKind) -> np.ndarray:
    """What a file of that kind can hold: all of it, or each pixel's last segment."""
    if kind is MaskKind.BINARY:
        return masks
    kept = masks.copy()
    for later in range(1, len(masks)):
        kept[:later] &= ~masks[later]
    return kept


def by_highdicom(path: Path, image: Dataset, segments: int) -> np.ndarray:
    read = highdicom.seg.segread(path)
    planes = read.get_pixels_by_source_instance([image.SOPInstanceUID], segment_numbers=list(range(1, segments + 1)))
    return planes[0].transpose(2, 0, 1).astype(np.bool_)


@EVERY_FORM
@EVERY_CLASS
def test_every_form_over_every_class_validates(
    tmp_path: Path, synthetic_header: ImageHeader, image_class: ImageClass, kind: MaskKind, compression: Compression
) -> None:
    image = image_of(synthetic_header, image_class)
    path = saved(masks_over(image, synthetic_header, overlapping(), kind, compression), tmp_path / "M")
    assert instance_problems(path) == []
    assert archive_problems([saved(image, tmp_path / "I"), path]) == []


@EVERY_FORM
@EVERY_CLASS
def test_every_form_reads_back_exactly_by_highdicom_and_by_us(
    tmp_path: Path, synthetic_header: ImageHeader, image_class: ImageClass, kind: MaskKind, compression: Compression
) -> None:
    image = image_of(synthetic_header, image_class)
    for case, masks in CASES.items():
        path = saved(masks_over(image, synthetic_header, masks, kind, compression), tmp_path / "M")
        assert np.array_equal(by_highdicom(path, image, 4), held(masks, kind)), case
        own = read_segmentation(path)
        assert isinstance(own, list)
        assert np.array_equal(np.stack([found.mask for found in own]), held(masks, kind)), case
        assert [(found.name, found.code) for found in own] == [(name, segment(name).type.value) for name in NAMES]
        assert {found.source_sop_uid for found in own} == {"2.25.13"}


@EVERY_FORM
def test_a_form_has_one_layout_whatever_the_masks_show(
    synthetic_header: ImageHeader, kind: MaskKind, compression: Compression
) -> None:
    image = image_of(synthetic_header)
    built = {case: masks_over(image, synthetic_header, masks, kind, compression) for case, masks in CASES.items()}
    reference = built["one absent"]
    for case, instance in built.items():
        differing = {element.keyword for element in instance if element != reference[element.tag]}
        overlaps = case in ("overlapping", "all full", "random") and kind is MaskKind.BINARY
        assert differing <= {"PixelData"} | ({"SegmentsOverlap"} if overlaps else set()), case
        assert instance.SegmentsOverlap == ("YES" if overlaps else "NO")
        assert len(instance.SegmentSequence) == (5 if kind is MaskKind.LABELMAP else 4)
        assert instance.NumberOfFrames == (1 if kind is MaskKind.LABELMAP else 4)


@EVERY_FORM
@EVERY_CLASS
def test_two_builds_are_the_same_bytes_and_know_no_other_time_or_uid(
    synthetic_header: ImageHeader, image_class: ImageClass, kind: MaskKind, compression: Compression
) -> None:
    streams = BytesIO(), BytesIO()
    for stream in streams:
        image = image_of(synthetic_header, image_class)
        masks_over(image, synthetic_header, overlapping(), kind, compression).save_as(stream, enforce_file_format=True)
    assert streams[0].getvalue() == streams[1].getvalue()
    read = pydicom.dcmread(BytesIO(streams[0].getvalue()))
    everything = [*read.file_meta, *read.iterall()]
    times = {str(element.value) for element in everything if element.VR in ("DA", "TM", "DT") and element.value}
    assert times == {"20010203", "040506", "20010203040506"}
    uids = {str(element.value) for element in everything if element.VR == "UI"}
    own = {uid for uid in uids if not uid.startswith("1.2.840.10008.")} - {str(read.file_meta.ImplementationClassUID)}
    assert own == {f"2.25.{n}" for n in (11, 12, 13, 14, 21, 22, 23)}


@EVERY_FORM
@EVERY_CLASS
def test_every_form_says_that_it_is_synthetic_and_that_nothing_acquired_it(
    synthetic_header: ImageHeader, image_class: ImageClass, kind: MaskKind, compression: Compression
) -> None:
    masks = masks_over(image_of(synthetic_header, image_class), synthetic_header, overlapping(), kind, compression)
    assert (masks.SyntheticData, masks.ContentQualification) == ("YES", "RESEARCH")
    assert masks.ClinicalTrialProtocolID == "release 1"
    assert masks.IssuerOfPatientID == "SYNTHRELEASE release 1"
    equipment = [item.PurposeOfReferenceCodeSequence[0].CodeValue for item in masks.ContributingEquipmentSequence]
    assert equipment == ["109100", "109102"]


@EVERY_FORM
def test_segments_are_coded_coloured_and_say_what_drew_them(
    synthetic_header: ImageHeader, kind: MaskKind, compression: Compression
) -> None:
    masks = masks_over(image_of(synthetic_header), synthetic_header, overlapping(), kind, compression)
    described = [item for item in masks.SegmentSequence if item.SegmentNumber != 0]
    assert [item.SegmentNumber for item in described] == [1, 2, 3, 4]
    for item, name in zip(described, NAMES, strict=True):
        known = segment(name)
        assert item.SegmentLabel == name
        assert item.SegmentedPropertyCategoryCodeSequence[0].CodeValue == known.category.value
        assert item.SegmentedPropertyTypeCodeSequence[0].CodeValue == known.type.value
        assert item.SegmentAlgorithmType == "AUTOMATIC"
        algorithm = item.SegmentationAlgorithmIdentificationSequence[0]
        assert (algorithm.AlgorithmName, algorithm.AlgorithmVersion) == ("synthrelease", "0.1.0")
    assert len({tuple(item.RecommendedDisplayCIELabValue) for item in described}) == 4


@EVERY_CLASS
def test_masks_lie_in_the_plane_and_the_spacing_of_their_image(
    synthetic_header: ImageHeader, image_class: ImageClass
) -> None:
    image = image_of(synthetic_header, image_class)
    if image_class is ImageClass.MR:  # A slice may lie anywhere; its masks lie there too.
        image.ImagePositionPatient = [5, 6, 7]
        image.ImageOrientationPatient = [0, 1, 0, 0, 0, -1]
    before = image.to_json()
    masks = masks_over(image, synthetic_header, overlapping())
    assert image.to_json() == before
    assert masks.FrameOfReferenceUID == image.FrameOfReferenceUID
    shared = masks.SharedFunctionalGroupsSequence[0]
    assert shared.PixelMeasuresSequence[0].PixelSpacing == [0.143, 0.2]
    sliced = image_class in (ImageClass.CT, ImageClass.MR)
    assert shared.PixelMeasuresSequence[0].SliceThickness == (2.5 if sliced else 1.0)
    # highdicom insists on a distance to a next slice; it must not make the voxel another size.
    measures = shared.PixelMeasuresSequence[0]
    assert measures.SpacingBetweenSlices == measures.SliceThickness
    turned = image_class is ImageClass.MR
    orientation = [0, 1, 0, 0, 0, -1] if turned else [1, 0, 0, 0, 1, 0]
    assert shared.PlaneOrientationSequence[0].ImageOrientationPatient == orientation
    for frame in masks.PerFrameFunctionalGroupsSequence:
        position = [5, 6, 7] if turned else [0, 0, 0]
        assert frame.PlanePositionSequence[0].ImagePositionPatient == position
        source = frame.DerivationImageSequence[0].SourceImageSequence[0]
        assert source.ReferencedSOPInstanceUID == image.SOPInstanceUID
        assert source.ReferencedSOPClassUID == image.SOPClassUID
        assert source.SpatialLocationsPreserved == "YES"


@pytest.mark.parametrize("compression", [Compression.RLE, Compression.JPEG_LS])
def test_a_binary_mask_cannot_be_packed_by_the_byte(synthetic_header: ImageHeader, compression: Compression) -> None:
    for attempt in (
        lambda: check_form(MaskKind.BINARY, compression),
        lambda: masks_over(image_of(synthetic_header), synthetic_header, overlapping(), MaskKind.BINARY, compression),
    ):
        with pytest.raises(UsageError, match=str(compression)) as refused:
            attempt()
        assert "labelmap" in refused.value.fix


@EVERY_FORM
def test_the_other_forms_are_allowed(kind: MaskKind, compression: Compression) -> None:
    check_form(kind, compression)


@pytest.mark.parametrize("kind", list(MaskKind))
def test_jpeg_2000_refuses_small_images(synthetic_header: ImageHeader, kind: MaskKind) -> None:
    image = grey_image(np.zeros((40, 31), np.uint16), synthetic_header)
    with pytest.raises(UsageError, match="fewer than 32 pixels"):
        masks_over(image, synthetic_header, np.zeros((4, 40, 31), np.bool_), kind, Compression.JPEG_2000)


def test_in_a_label_map_the_segment_named_later_stays() -> None:
    masks = np.array([[[1, 1, 0, 0]], [[0, 1, 1, 0]]], np.bool_)
    assert label_map(masks).tolist() == [[1, 2, 2, 0]]
    assert label_map(masks[::-1]).tolist() == [[2, 2, 1, 0]]
    assert label_map(masks).dtype == np.uint8
    assert label_map(np.ones((255, 1, 1), np.bool_)).tolist() == [[255]]
    with pytest.raises(UsageError, match="256 segments"):
        label_map(np.ones((256, 1, 1), np.bool_))


@EVERY_FORM
def test_one_file_a_segment_holds_each_mask_whole(
    tmp_path: Path, synthetic_header: ImageHeader, kind: MaskKind, compression: Compression
) -> None:
    image = image_of(synthetic_header)
    masks = overlapping()
    paths = [saved(image, tmp_path / "I")]
    for number, name in enumerate(NAMES, 1):
        built = masks_over(
            image,
            synthetic_header,
            masks[number - 1 : number],
            kind,
            compression,
            (name,),
            sop_uid=f"2.25.{number}01",
            series_uid=f"2.25.{number}02",
            dimension_uid=f"2.25.{number}03",
            series_number=100 + number,
            instance_number=number,
            series_description=name,
        )
        paths.append(saved(built, tmp_path / f"M{number}"))
        assert instance_problems(paths[-1]) == []
        assert (built.SeriesNumber, built.InstanceNumber, built.SeriesDescription) == (100 + number, number, name)
        assert np.array_equal(by_highdicom(paths[-1], image, 1)[0], masks[number - 1])
        own = read_segmentation(paths[-1])
        assert isinstance(own, list)
        assert [(found.name, found.mask.tolist()) for found in own] == [(name, masks[number - 1].tolist())]
    assert archive_problems(paths) == []


@pytest.mark.parametrize(("kind", "compression"), COMPRESSED, ids=[f"{kind} {how}" for kind, how in COMPRESSED])
def test_compression_changes_the_pixel_data_and_nothing_else(
    synthetic_header: ImageHeader, kind: MaskKind, compression: Compression
) -> None:
    image = image_of(synthetic_header)
    plain = masks_over(image, synthetic_header, overlapping(), kind)
    packed = masks_over(image, synthetic_header, overlapping(), kind, compression)
    assert {element.keyword for element in packed if element != plain[element.tag]} == {"PixelData"}
    assert {element.keyword for element in packed.file_meta if element != plain.file_meta[element.tag]} == {
        "TransferSyntaxUID"
    }
    assert packed["PixelData"].VR == "OB"
    frames = list(generate_frames(packed.PixelData, number_of_frames=int(packed.NumberOfFrames)))
    assert len(frames) == packed.NumberOfFrames
    bits = int(packed.BitsAllocated)
    assert packed.PixelData == encapsulated(frames_of(overlapping(), kind), compression, bits=bits)


@pytest.mark.parametrize(
    ("kind", "compression", "syntax"),
    [
        (MaskKind.BINARY, Compression.JPEG_2000, JPEG2000Lossless),
        (MaskKind.LABELMAP, Compression.JPEG_LS, JPEGLSLossless),
    ],
)
def test_our_packing_is_what_highdicom_packs(
    synthetic_header: ImageHeader, kind: MaskKind, compression: Compression, syntax: str
) -> None:
    """For RLE highdicom would call GDCM, which aborts at this size; JPEG 2000 of bytes needs one package more."""
    frame = frames_of(overlapping(), kind)[0]
    bits = 1 if kind is MaskKind.BINARY else 8
    theirs = highdicom.frame.encode_frame(frame, syntax, bits, bits, "MONOCHROME2", 0)
    ours = next(generate_frames(encapsulated([frame], compression, bits=bits), number_of_frames=1))
    assert ours.rstrip(b"\0") == theirs.rstrip(b"\0")


@pytest.mark.parametrize(("kind", "names"), [(MaskKind.BINARY, NAMES), (MaskKind.LABELMAP, NAMES[:1])])
def test_pixel_data_of_odd_length_is_padded_with_a_zero(
    synthetic_header: ImageHeader, kind: MaskKind, names: tuple[str, ...]
) -> None:
    pixels = np.zeros((21, 37), np.uint16)
    masks = np.ones((len(names), 21, 37), np.bool_)
    built = masks_over(grey_image(pixels, synthetic_header), synthetic_header, masks, kind, names=names)
    assert len(built.PixelData) % 2 == 0
    assert built.PixelData[-1] == 0
    assert built.PixelData[-2] != 0


def test_an_organ_is_no_lesion_and_every_known_segment_has_its_own_code() -> None:
    assert segment("left_kidney").category.value == "91723000"
    codes = [known.type.value for known in SEGMENTS.values()]
    assert len(set(codes)) == len(codes)
    assert all(name == known.name for name, known in SEGMENTS.items())


def test_unknown_segments_have_colours_of_their_own() -> None:
    named = ["consolidation", "opacity", "atelectasis", "catheter"]
    assert len({segment(name).rgb for name in named}) >= 3
    assert segment("opacity").rgb == segment("opacity").rgb

"""Multi-frame images: each frame with its own place, spacing, rescale and window; what has frames and is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import openjpeg.utils
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, encapsulate_extended
from pydicom.uid import ExplicitVRBigEndian, RLELossless, generate_uid

from synthrelease.dicom.frames import MOST_FRAMES
from synthrelease.dicom.reading import ImageFile, ReadImage, open_image, read_image
from synthrelease.dicom.scanning import Kind, scan
from synthrelease.dicom.stored import WalkedFrames
from synthrelease.dicom.voi import LinearWindow
from synthrelease.records.refusals import Reason, Refusal
from tests.dicom.multi_frame import enhanced, levels


def save(folder: Path, image: Dataset) -> Path:
    path = folder / "image.dcm"
    image.save_as(path, enforce_file_format=True)
    return path


def frames_of(path: Path) -> list[ReadImage]:
    file = open_image(path)
    assert isinstance(file, ImageFile), file
    found = [file.frame(index) for index in range(file.frames)]
    assert all(isinstance(frame, ReadImage) for frame in found), found
    return found  # type: ignore[return-value]


def refusal(path: Path) -> Refusal:
    file = open_image(path)
    result = file.frame(0) if isinstance(file, ImageFile) else file
    assert isinstance(result, Refusal)
    return result


def test_every_frame_is_an_image_of_its_patient(tmp_path: Path) -> None:
    pixels = levels(3)
    image = enhanced(pixels)
    frames = frames_of(save(tmp_path, image))
    np.testing.assert_array_equal([frame.pixels for frame in frames], pixels.astype(np.float32) - 1000)
    assert [frame.frame for frame in frames] == [1, 2, 3]
    assert {(frame.sop_uid, frame.patient_id) for frame in frames} == {(image.SOPInstanceUID, "PID-7")}
    assert len({frame.pixel_digest for frame in frames}) == 3
    assert frames[0].value_range == (-1000.0, 3095.0)


def test_the_first_look_counts_the_frames(tmp_path: Path) -> None:
    image = enhanced(levels(3))
    found = scan(save(tmp_path, image))
    assert not isinstance(found, Refusal)
    assert (found.kind, found.frames) == (Kind.IMAGE, 3)
    assert (found.series_uid, found.frame_of_reference) == (image.SeriesInstanceUID, image.FrameOfReferenceUID)


def test_a_frame_has_the_place_of_its_own_groups_and_the_spacing_of_the_shared_ones(tmp_path: Path) -> None:
    frames = frames_of(save(tmp_path, enhanced(levels(3))))
    places = [frame.plane.position for frame in frames if frame.plane is not None]
    assert places == [(-5.0, -6.0, 0.0), (-5.0, -6.0, 2.0), (-5.0, -6.0, 4.0)]
    assert {frame.spacing_mm for frame in frames} == {(0.5, 0.5)}


def test_a_frames_own_groups_count_before_the_shared_ones_and_those_before_the_data_set(tmp_path: Path) -> None:
    own: list[dict[str, Any]] = [
        {"FrameVOILUTSequence": {"WindowCenter": 40, "WindowWidth": 400}},
        {
            "PixelValueTransformationSequence": {"RescaleIntercept": 5, "RescaleSlope": 2, "RescaleType": "HU"},
            "PixelMeasuresSequence": {"PixelSpacing": [1, 2], "SliceThickness": 1},
        },
    ]
    image = enhanced(levels(2), own=own, WindowCenter=1, WindowWidth=2)
    first, second = frames_of(save(tmp_path, image))
    assert (first.window, second.window) == (LinearWindow(40.0, 400.0), LinearWindow(1.0, 2.0))
    np.testing.assert_array_equal(second.pixels, levels(2)[1].astype(np.float32) * 2 + 5)
    assert (first.spacing_mm, second.spacing_mm) == ((0.5, 0.5), (1.0, 2.0))


def test_a_cine_loop_without_functional_groups_is_read_frame_by_frame(tmp_path: Path) -> None:
    image = enhanced(
        levels(4),
        SOPClassUID="1.2.840.10008.5.1.4.1.1.3.1",
        Modality="US",
        SharedFunctionalGroupsSequence=None,
        PerFrameFunctionalGroupsSequence=None,
        RescaleIntercept="3",
    )
    frames = frames_of(save(tmp_path, image))
    np.testing.assert_array_equal([frame.pixels for frame in frames], levels(4).astype(np.float32) + 3)
    assert {frame.plane for frame in frames} == {None}


def test_only_the_frame_that_is_asked_for_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path, enhanced(levels(5)))
    file = open_image(path)
    assert isinstance(file, ImageFile)
    assert isinstance(file._stored, WalkedFrames)
    seen: list[int] = []
    whole = np.frombuffer
    monkeypatch.setattr(np, "frombuffer", lambda content, *a: seen.append(len(content)) or whole(content, *a))
    file.frame(3)
    assert seen == [16 * 20 * 2]


@pytest.mark.parametrize("table", ["basic", "none", "extended"])
def test_compressed_frames_are_found_with_every_table_of_offsets(tmp_path: Path, table: str) -> None:
    pixels = levels(3, 40, 48)
    image = enhanced(pixels)
    encoded = [openjpeg.utils.encode_array(frame, bits_stored=12, photometric_interpretation=2) for frame in pixels]
    image.file_meta.TransferSyntaxUID = pydicom.uid.JPEG2000Lossless
    if table == "extended":
        content, offsets, lengths = encapsulate_extended(encoded)
        image.ExtendedOffsetTable, image.ExtendedOffsetTableLengths = offsets, lengths
        image.PixelData = content
    else:
        image.PixelData = encapsulate(encoded, has_bot=table == "basic")
    image["PixelData"].is_undefined_length = True
    frames = frames_of(save(tmp_path, image))
    np.testing.assert_array_equal([frame.pixels for frame in frames], pixels.astype(np.float32) - 1000)


def test_run_lengths_and_another_byte_order_give_the_same_frames(tmp_path: Path) -> None:
    pixels = levels(3)
    image = enhanced(pixels)
    image.compress(RLELossless, generate_instance_uid=False)
    one = frames_of(save(tmp_path, image))
    image = enhanced(pixels, PixelData=pixels.astype(">u2").tobytes())
    image["PixelData"].VR = "OW"
    image.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    other = frames_of(save(tmp_path, image))
    for first, second, expected in zip(one, other, pixels, strict=True):
        np.testing.assert_array_equal(first.pixels, expected.astype(np.float32) - 1000)
        np.testing.assert_array_equal(first.pixels, second.pixels)
        assert first.plane == second.plane


def test_a_broken_frame_does_not_take_the_others_with_it(tmp_path: Path) -> None:
    pixels = levels(3)
    pixels[1] = 7
    file = open_image(save(tmp_path, enhanced(pixels)))
    assert isinstance(file, ImageFile)
    results = [file.frame(index) for index in range(3)]
    assert [isinstance(result, ReadImage) for result in results] == [True, False, True]
    assert isinstance(results[1], Refusal)
    assert results[1].reason is Reason.CONSTANT


def test_fewer_frames_than_the_header_tells_are_refused(tmp_path: Path) -> None:
    assert refusal(save(tmp_path, enhanced(levels(2), NumberOfFrames=3))).reason is Reason.UNREADABLE_PIXELS


def test_a_header_that_tells_of_too_many_frames_is_refused_before_anything_is_allocated(tmp_path: Path) -> None:
    path = save(tmp_path, enhanced(levels(2), NumberOfFrames=MOST_FRAMES + 1))
    assert refusal(path).reason is Reason.IMPLAUSIBLE_SIZE


def test_tiles_of_a_slide_are_no_images(tmp_path: Path) -> None:
    result = refusal(save(tmp_path, enhanced(levels(2), SOPClassUID="1.2.840.10008.5.1.4.1.1.77.1.6")))
    assert (result.reason, result.detail) == (Reason.MULTI_FRAME, "tiles of a slide")


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.4.100", "1.2.840.10008.1.2.4.102", "1.2.840.10008.1.2.4.107"])
def test_video_is_refused_as_what_it_is(tmp_path: Path, syntax: str) -> None:
    image = enhanced(levels(2), SOPClassUID="1.2.840.10008.5.1.4.1.1.3.1")
    image.file_meta.TransferSyntaxUID = syntax
    image.PixelData = encapsulate([b"\0\0\1\xb3" + bytes(100)])
    image["PixelData"].is_undefined_length = True
    result = refusal(save(tmp_path, image))
    assert (result.reason, result.detail) == (Reason.VIDEO, "")


def test_read_image_takes_single_frames_only(tmp_path: Path) -> None:
    result = read_image(save(tmp_path, enhanced(levels(2))))
    assert isinstance(result, Refusal)
    assert result.reason is Reason.MULTI_FRAME
    one = read_image(save(tmp_path, enhanced(levels(1), SOPInstanceUID=generate_uid())))
    assert isinstance(one, ReadImage)
    assert one.frame is None
    assert one.plane is not None


def test_a_header_longer_than_one_look_is_read_on(tmp_path: Path) -> None:
    image = enhanced(levels(2), ICCProfile=bytes(100_000))
    path = save(tmp_path, image)
    assert len(frames_of(path)) == 2
    found = scan(path)
    assert not isinstance(found, Refusal)
    assert found.sop_uid == image.SOPInstanceUID

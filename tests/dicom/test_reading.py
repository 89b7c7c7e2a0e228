"""Reading one image: every trap of files in the wild, made on purpose, and the files that pydicom tests itself with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixels import apply_modality_lut
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    RLELossless,
    generate_uid,
)

from synthrelease.dicom.image import ImageHeader, dx_image
from synthrelease.dicom.opening import quiet
from synthrelease.dicom.reading import (
    NOTE_RESCALE,
    NOTE_VOI,
    ImageFile,
    ReadImage,
    SegmentMask,
    list_files,
    open_image,
    pixel_digest,
    read_image,
    read_segmentation,
)
from synthrelease.dicom.scanning import Kind, scan
from synthrelease.dicom.voi import LinearWindow, ValueTable
from synthrelease.records.refusals import Reason, Refusal

TORTURE = sorted(
    path for path in Path(pydicom.__file__).parent.joinpath("data", "test_files").rglob("*") if path.is_file()
)
SIDE = 16


def levels(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 4096, (SIDE, SIDE)).astype(np.uint16)


def plain(**changes: Any) -> Dataset:
    """A DX image with attributes replaced; None deletes one."""
    image = dx_image(
        levels(),
        ImageHeader(
            patient_id="PID-7",
            issuer="HOSPITAL",
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
            spacing_mm=(0.5, 0.25),
        ),
    )
    for keyword, value in changes.items():
        if value is None:
            del image[keyword]
        else:
            setattr(image, keyword, value)
    return image


def save(folder: Path, image: Dataset, name: str = "image.dcm") -> Path:
    path = folder / name
    image.save_as(path, enforce_file_format=True)
    return path


def read(folder: Path, **changes: Any) -> ReadImage:
    result = read_image(save(folder, plain(**changes)))
    assert isinstance(result, ReadImage), result
    return result


def reason(folder: Path, **changes: Any) -> Reason:
    result = read_image(save(folder, plain(**changes)))
    assert isinstance(result, Refusal)
    return result.reason


def replace_element(path: Path, before: bytes, after: bytes) -> Path:
    """Put bytes into a file that pydicom would not write."""
    content = path.read_bytes()
    assert content.count(before) == 1
    path.write_bytes(content.replace(before, after))
    return path


def test_a_sound_image_comes_back_as_it_was_written(tmp_path: Path) -> None:
    image = read(tmp_path)
    np.testing.assert_array_equal(image.pixels, levels())
    assert (image.patient_id, image.issuer, image.modality) == ("PID-7", "HOSPITAL", "DX")
    assert image.value_range == (0.0, 4095.0)
    assert image.window == LinearWindow(2048.0, 4096.0, "LINEAR")
    assert image.spacing_mm == (0.5, 0.25)
    assert not image.inverted
    assert not image.synthetic
    assert (image.frame, image.plane) == (None, None)


@pytest.mark.parametrize("path", TORTURE, ids=lambda path: path.name)
def test_every_file_that_pydicom_tests_itself_with_is_read_or_refused_with_a_reason(path: Path) -> None:
    result, found = open_image(path), scan(path)
    if isinstance(result, Refusal):
        assert_tells_a_reason_and_no_name(result, path)
        return
    assert not isinstance(found, Refusal)
    assert (found.kind, found.frames) == (Kind.IMAGE, result.frames)
    for index in range(result.frames):
        image = result.frame(index)
        if isinstance(image, Refusal):
            assert_tells_a_reason_and_no_name(image, path)
            continue
        assert image.pixels.ndim == 2
        assert image.pixels.dtype == np.float32
        assert (image.sop_uid, image.issuer, image.patient_id) == (found.sop_uid, found.issuer, found.patient)


def assert_tells_a_reason_and_no_name(refusal: Refusal, path: Path) -> None:
    assert isinstance(refusal.reason, Reason)
    assert path.name not in refusal.detail


@pytest.mark.parametrize("path", TORTURE, ids=lambda path: path.name)
def test_whatever_pydicom_decodes_is_refused_for_what_it_is_or_has_the_same_pixels(path: Path) -> None:
    with quiet():
        try:
            dataset = pydicom.dcmread(path)
            expected = apply_modality_lut(dataset.pixel_array, dataset).astype(np.float32)
        except Exception:
            return
    result = open_image(path)
    if isinstance(result, Refusal):
        assert result.reason in (Reason.COLOUR, Reason.NO_PIXELS, Reason.IMPLAUSIBLE_SIZE, Reason.MULTI_FRAME)
        return
    for index, frame in enumerate(expected if result.frames > 1 else [expected]):
        image = result.frame(index)
        if isinstance(image, Refusal):
            assert image.reason is Reason.CONSTANT
        else:
            np.testing.assert_allclose(image.pixels, frame, rtol=1e-6)


def test_the_torture_set_holds_both_readable_and_refused_files() -> None:
    results = [open_image(path) for path in TORTURE]
    files = [result for result in results if isinstance(result, ImageFile)]
    images = [file.frame(index) for file in files for index in range(file.frames)]
    reasons = {result.reason for result in (*results, *images) if isinstance(result, Refusal)}
    assert len(TORTURE) >= 78
    assert sum(isinstance(image, ReadImage) for image in images) >= 45
    assert {Reason.NO_PIXELS, Reason.COLOUR, Reason.UNREADABLE_PIXELS, Reason.NOT_DICOM, Reason.HEADER_CUT} <= reasons


@pytest.mark.parametrize(("stored", "signed"), [(8, 0), (8, 1), (10, 0), (12, 1), (16, 0), (16, 1)])
def test_bits_above_bits_stored_mean_nothing_and_agree_with_pydicom(tmp_path: Path, stored: int, signed: int) -> None:
    garbage = np.random.default_rng(1).integers(0, 65536, (SIDE, SIDE)).astype("<u2").tobytes()
    path = save(
        tmp_path,
        plain(BitsStored=stored, HighBit=stored - 1, PixelRepresentation=signed, PixelData=garbage, WindowCenter=None),
    )
    image = read_image(path)
    assert isinstance(image, ReadImage)
    np.testing.assert_array_equal(image.pixels, pydicom.dcmread(path).pixel_array)
    low, high = image.value_range
    assert (low, high) == ((-(2 ** (stored - 1)), 2 ** (stored - 1) - 1) if signed else (0, 2**stored - 1))
    assert low <= image.pixels.min()
    assert image.pixels.max() <= high


@pytest.mark.parametrize(
    "syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian, RLELossless]
)
def test_every_transfer_syntax_gives_the_same_pixels(tmp_path: Path, syntax: str) -> None:
    image = plain()
    if syntax == RLELossless:
        image.compress(RLELossless, generate_instance_uid=False)
    else:
        image.file_meta.TransferSyntaxUID = syntax
    if syntax == ExplicitVRBigEndian:
        image.PixelData = levels().astype(">u2").tobytes()
        image["PixelData"].VR = "OW"
    path = tmp_path / "image.dcm"
    image.save_as(path)
    result = read_image(path)
    assert isinstance(result, ReadImage)
    np.testing.assert_array_equal(result.pixels, levels())
    found = scan(path)
    assert not isinstance(found, Refusal)
    assert (found.sop_uid, found.issuer, found.patient) == (result.sop_uid, "HOSPITAL", "PID-7")


def test_monochrome1_is_reported_and_not_undone_before_the_window(tmp_path: Path) -> None:
    image = read(tmp_path, PhotometricInterpretation="MONOCHROME1", PresentationLUTShape="INVERSE")
    assert image.inverted
    np.testing.assert_array_equal(image.pixels, levels())


def test_the_modality_lut_comes_before_the_window(tmp_path: Path) -> None:
    image = read(tmp_path, RescaleSlope="2", RescaleIntercept="-1000")
    np.testing.assert_array_equal(image.pixels, levels().astype(np.float32) * 2 - 1000)
    assert image.value_range == (-1000.0, 7190.0)


def test_a_negative_slope_keeps_the_range_in_order(tmp_path: Path) -> None:
    assert read(tmp_path, RescaleSlope="-1").value_range == (-4095.0, 0.0)


def test_a_modality_table_is_applied(tmp_path: Path) -> None:
    table = Dataset()
    table.LUTDescriptor = [4096, 0, 16]
    table.ModalityLUTType = "US"
    table.LUTData = (np.arange(4096, dtype="<u2") * 3).tobytes()
    image = read(tmp_path, ModalityLUTSequence=[table], RescaleSlope=None, RescaleIntercept=None)
    np.testing.assert_array_equal(image.pixels, levels().astype(np.float32) * 3)
    assert image.value_range == (0.0, 65535.0)


@pytest.mark.parametrize("slope", ["0", ""])
def test_a_slope_that_would_erase_the_image_is_read_as_one_and_counted(tmp_path: Path, slope: str) -> None:
    image = read(tmp_path, RescaleSlope=slope)
    np.testing.assert_array_equal(image.pixels, levels())
    assert NOTE_RESCALE in image.notes


def test_of_several_windows_the_first_usable_one_counts(tmp_path: Path) -> None:
    image = read(tmp_path, WindowCenter=["100", "200", "300"], WindowWidth=["0", "50", "60"])
    assert image.window == LinearWindow(200.0, 50.0)


def test_a_window_of_width_zero_is_none_and_counted(tmp_path: Path) -> None:
    image = read(tmp_path, WindowWidth="0")
    assert image.window is None
    assert NOTE_VOI in image.notes


def test_a_window_that_is_not_a_number_is_none_and_counted(tmp_path: Path) -> None:
    path = replace_element(
        save(tmp_path, plain()), b"\x28\x00\x50\x10DS\x04\x002048", b"\x28\x00\x50\x10DS\x04\x00abcd"
    )
    image = read_image(path)
    assert isinstance(image, ReadImage)
    assert image.window is None
    assert NOTE_VOI in image.notes


@pytest.mark.parametrize("kind", ["US", "OW"])
def test_a_table_of_values_of_interest_is_taken_where_there_is_no_window(tmp_path: Path, kind: str) -> None:
    item = Dataset()
    item.LUTDescriptor = [4096, 0, 12]
    entries = np.arange(4096, dtype="<u2")[::-1]
    item.add_new("LUTData", kind, entries.tolist() if kind == "US" else entries.tobytes())
    image = read(tmp_path, WindowCenter=None, WindowWidth=None, VOILUTSequence=[item])
    assert isinstance(image.window, ValueTable)
    np.testing.assert_allclose(image.window.applied(image.pixels), 1 - levels() / 4095, atol=1e-6)


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
def test_windows_agree_with_pydicom(tmp_path: Path, function: str) -> None:
    path = save(tmp_path, plain(WindowCenter="1500", WindowWidth="900", VOILUTFunction=function))
    image = read_image(path)
    assert isinstance(image, ReadImage)
    assert image.window is not None
    expected = pydicom.pixels.apply_voi_lut(levels(), pydicom.dcmread(path)) / 4095
    np.testing.assert_allclose(image.window.applied(image.pixels), expected, atol=1e-5)


def test_padding_is_told_apart(tmp_path: Path) -> None:
    pixels = levels()
    pixels[:3] = 0
    image = read(tmp_path, PixelPaddingValue=0, PixelData=pixels.tobytes())
    assert image.padding is not None
    assert image.padding[:3].all()
    assert image.padding.sum() == (pixels == 0).sum()


def test_truncated_pixels_are_refused(tmp_path: Path) -> None:
    assert reason(tmp_path, PixelData=levels().tobytes()[:-40]) is Reason.UNREADABLE_PIXELS
    path = save(tmp_path, plain())
    path.write_bytes(path.read_bytes()[:-100])
    result = read_image(path)
    assert isinstance(result, Refusal)
    assert result.reason in (Reason.UNREADABLE_PIXELS, Reason.HEADER_CUT)


def test_too_many_pixel_bytes_are_accepted(tmp_path: Path) -> None:
    np.testing.assert_array_equal(read(tmp_path, PixelData=levels().tobytes() + bytes(64)).pixels, levels())


def test_a_file_cut_anywhere_in_its_header_is_refused(tmp_path: Path) -> None:
    content = save(tmp_path, plain()).read_bytes()
    for length in range(0, len(content) - levels().nbytes, 61):
        path = tmp_path / "cut"
        path.write_bytes(content[:length])
        assert isinstance(read_image(path), Refusal), length
        scan(path)


def test_a_file_without_preamble_is_read(tmp_path: Path) -> None:
    path = save(tmp_path, plain())
    path.write_bytes(path.read_bytes()[132:])
    image = read_image(path)
    assert isinstance(image, ReadImage)
    found = scan(path)
    assert not isinstance(found, Refusal)
    assert found.sop_uid == image.sop_uid


@pytest.mark.parametrize("implicit", [True, False])
def test_a_bare_data_set_is_read(tmp_path: Path, implicit: bool) -> None:
    image = plain()
    image.file_meta = FileMetaDataset()
    path = tmp_path / "bare"
    pydicom.dcmwrite(path, image, implicit_vr=implicit, little_endian=True)
    path.write_bytes(path.read_bytes().removeprefix(bytes(128) + b"DICM"))
    result = read_image(path)
    assert isinstance(result, ReadImage)
    np.testing.assert_array_equal(result.pixels, levels())


def test_a_missing_transfer_syntax_is_guessed(tmp_path: Path) -> None:
    image = plain()
    del image.file_meta.TransferSyntaxUID
    path = tmp_path / "image.dcm"
    pydicom.dcmwrite(path, image, implicit_vr=False, little_endian=True)
    assert isinstance(read_image(path), ReadImage)


@pytest.mark.parametrize("content", [b"", b"a", b"patient list\n" * 50, bytes(1000), b"\x08\x00\x16\x00UI"])
def test_a_file_that_is_no_dicom_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    for result in (read_image(path), scan(path)):
        assert isinstance(result, Refusal)
        assert result.reason is Reason.NOT_DICOM


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    for result in (read_image(tmp_path / "none"), scan(tmp_path / "none")):
        assert isinstance(result, Refusal)


@pytest.mark.parametrize("frames", ["0", ""])
def test_an_odd_number_of_frames_counts_as_one(tmp_path: Path, frames: str) -> None:
    assert read(tmp_path, NumberOfFrames=frames).pixels.shape == (SIDE, SIDE)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"NumberOfFrames": 2, "PixelData": levels().tobytes() * 2}, Reason.MULTI_FRAME),
        ({"NumberOfFrames": 10**9}, Reason.IMPLAUSIBLE_SIZE),
        ({"Rows": 60_000, "Columns": 60_000}, Reason.IMPLAUSIBLE_SIZE),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.77.1.6"}, Reason.MULTI_FRAME),
        ({"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 0}, Reason.COLOUR),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, Reason.COLOUR),
        ({"Rows": None}, Reason.HEADER_CUT),
        ({"PixelData": None}, Reason.HEADER_CUT),
        ({"PixelData": bytes(SIDE * SIDE * 2)}, Reason.CONSTANT),
        ({"BurnedInAnnotation": "YES"}, Reason.BURNED_IN),
        ({"Rows": 4, "PixelData": levels()[:4].tobytes()}, Reason.IMPLAUSIBLE_SIZE),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.88.33"}, Reason.NO_PIXELS),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.481.3"}, Reason.NO_PIXELS),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.11.1"}, Reason.NO_PIXELS),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.104.1"}, Reason.NO_PIXELS),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.481.2"}, Reason.NO_PIXELS),
    ],
)
def test_what_is_no_grey_single_image_is_refused_with_its_reason(
    tmp_path: Path, changes: dict[str, Any], expected: Reason
) -> None:
    assert reason(tmp_path, **changes) is expected


def test_a_missing_patient_id_reads_as_empty(tmp_path: Path) -> None:
    assert read(tmp_path, PatientID=None).patient_id == ""


def test_random_damage_never_raises(tmp_path: Path) -> None:
    content = save(tmp_path, plain()).read_bytes()
    rng = np.random.default_rng(3)
    path = tmp_path / "damaged"
    for _ in range(150):
        damaged = bytearray(content)
        for at in rng.integers(132, len(content) - levels().nbytes, 4):
            damaged[at] = rng.integers(256)
        path.write_bytes(damaged)
        assert isinstance(read_image(path), ReadImage | Refusal)
        scan(path)
        assert isinstance(read_segmentation(path), Refusal)


def test_reading_says_nothing_of_header_values(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    image = plain()
    uid = str(image.StudyInstanceUID).encode()
    path = replace_element(save(tmp_path, image), uid, b"SMITH^JOHN".ljust(len(uid), b"x"))
    with pytest.warns(UserWarning, match="SMITH"):
        str(pydicom.dcmread(path).StudyInstanceUID)
    assert "SMITH" in caplog.text
    caplog.clear()
    read_image(path)
    scan(path)
    assert caplog.text == ""


def test_equal_values_have_equal_digests_whatever_type_holds_them() -> None:
    values = np.arange(12).reshape(3, 4)
    assert len({pixel_digest(values.astype(kind)) for kind in ("u1", "i2", "<u2", ">i4", "i8")}) == 1
    assert pixel_digest(values) != pixel_digest(values.T)
    assert pixel_digest(values) != pixel_digest(-values)
    assert pixel_digest(-values.astype("i2")) == pixel_digest(-values.astype("i8"))


def test_files_are_listed_in_order_without_hidden_ones(tmp_path: Path) -> None:
    for name in ("b", "a/2", "a/1", ".hidden", ".git/x"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "broken").symlink_to(tmp_path / "nowhere")
    assert [path.relative_to(tmp_path).as_posix() for path in list_files(tmp_path)] == ["a/1", "a/2", "b"]


def test_a_segmentation_mask_is_a_value() -> None:
    mask = SegmentMask("1.2", "lung", "39607008", np.zeros((2, 2), np.bool_))
    assert (mask.name, mask.code) == ("lung", "39607008")

"""Decoders: exact where they are lossless, permissively licensed, and survived by the reader whatever the stream holds."""

from __future__ import annotations

import importlib.metadata
import io
import random
import struct
import time
from collections.abc import Callable
from pathlib import Path

import gdcm
import jpeg_ls
import numpy as np
import openjpeg.utils
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, get_frame
from pydicom.pixels.encoders import RLELosslessEncoder
from pydicom.uid import generate_uid

from synthrelease.dicom import lossless_jpeg
from synthrelease.dicom.decoding import Form, Undecodable, decode, meaningful
from synthrelease.dicom.reading import ReadImage, read_image
from synthrelease.records.refusals import Reason, Refusal

ROWS, COLUMNS = 48, 40
RLE, JPEG, JPEG_12, LOSSLESS, LOSSLESS_SV1, JPEG_LS, JPEG_LS_NEAR, JPEG_2000 = (
    f"1.2.840.10008.1.2.{end}" for end in ("5", "4.50", "4.51", "4.57", "4.70", "4.80", "4.81", "4.90")
)
PERMISSIVE = ("MIT", "Apache", "BSD", "HPND", "CMU")


def scene(bits: int = 12, signed: bool = False) -> np.ndarray:
    """(48, 40) values that use nearly all of the bits."""
    y, x = np.mgrid[:ROWS, :COLUMNS]
    values = np.random.default_rng(0).normal(0, 3, (ROWS, COLUMNS)) + y * 2.0 + x
    values = (values - values.min()) / np.ptp(values) * (2**bits - 1)
    kind = np.dtype(f"{'i' if signed else 'u'}{1 if bits <= 8 else 2}")
    return np.round(values - 2 ** (bits - 1) * signed).astype(kind)


def dataset_of(values: np.ndarray, bits: int) -> Dataset:
    image = Dataset()
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    image.SOPClassUID, image.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.7", generate_uid()
    image.PatientID = "PID-7"
    image.Rows, image.Columns = values.shape
    image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
    image.BitsAllocated, image.BitsStored, image.HighBit = values.itemsize * 8, bits, bits - 1
    image.PixelRepresentation = int(values.dtype.kind == "i")
    image.PixelData = values.tobytes()
    image["PixelData"].VR = "OW"
    return image


def by_gdcm(values: np.ndarray, bits: int, kind: int, folder: Path) -> bytes:
    """A stream that GDCM makes."""
    dataset_of(values, bits).save_as(folder / "plain.dcm", enforce_file_format=True)
    reader = gdcm.ImageReader()
    reader.SetFileName(str(folder / "plain.dcm"))
    assert reader.Read()
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(kind))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer = gdcm.ImageWriter()
    writer.SetFileName(str(folder / "coded.dcm"))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()
    return get_frame(pydicom.dcmread(folder / "coded.dcm").PixelData, 0, number_of_frames=1)


def run_lengths(values: np.ndarray, bits: int, folder: Path) -> bytes:
    return RLELosslessEncoder.encode(
        values.tobytes(),
        rows=ROWS,
        columns=COLUMNS,
        samples_per_pixel=1,
        bits_allocated=values.itemsize * 8,
        bits_stored=bits,
        pixel_representation=int(values.dtype.kind == "i"),
        number_of_frames=1,
        photometric_interpretation="MONOCHROME2",
    )


def lossless(values: np.ndarray, bits: int, folder: Path) -> bytes:
    return by_gdcm(values, bits, gdcm.TransferSyntax.JPEGLosslessProcess14_1, folder)


def ls(values: np.ndarray, bits: int, folder: Path) -> bytes:
    return bytes(
        jpeg_ls.encode_array(values.view(f"u{values.itemsize}") & np.asarray(2**bits - 1, f"u{values.itemsize}"))
    )


def two_thousand(values: np.ndarray, bits: int, folder: Path) -> bytes:
    return openjpeg.utils.encode_array(values, bits_stored=bits, photometric_interpretation=2)


LOSSLESSLY: dict[str, tuple[str, Callable[[np.ndarray, int, Path], bytes]]] = {
    "RLE": (RLE, run_lengths),
    "JPEG lossless": (LOSSLESS_SV1, lossless),
    "JPEG-LS": (JPEG_LS, ls),
    "JPEG 2000": (JPEG_2000, two_thousand),
}


@pytest.mark.parametrize("coding", list(LOSSLESSLY))
@pytest.mark.parametrize(
    ("bits", "signed"), [(8, False), (10, False), (12, False), (12, True), (16, False), (16, True)]
)
def test_lossless_codings_give_back_every_value(coding: str, bits: int, signed: bool, tmp_path: Path) -> None:
    syntax, encoded = LOSSLESSLY[coding]
    values = scene(bits, signed)
    form = Form(ROWS, COLUMNS, values.itemsize * 8, bits, signed)
    np.testing.assert_array_equal(decode(encoded(values, bits, tmp_path), syntax, form), values)


def test_a_file_of_each_coding_is_read(tmp_path: Path) -> None:
    for syntax, encoded in LOSSLESSLY.values():
        image = dataset_of(scene(), 12)
        image.file_meta.TransferSyntaxUID = syntax
        image.PixelData = encapsulate([encoded(scene(), 12, tmp_path)])
        image["PixelData"].is_undefined_length = True
        image["PixelData"].VR = "OB"
        image.save_as(tmp_path / "image.dcm", enforce_file_format=True)
        result = read_image(tmp_path / "image.dcm")
        assert isinstance(result, ReadImage)
        np.testing.assert_array_equal(result.pixels, scene())


def jpeg(quality: int = 95) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(scene(8)).save(stream, "JPEG", quality=quality)
    return stream.getvalue()


@pytest.mark.parametrize("syntax", [JPEG, JPEG_12])
def test_lossy_jpeg_of_8_bits_comes_close(syntax: str) -> None:
    found = decode(jpeg(), syntax, Form(ROWS, COLUMNS, 8, 8, False))
    assert np.abs(found.astype(int) - scene(8)).max() < 8


def test_near_lossless_jpeg_ls_comes_as_near_as_it_says() -> None:
    encoded = bytes(jpeg_ls.encode_array(scene(8), lossy_error=3))
    found = decode(encoded, JPEG_LS_NEAR, Form(ROWS, COLUMNS, 8, 8, False))
    assert np.abs(found.astype(int) - scene(8)).max() == 3


def test_lossy_jpeg_of_12_bits_is_refused_with_the_reason() -> None:
    path = Path(pydicom.__file__).parent / "data/test_files/JPGExtended.dcm"
    result = read_image(path)
    assert isinstance(result, Refusal)
    assert result.reason is Reason.UNREADABLE_PIXELS
    assert result.detail == "lossy JPEG of 12 bits: no decoder under a permissive licence"


def test_a_transfer_syntax_that_nobody_knows_is_refused_with_the_reason() -> None:
    with pytest.raises(Undecodable, match="no decoder"):
        decode(b"", "1.2.840.10008.1.2.4.92", Form(ROWS, COLUMNS, 8, 8, False))


def test_all_decoders_are_permissively_licensed() -> None:
    for package in ("pillow", "python-gdcm", "pyjpegls", "pylibjpeg-openjpeg", "pydicom"):
        data = importlib.metadata.metadata(package)
        told = " ".join([data["License-Expression"] or "", data["License"] or "", *(data.get_all("Classifier") or ())])
        assert any(word in told for word in PERMISSIVE), package
        assert "GPL" not in told, package


def test_single_bits_packed_into_runs_are_read() -> None:
    bits = scene(8) > 100
    packed = np.packbits(bits, bitorder="little").tobytes()
    literal = b"".join(bytes([len(packed[i : i + 128]) - 1]) + packed[i : i + 128] for i in range(0, len(packed), 128))
    encoded = struct.pack("<16I", 1, 64, *[0] * 14) + literal
    np.testing.assert_array_equal(decode(encoded, RLE, Form(ROWS, COLUMNS, 1, 1, False)), bits)


def test_bits_without_meaning_are_dropped_and_signs_extended() -> None:
    values = np.array([0xF801, 0x07FF, 0x0800], np.uint16)
    assert meaningful(values, 12, signed=False).tolist() == [0x801, 0x7FF, 0x800]
    assert meaningful(values, 12, signed=True).tolist() == [0x801 - 0x1000, 0x7FF, -0x800]
    assert meaningful(values, 16, signed=True).tolist() == [0xF801 - 0x10000, 0x7FF, 0x800]


def damaged(content: bytes, seed: int) -> bytes:
    """A stream with wrong bytes, most of them in its header, or cut."""
    rng = random.Random(seed)
    out = bytearray(content)
    for _ in range(rng.choice([1, 3, 10, 50])):
        place = rng.randrange(len(out)) if rng.random() < 0.5 else rng.randrange(min(len(out), 200))
        out[place] = rng.randrange(256)
    return bytes(out[: rng.randrange(1, len(out))] if rng.random() < 0.2 else out)


@pytest.mark.parametrize("coding", [*LOSSLESSLY, "JPEG"])
def test_a_damaged_stream_ends_neither_the_process_nor_its_patience(
    coding: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """GDCM ends the process on damaged JPEG 2000 and lossless JPEG, CharLS looks half a minute for a missing end."""
    syntax, content = (JPEG, jpeg()) if coding == "JPEG" else (LOSSLESSLY[coding][0], b"")
    content = content or LOSSLESSLY[coding][1](scene(), 12, tmp_path)
    image = dataset_of(scene(8) if coding == "JPEG" else scene(), 8 if coding == "JPEG" else 12)
    image.file_meta.TransferSyntaxUID = syntax
    slowest, refused = 0.0, 0
    for seed in range(40 if coding == "JPEG lossless" else 200):
        image.PixelData = encapsulate([damaged(content, seed)])
        image["PixelData"].is_undefined_length = True
        image["PixelData"].VR = "OB"
        image.save_as(tmp_path / "image.dcm", enforce_file_format=True)
        began = time.monotonic()
        result = read_image(tmp_path / "image.dcm")
        slowest = max(slowest, time.monotonic() - began)
        refused += isinstance(result, Refusal)
    assert refused > 10
    assert slowest < 10
    assert caplog.text == ""


@pytest.mark.parametrize("coding", ["JPEG", "JPEG-LS", "JPEG 2000"])
def test_a_stream_that_says_that_it_is_huge_is_refused_before_anything_is_allocated(
    coding: str, tmp_path: Path
) -> None:
    syntax, content = (JPEG, jpeg()) if coding == "JPEG" else (LOSSLESSLY[coding][0], b"")
    content = content or LOSSLESSLY[coding][1](scene(8), 8, tmp_path)
    size = struct.pack(">II", COLUMNS, ROWS) if coding == "JPEG 2000" else struct.pack(">HH", ROWS, COLUMNS)
    assert size in content
    huge = content.replace(size, struct.pack(">II", 60_000, 60_000) if coding == "JPEG 2000" else b"\xea\x60\xea\x60")
    with pytest.raises(Undecodable, match="another size"):
        decode(huge, syntax, Form(ROWS, COLUMNS, 8, 8, False))


def test_the_process_that_decodes_lossless_jpeg_is_replaced_when_it_dies(tmp_path: Path) -> None:
    content = lossless(scene(), 12, tmp_path)
    form = Form(ROWS, COLUMNS, 16, 12, False)
    np.testing.assert_array_equal(decode(content, LOSSLESS, form), scene())
    assert lossless_jpeg._child is not None
    lossless_jpeg._child.kill()
    lossless_jpeg._child.wait()
    np.testing.assert_array_equal(decode(content, LOSSLESS, form), scene())


def test_lossless_jpeg_that_hangs_is_given_up(tmp_path: Path) -> None:
    assert lossless_jpeg.decode(lossless(scene(), 12, tmp_path), ROWS, COLUMNS, 12, seconds=0.0) is None
    assert lossless_jpeg.decode(lossless(scene(), 12, tmp_path), ROWS, COLUMNS, 12) is not None

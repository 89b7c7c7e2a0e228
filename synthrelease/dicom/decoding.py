"""One compressed grey frame to its values, by permissively licensed decoders only.

| transfer syntax | decoder | licence |
|---|---|---|
| RLE Lossless | this module | |
| JPEG baseline; extended with 8 bits | Pillow | MIT-CMU |
| JPEG lossless (process 14) | GDCM, in a process of its own | Apache-2.0 |
| JPEG-LS | pyjpegls (CharLS) | MIT |
| JPEG 2000, also high-throughput | pylibjpeg-openjpeg (OpenJPEG) | MIT |

Lossy JPEG of 12 bits has no such decoder and is refused. Decoders allocate what a stream says before they look at
the rest of it, so its size is read here first and must be that of the header.

Source: PS3.5, section 8.2 and annex G (RLE); ITU-T T.81, B.2.2 (frame header of JPEG); T.87; T.800, A.5.1 (SIZ).
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from synthrelease.dicom.lossless_jpeg import decode as decode_lossless_jpeg

Values = npt.NDArray[Any]

_END = b"\xff\xd9"
_JPEG_2000 = b"\xff\x4f\xff\x51"
_SIZ = struct.Struct(">8x8I")
_NO_FRAME_HEADER = frozenset((0xC4, 0xC8, 0xCC))
_VIDEO = tuple(f"1.2.840.10008.1.2.4.{number}" for number in (100, 101, 102, 103, 104, 105, 106, 107, 108))


class Undecodable(ValueError):
    """A frame that no decoder takes; the message is public."""


@dataclass(frozen=True, slots=True)
class Form:
    """What a header says about every frame.

    Attributes:
        rows: H.
        columns: W.
        allocated: Bits per stored value, with unused ones.
        stored: Bits that mean something.
        signed: Whether values are signed.
    """

    rows: int
    columns: int
    allocated: int
    stored: int
    signed: bool


def is_video(syntax: str) -> bool:
    """Whether a transfer syntax is one of MPEG-2, H.264, H.265 or SMPTE ST 2110 (PS3.5, sections 8.2.5 to 8.2.9)."""
    return syntax.startswith(_VIDEO) or syntax.startswith("1.2.840.10008.1.2.7.")


def decode(content: bytes, syntax: str, form: Form) -> Values:
    """Decode a frame.

    Args:
        content: The frame's fragments, joined.
        syntax: Transfer Syntax UID.
        form: From the header.

    Returns:
        (H, W) integers, signed as the header says, bits above Bits Stored without meaning removed.

    Raises:
        Undecodable: With the reason.
        Exception: A decoder raises almost anything on broken data.
    """
    decoder = _DECODERS.get(syntax)
    if decoder is None:
        raise Undecodable("no decoder for its transfer syntax")
    values, bits = decoder(content, form)
    if values.shape != (form.rows, form.columns):
        raise Undecodable("a frame of another size than rows and columns")
    return meaningful(values, bits, form.signed)


def meaningful(values: Values, bits: int, signed: bool) -> Values:
    """Values of which only the lowest bits count, with their sign extended; whole numbers of 8, 16 or 32 bits."""
    size = values.itemsize
    unused = size * 8 - bits
    kind = np.dtype(f"{'i' if signed else 'u'}{size}")
    viewed: Values = values.view(kind.newbyteorder(values.dtype.byteorder))
    if unused <= 0:
        return viewed
    if not signed:
        return np.asarray(viewed & np.asarray((1 << bits) - 1, kind))
    return np.asarray((viewed << unused) >> unused)  # to the top and back: extends the sign


Decoded = tuple[Values, int]
"""(H, W) values, and how many of their bits count."""


def _rle(content: bytes, form: Form) -> Decoded:
    count, *offsets = struct.unpack_from("<16I", content)
    size = form.rows * form.columns
    if form.allocated == 1:
        if count != 1:
            raise Undecodable("a frame of another size than rows and columns")
        packed = np.frombuffer(_unpacked(content[offsets[0] :], (size + 7) // 8), np.uint8)
        return np.unpackbits(packed, count=size, bitorder="little").reshape(form.rows, form.columns), 1
    width = form.allocated // 8
    if count != width or form.allocated not in (8, 16, 32):
        raise Undecodable("a frame of another size than rows and columns")
    planes = np.empty((size, width), np.uint8)
    ends = [*offsets[1:count], len(content)]
    for place, (start, end) in enumerate(zip(offsets[:count], ends, strict=True)):
        # The most significant byte comes first (annex G.2); numbers here are little-endian.
        planes[:, width - 1 - place] = np.frombuffer(_unpacked(content[start:end], size), np.uint8)
    return planes.view(f"<u{width}").reshape(form.rows, form.columns), form.stored


def _unpacked(segment: bytes, size: int) -> bytes:
    """A segment's bytes: literal runs and repeated bytes (annex G.3.1)."""
    out = bytearray()
    at, end = 0, len(segment)
    while at + 1 < end and len(out) < size:
        head = segment[at]
        if head < 128:
            out += segment[at + 1 : at + 2 + head]
            at += 2 + head
        elif head > 128:
            out += segment[at + 1 : at + 2] * (257 - head)
            at += 2
        else:
            at += 1
    if len(out) < size:
        raise Undecodable("pixel data is cut")
    return bytes(out[:size])


def _frame_header(content: bytes) -> tuple[int, int]:
    """Precision and marker of a JPEG or JPEG-LS stream whose only component is as large as it says itself; see `_jpeg`."""
    at = 2
    while at + 4 <= len(content):
        if content[at] != 0xFF:
            raise Undecodable("no frame header")
        marker = content[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        if (0xC0 <= marker <= 0xCF and marker not in _NO_FRAME_HEADER) or marker == 0xF7:
            return at + 4, marker
        at += 2 + int.from_bytes(content[at + 2 : at + 4], "big")
    raise Undecodable("no frame header")


def _precision(content: bytes, form: Form) -> tuple[int, int]:
    """Bits of a sample, and the marker that tells the process; the stream's size must be the header's."""
    at, marker = _frame_header(content)
    precision, rows, columns, components = struct.unpack_from(">BHHB", content, at)
    if (rows, columns, components) != (form.rows, form.columns, 1):
        raise Undecodable("a frame of another size than rows and columns")
    return precision, marker


def _jpeg(content: bytes, form: Form) -> Decoded:
    from PIL import Image

    precision, _ = _precision(content, form)
    if precision != 8:
        raise Undecodable("lossy JPEG of 12 bits: no decoder under a permissive licence")
    with Image.open(io.BytesIO(content), formats=("JPEG",)) as image:
        if image.mode != "L":
            raise Undecodable("a stream of colour in a grey image")
        return np.asarray(image), 8


def _jpeg_lossless(content: bytes, form: Form) -> Decoded:
    precision, marker = _precision(content, form)
    if marker != 0xC3 or not 2 <= precision <= 16:
        raise Undecodable("not a lossless JPEG stream")
    raw = decode_lossless_jpeg(content, form.rows, form.columns, precision)
    if raw is None:
        raise Undecodable("the decoder refuses it")
    values = np.frombuffer(raw, "<u1" if precision <= 8 else "<u2").reshape(form.rows, form.columns)
    return values, min(form.stored, values.itemsize * 8)


def _jpeg_ls(content: bytes, form: Form) -> Decoded:
    import jpeg_ls  # type: ignore[import-untyped]

    precision, marker = _precision(content, form)
    if marker != 0xF7:
        raise Undecodable("not a JPEG-LS stream")
    # CharLS looks half a minute for the end of a stream that was cut; given one, it says at once that it is broken.
    raw, _ = jpeg_ls.decode_pixel_data(content + _END)
    values = np.frombuffer(raw, "<u1" if precision <= 8 else "<u2").reshape(form.rows, form.columns)
    return values, min(form.stored, values.itemsize * 8)


def _jpeg_2000(content: bytes, form: Form) -> Decoded:
    from openjpeg.utils import decode as decode_jpeg_2000

    at = content.find(_JPEG_2000, 0, 256)  # some writers leave the file's header before the stream
    if at < 0:
        raise Undecodable("not a JPEG 2000 stream")
    right, bottom, left, top, *_ = _SIZ.unpack_from(content, at)
    components, precision = struct.unpack_from(">HB", content, at + 40)
    if (bottom - top, right - left, components) != (form.rows, form.columns, 1):
        raise Undecodable("a frame of another size than rows and columns")
    signed, bits = bool(precision & 0x80), (precision & 0x7F) + 1
    values = decode_jpeg_2000(content[at:], 0)
    # A stream that disagrees with the header about signs is right about the bits (pydicom, `_apply_sign_correction`).
    return values, bits if signed != form.signed else values.itemsize * 8


_DECODERS: dict[str, Callable[[bytes, Form], Decoded]] = {
    "1.2.840.10008.1.2.5": _rle,
    "1.2.840.10008.1.2.4.50": _jpeg,
    "1.2.840.10008.1.2.4.51": _jpeg,
    "1.2.840.10008.1.2.4.57": _jpeg_lossless,
    "1.2.840.10008.1.2.4.70": _jpeg_lossless,
    "1.2.840.10008.1.2.4.80": _jpeg_ls,
    "1.2.840.10008.1.2.4.81": _jpeg_ls,
    **{f"1.2.840.10008.1.2.4.{number}": _jpeg_2000 for number in (90, 91, 201, 202, 203)},
}

"""Lossless compression of mask frames, by encoders that are named.

highdicom would take whichever encoder is installed: its bytes would differ from site to site, and GDCM's encoder of
RLE ends the whole program at an odd number of rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.pixels.encoders import JPEGLSLosslessEncoder, RLELosslessEncoder
from pydicom.pixels.encoders.base import Encoder
from pydicom.uid import UID

from synthrelease.dicom.mask_forms import SMALLEST_JPEG_2000, TRANSFER_SYNTAXES, Compression
from synthrelease.errors import UsageError

Frame = npt.NDArray[np.uint8]


def compress(built: Dataset, frames: Iterable[Frame], compression: Compression) -> None:
    """Replace the Pixel Data of an uncompressed segmentation by the same frames, compressed.

    Args:
        built: Is changed, with its file meta.
        frames: (H, W) each, in the order of the file; 0 and 1 for bits.
        compression: Not NONE.
    """
    built.PixelData = encapsulated(frames, compression, bits=int(built.BitsAllocated))
    built["PixelData"].VR = "OB"
    built["PixelData"].is_undefined_length = True
    built.file_meta.TransferSyntaxUID = UID(TRANSFER_SYNTAXES[compression])


def encapsulated(frames: Iterable[Frame], compression: Compression, *, bits: int) -> bytes:
    """The value of compressed Pixel Data: an offset table, and one fragment a frame.

    Args:
        frames: (H, W) each.
        compression: Not NONE.
        bits: Allocated a pixel: 8, or 1 with JPEG 2000 only.

    Raises:
        UsageError: JPEG 2000 for frames below its smallest size.

    Source: PS3.5, section A.4.
    """
    encode = _ENCODERS[compression]
    value: bytes = encapsulate([encode(frame, bits) for frame in frames])
    return value


def _rle(frame: Frame, bits: int) -> bytes:
    return _by_pydicom(RLELosslessEncoder, "pydicom", frame, bits)


def _jpeg_ls(frame: Frame, bits: int) -> bytes:
    return _by_pydicom(JPEGLSLosslessEncoder, "pyjpegls", frame, bits)


def _by_pydicom(encoder: Encoder, plugin: str, frame: Frame, bits: int) -> bytes:
    return bytes(
        encoder.encode(
            np.ascontiguousarray(frame),
            encoding_plugin=plugin,
            rows=frame.shape[0],
            columns=frame.shape[1],
            samples_per_pixel=1,
            number_of_frames=1,
            bits_allocated=bits,
            bits_stored=bits,
            photometric_interpretation="MONOCHROME2",
            pixel_representation=0,
        )
    )


def _jpeg_2000(frame: Frame, bits: int) -> bytes:
    from openjpeg.utils import encode_array

    if min(frame.shape) < SMALLEST_JPEG_2000:
        raise UsageError(
            f"JPEG 2000 cannot compress masks of fewer than {SMALLEST_JPEG_2000} pixels a side",
            fix="Use another compression.",
        )
    pixels = np.ascontiguousarray(frame.astype(np.bool_) if bits == 1 else frame)
    grey = 2  # the encoder's number for it
    return bytes(encode_array(pixels, bits_stored=bits, photometric_interpretation=grey, use_mct=False))


_ENCODERS: Mapping[Compression, Callable[[Frame, int], bytes]] = MappingProxyType(
    {Compression.RLE: _rle, Compression.JPEG_LS: _jpeg_ls, Compression.JPEG_2000: _jpeg_2000}
)

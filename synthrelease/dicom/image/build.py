"""One grey image of any class."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
from pydicom.uid import (
    CTImageStorage,
    DigitalMammographyXRayImageStorageForPresentation,
    DigitalXRayImageStorageForPresentation,
    MRImageStorage,
    SecondaryCaptureImageStorage,
)

from synthrelease.dicom.image.capture import describe_sc
from synthrelease.dicom.image.header import ImageHeader
from synthrelease.dicom.image.instance import file_meta, identify, mark_image
from synthrelease.dicom.image.pixels import add_pixels, check_range, highest_level
from synthrelease.dicom.image.radiograph import describe_dx, describe_mg
from synthrelease.dicom.image.slices import describe_ct, describe_mr
from synthrelease.errors import UsageError


class ImageClass(StrEnum):
    """What kind of DICOM object an image is written as."""

    DX = "DX"
    CT = "CT"
    MR = "MR"
    MG = "MG"
    SC = "SC"


@dataclass(frozen=True)
class _Class:
    """An image class: its SOP class, and what fills in the attributes that only it has."""

    sop_class: str
    describe: Callable[[Dataset, ImageHeader, int], None]


_CLASSES: Mapping[ImageClass, _Class] = MappingProxyType(
    {
        ImageClass.DX: _Class(DigitalXRayImageStorageForPresentation, describe_dx),
        ImageClass.CT: _Class(CTImageStorage, describe_ct),
        ImageClass.MR: _Class(MRImageStorage, describe_mr),
        ImageClass.MG: _Class(DigitalMammographyXRayImageStorageForPresentation, describe_mg),
        ImageClass.SC: _Class(SecondaryCaptureImageStorage, describe_sc),
    }
)


def grey_image(
    levels: npt.NDArray[np.uint16],
    header: ImageHeader,
    image_class: ImageClass = ImageClass.DX,
    *,
    bits: int = 12,
    value_range: tuple[float, float] | None = None,
) -> Dataset:
    """An image of the given stored values; its window shows exactly 0 to the largest value of its depth.

    Args:
        levels: (H, W) uint16, stored values in 0..2^bits - 1, brighter is larger.
        header: Everything else.
        image_class: What it is written as.
        bits: Bits stored, 12 or 16.
        value_range: CT only: the Hounsfield units that stored 0 and 2^bits - 1 stand for, when a public fixed window
            says so. Readers then get these units from the modality LUT, and the window is given in them.

    Returns:
        A data set with file meta, ready for `save_as(path, enforce_file_format=True)`. No header value depends on
        the pixels.

    Raises:
        UnsuitableData: The array is not (H, W) uint16, or a value needs more bits.
        UsageError: Another depth, no range, or a range for a class that has no physical unit.

    Source: PS3.3, annex A, the section of each class.
    """
    image = Dataset()
    chosen = _CLASSES[image_class]
    image.file_meta = file_meta(chosen.sop_class, header.sop_uid)
    image.preamble = b"\0" * 128
    image.SOPClassUID = chosen.sop_class
    identify(image, header)
    if value_range is None:
        chosen.describe(image, header, highest_level(bits))
    elif image_class is ImageClass.CT:
        describe_ct(image, header, highest_level(bits), check_range(value_range))
    else:
        raise UsageError(
            f"an image of class {image_class} has no physical unit", fix="Leave the value range out, or write CT."
        )
    add_pixels(image, levels, bits)
    if header.synthetic is not None:
        mark_image(image, header, header.synthetic)
    return image


def dx_image(levels: npt.NDArray[np.uint16], header: ImageHeader) -> Dataset:
    """A Digital X-Ray Image - For Presentation of 12 bits; see `grey_image`."""
    return grey_image(levels, header, ImageClass.DX)

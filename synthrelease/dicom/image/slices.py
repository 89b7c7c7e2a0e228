"""Slices: CT and MR Image Storage, one slice a file, in a frame of reference of its own.

A synthetic slice lies nowhere in a body: its upper left pixel is the origin of its frame of reference, and its plane
is axial, supine, head first.

Source: PS3.3, sections A.3, A.4, C.7.6.2, C.8.2 and C.8.3.
"""

from __future__ import annotations

from pydicom.dataset import Dataset

from synthrelease.dicom.image.header import ImageHeader
from synthrelease.dicom.image.instance import decimal, exact_decimal
from synthrelease.dicom.image.pixels import add_window
from synthrelease.errors import UsageError

AXIAL = (1, 0, 0, 0, 1, 0)
"""Image Orientation (Patient): rows run to the patient's left, columns to the back."""

ORIGIN = (0, 0, 0)
"""Image Position (Patient) of the only slice of a frame of reference."""


def describe_ct(
    image: Dataset, header: ImageHeader, highest: int, value_range: tuple[float, float] | None = None
) -> None:
    """CT Image: stored values as they are (Rescale Type US), or Hounsfield units when it is known which they are.

    Args:
        image: Is filled in.
        header: As for every class.
        highest: The largest stored value.
        value_range: Hounsfield units that stored 0 and `highest` stand for; None: nobody knows.

    Raises:
        UsageError: An acquired image without a range; its values are Hounsfield units by definition.

    Source: PS3.3, sections C.8.2.1 and C.11.1.
    """
    if value_range is None and header.synthetic is None:
        raise UsageError("an acquired CT image has no unit", fix="Give the Hounsfield units of the stored values.")
    _describe_slice(image, header)
    image.Modality = "CT"
    image.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    image.KVP = None
    low, high = value_range or (0, highest)
    image.RescaleIntercept = exact_decimal(low)
    image.RescaleSlope = exact_decimal((high - low) / highest)
    image.RescaleType = "HU" if value_range else "US"
    add_window(image, low, high)


def describe_mr(image: Dataset, header: ImageHeader, highest: int) -> None:
    """MR Image: no sequence made the contrast, so Scanning Sequence is RM (research) and times stay empty."""
    _describe_slice(image, header)
    image.Modality = "MR"
    image.ImageType = ["ORIGINAL", "PRIMARY", "OTHER"]
    image.ScanningSequence = "RM"
    image.SequenceVariant = "NONE"
    image.ScanOptions = ""
    image.MRAcquisitionType = "2D"
    image.RepetitionTime = None
    image.EchoTime = None
    image.EchoTrainLength = None
    add_window(image, 0, highest)


def _describe_slice(image: Dataset, header: ImageHeader) -> None:
    image.PatientPosition = "HFS"
    image.AcquisitionNumber = None
    image.ImagePositionPatient = list(ORIGIN)
    image.ImageOrientationPatient = list(AXIAL)
    image.SliceThickness = decimal(header.slice_thickness_mm)
    image.PixelSpacing = [decimal(distance) for distance in header.spacing_mm]

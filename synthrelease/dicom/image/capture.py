"""Anything else: Secondary Capture Image Storage, a single frame.

Single and not multi-frame: only the single-frame class admits a frame of reference, which masks need.

Source: PS3.3, sections A.8.1 and C.8.6.
"""

from __future__ import annotations

from pydicom.dataset import Dataset

from synthrelease.dicom.image.header import ImageHeader
from synthrelease.dicom.image.instance import decimal
from synthrelease.dicom.image.pixels import add_window


def describe_sc(image: Dataset, header: ImageHeader, highest: int) -> None:
    """SC Equipment, and a spacing that says where it comes from.

    Nominal Scanned Pixel Spacing is for digitised film; Pixel Spacing of a capture needs a calibration (PS3.3,
    section 10.7.1.3).
    """
    image.Modality = header.modality or "OT"
    image.ImageType = ["ORIGINAL", "PRIMARY"]
    image.ConversionType = "SYN"
    image.PatientOrientation = None
    image.PixelSpacing = [decimal(distance) for distance in header.spacing_mm]
    image.PixelSpacingCalibrationType = "GEOMETRY"
    image.PixelSpacingCalibrationDescription = "Nominal field of view / image size"
    add_window(image, 0, highest)

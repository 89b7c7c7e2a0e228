"""Projections: Digital X-Ray and Digital Mammography X-Ray Image Storage, both For Presentation.

DX and not CR: DX and MG admit the Frame of Reference module, and without a frame of reference no common viewer opens
a segmentation over the image. Pixels are presentation values (P-Values) with an identity transformation, as both
classes demand, so what a model made is what a reader sees.

Source: PS3.3, sections A.26, A.27 and C.8.11.
"""

from __future__ import annotations

from pydicom.dataset import Dataset
from pydicom.sr.coding import Code

from synthrelease.dicom.image.body_parts import body_part
from synthrelease.dicom.image.header import ImageHeader
from synthrelease.dicom.image.instance import code_item, comment, decimal
from synthrelease.dicom.image.pixels import add_window
from synthrelease.errors import UsageError

_VIEW = Code("399368009", "SCT", "medio-lateral oblique")


def describe_dx(image: Dataset, header: ImageHeader, highest: int) -> None:
    """DX Anatomy Imaged, DX Image, DX Detector and DX Positioning, as far as they are mandatory."""
    _describe_projection(image, header, highest)
    image.Modality = "DX"
    image.PatientOrientation = ["L", "F"]
    image.PositionerType = ""


def describe_mg(image: Dataset, header: ImageHeader, highest: int) -> None:
    """The same for a mammogram. DICOM has no word for a view that nobody knows, so one is named and called nominal.

    Raises:
        UsageError: The header names another body part than the breast.
    """
    if header.body_part != "BREAST":
        raise UsageError(
            "a mammogram of another body part than BREAST", fix="Set the body part to BREAST, or write DX."
        )
    _describe_projection(image, header, highest)
    image.Modality = "MG"
    image.OrganExposed = "BREAST"
    image.PatientOrientation = ["P" if header.laterality == "R" else "A", "F"]
    image.PositionerType = "MAMMOGRAPHIC"
    view = code_item(_VIEW)
    view.ViewModifierCodeSequence = []
    image.ViewCodeSequence = [view]
    comment(image, "View and orientation are nominal.")


def _describe_projection(image: Dataset, header: ImageHeader, highest: int) -> None:
    image.AnatomicRegionSequence = [code_item(body_part(header.body_part).code)]
    image.ImageType = ["ORIGINAL", "PRIMARY", ""]
    image.PresentationIntentType = "FOR PRESENTATION"
    image.ImagerPixelSpacing = [decimal(distance) for distance in header.spacing_mm]
    image.DetectorType = ""
    image.AcquisitionContextSequence = []
    image.PixelIntensityRelationship = "LOG"
    image.PixelIntensityRelationshipSign = -1
    image.RescaleIntercept, image.RescaleSlope, image.RescaleType = "0", "1", "US"
    image.PresentationLUTShape = "IDENTITY"
    add_window(image, 0, highest)

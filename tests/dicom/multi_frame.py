"""A multi-frame image with functional groups, as small as the reader allows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, generate_uid

ENHANCED_CT = "1.2.840.10008.5.1.4.1.1.2.1"


def item(**values: Any) -> Dataset:
    """A sequence's item."""
    made = Dataset()
    for keyword, value in values.items():
        setattr(made, keyword, value)
    return made


def levels(frames: int, rows: int = 16, columns: int = 20) -> npt.NDArray[np.uint16]:
    """(F, H, W) stored values of 12 bits."""
    return np.random.default_rng(5).integers(0, 4096, (frames, rows, columns)).astype(np.uint16)


def enhanced(pixels: npt.NDArray[np.uint16], *, own: Sequence[dict[str, Any]] | None = None, **changes: Any) -> Dataset:
    """An Enhanced CT image.

    Args:
        pixels: (F, H, W).
        own: Per frame, functional groups by keyword, each the values of its item; places 2 mm apart by default.
        changes: Elements by keyword; None leaves one out.
    """
    image = Dataset()
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    values = {
        "SOPClassUID": UID(ENHANCED_CT),
        "SOPInstanceUID": generate_uid(),
        "PatientID": "PID-7",
        "PatientName": "DOE^JANE",
        "PatientBirthDate": "",
        "PatientSex": "",
        "StudyInstanceUID": generate_uid(),
        "StudyID": "1",
        "StudyDate": "20240102",
        "StudyTime": "101112",
        "AccessionNumber": "",
        "ReferringPhysicianName": "",
        "SeriesInstanceUID": generate_uid(),
        "SeriesNumber": 1,
        "InstanceNumber": 1,
        "FrameOfReferenceUID": generate_uid(),
        "PositionReferenceIndicator": "",
        "Manufacturer": "Maker",
        "Modality": "CT",
        "ImageType": ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"],
        "BurnedInAnnotation": "NO",
        "NumberOfFrames": len(pixels),
        "Rows": pixels.shape[1],
        "Columns": pixels.shape[2],
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": 16,
        "BitsStored": 12,
        "HighBit": 11,
        "PixelRepresentation": 0,
        "SharedFunctionalGroupsSequence": [
            item(
                PixelMeasuresSequence=[item(PixelSpacing=[0.5, 0.5], SliceThickness=2, SpacingBetweenSlices=2)],
                PlaneOrientationSequence=[item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])],
                PixelValueTransformationSequence=[
                    item(RescaleIntercept=-1000, RescaleSlope=1, RescaleType="HU"),
                ],
            )
        ],
        "PerFrameFunctionalGroupsSequence": [
            item(**{keyword: [item(**group)] for keyword, group in groups.items()})
            for groups in own or [{} for _ in pixels]
        ],
        "PixelData": pixels.tobytes(),
        **changes,
    }
    for index, frame in enumerate(values["PerFrameFunctionalGroupsSequence"] or ()):
        if "PlanePositionSequence" not in frame:
            frame.PlanePositionSequence = [item(ImagePositionPatient=[-5, -6, 2 * index])]
    for keyword, value in values.items():
        if value is not None:
            setattr(image, keyword, value)
    return image

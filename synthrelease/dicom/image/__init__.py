"""A grey image as DICOM: Digital X-Ray, CT, MR, mammogram or secondary capture, 12 or 16 bit, synthetic or not.

body_parts.py  known parts of the body
header.py      what differs from image to image
instance.py    what every instance has; the mark of a synthetic one
pixels.py      stored values and their window
radiograph.py  DX, MG        slices.py  CT, MR        capture.py  SC
build.py       one image of any class
"""

from synthrelease.dicom.image.body_parts import BODY_PARTS, check_body_part
from synthrelease.dicom.image.build import ImageClass, dx_image, grey_image
from synthrelease.dicom.image.header import ImageHeader, SyntheticMarking
from synthrelease.dicom.image.instance import (
    IMPLEMENTATION_CLASS_UID,
    IMPLEMENTATION_VERSION,
    code_item,
    file_meta,
    mark_instance,
    synthesizer,
)
from synthrelease.dicom.image.pixels import DEPTHS, MAX_LEVEL, highest_level

__all__ = [
    "BODY_PARTS",
    "DEPTHS",
    "IMPLEMENTATION_CLASS_UID",
    "IMPLEMENTATION_VERSION",
    "MAX_LEVEL",
    "ImageClass",
    "ImageHeader",
    "SyntheticMarking",
    "check_body_part",
    "code_item",
    "dx_image",
    "file_meta",
    "grey_image",
    "highest_level",
    "mark_instance",
    "synthesizer",
]

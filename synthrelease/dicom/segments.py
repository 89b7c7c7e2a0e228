"""What a mask may show, with the codes and the colour that a viewer needs.

Codes are SNOMED CT (PS3.16, CID 7150 for the category, CID 7151 and below for the type). They are written out
because pydicom's dictionaries lack several of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from pydicom.sr.coding import Code

from synthrelease.errors import UsageError

LONGEST_NAME = 64
"""Segment Label (0062,0005) has VR LO: at most 64 characters (PS3.5, table 6.2-1)."""

ANATOMY = Code("91723000", "SCT", "Anatomical Structure")
FINDING = Code("49755003", "SCT", "Morphologically Abnormal Structure")
LESION = Code("52988006", "SCT", "Lesion")


@dataclass(frozen=True)
class Segment:
    """One kind of thing that a mask outlines.

    Attributes:
        name: The policy's word for it; also the Segment Label, so that a reader finds the same word again.
        category: Segmented Property Category (CID 7150).
        type: Segmented Property Type.
        rgb: Suggested display colour, each part in 0..255.
    """

    name: str
    category: Code
    type: Code
    rgb: tuple[int, int, int]


def _known(*segments: Segment) -> Mapping[str, Segment]:
    return MappingProxyType({segment.name: segment for segment in segments})


SEGMENTS: Mapping[str, Segment] = _known(
    Segment("right_lung", ANATOMY, Code("3341006", "SCT", "Right lung"), (66, 135, 245)),
    Segment("left_lung", ANATOMY, Code("44029006", "SCT", "Left lung"), (66, 200, 245)),
    Segment("lung", ANATOMY, Code("39607008", "SCT", "Lung"), (66, 160, 245)),
    Segment("heart", ANATOMY, Code("80891009", "SCT", "Heart"), (206, 70, 60)),
    Segment("breast", ANATOMY, Code("76752008", "SCT", "Breast"), (230, 150, 170)),
    Segment("liver", ANATOMY, Code("10200004", "SCT", "Liver"), (150, 90, 60)),
    Segment("brain", ANATOMY, Code("12738006", "SCT", "Brain"), (240, 200, 160)),
    Segment("skin", ANATOMY, Code("39937001", "SCT", "Skin"), (220, 180, 140)),
    Segment("clavicle", ANATOMY, Code("51299004", "SCT", "Clavicle"), (240, 230, 190)),
    Segment("rib", ANATOMY, Code("113197003", "SCT", "Rib"), (230, 220, 170)),
    Segment("nodule", FINDING, Code("27925004", "SCT", "Nodule"), (255, 210, 0)),
    Segment("effusion", FINDING, Code("60046008", "SCT", "Pleural effusion"), (0, 180, 120)),
    Segment("pneumothorax", FINDING, Code("36118008", "SCT", "Pneumothorax"), (160, 90, 220)),
    Segment("mass", FINDING, Code("4147007", "SCT", "Mass"), (255, 130, 0)),
    Segment("lesion", FINDING, LESION, (255, 170, 60)),
    Segment("tumor", FINDING, Code("108369006", "SCT", "Neoplasm"), (230, 40, 120)),
)
"""Segments whose codes are known, by name."""


def segment(name: str) -> Segment:
    """The segment of that name: a known one, else a lesion that carries the name as its label.

    Args:
        name: 1 to 64 characters, no backslash (VR LO).

    Returns:
        The entry of `SEGMENTS`, or a generic (Morphologically Abnormal Structure, Lesion) one.

    Raises:
        UsageError: The name cannot be a Segment Label.

    Source: PS3.3, section C.8.20.4 (Segment Description macro).
    """
    if not name.strip() or len(name) > LONGEST_NAME or "\\" in name:
        raise UsageError(
            f"segment name {name!r} cannot be a DICOM Segment Label",
            fix=f"Use 1 to {LONGEST_NAME} characters without a backslash.",
        )
    return SEGMENTS.get(name) or Segment(name, FINDING, LESION, (255, 255, 0))

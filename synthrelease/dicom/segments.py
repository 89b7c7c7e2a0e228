"""What a mask may show, with the codes and the colour that a viewer needs.

Codes are SNOMED CT (PS3.16, CID 7150 for the category, CID 7151 and below for the type). They are written out
because pydicom's dictionaries lack several of them.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from pydicom.sr.coding import Code

from synthrelease.errors import PolicyError, UsageError
from synthrelease.policy.schema import CohortSettings

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
    Segment("right_breast", ANATOMY, Code("73056007", "SCT", "Right breast"), (230, 150, 170)),
    Segment("left_breast", ANATOMY, Code("80248007", "SCT", "Left breast"), (240, 180, 200)),
    Segment("right_kidney", ANATOMY, Code("9846003", "SCT", "Right kidney"), (190, 110, 80)),
    Segment("left_kidney", ANATOMY, Code("18639004", "SCT", "Left kidney"), (210, 140, 100)),
    Segment("kidney", ANATOMY, Code("64033007", "SCT", "Kidney"), (200, 125, 90)),
    Segment("spleen", ANATOMY, Code("78961009", "SCT", "Spleen"), (150, 60, 110)),
    Segment("pancreas", ANATOMY, Code("15776009", "SCT", "Pancreas"), (240, 190, 110)),
    Segment("stomach", ANATOMY, Code("69695003", "SCT", "Stomach"), (220, 130, 140)),
    Segment("gallbladder", ANATOMY, Code("28231008", "SCT", "Gallbladder"), (120, 170, 60)),
    Segment("bladder", ANATOMY, Code("89837001", "SCT", "Bladder"), (220, 210, 90)),
    Segment("prostate", ANATOMY, Code("41216001", "SCT", "Prostate"), (200, 150, 190)),
    Segment("uterus", ANATOMY, Code("35039007", "SCT", "Uterus"), (230, 120, 160)),
    Segment("thyroid", ANATOMY, Code("69748006", "SCT", "Thyroid"), (180, 90, 60)),
    Segment("aorta", ANATOMY, Code("15825003", "SCT", "Aorta"), (220, 50, 50)),
    Segment("trachea", ANATOMY, Code("44567001", "SCT", "Trachea"), (130, 200, 230)),
    Segment("esophagus", ANATOMY, Code("32849002", "SCT", "Esophagus"), (210, 170, 130)),
    Segment("mediastinum", ANATOMY, Code("72410000", "SCT", "Mediastinum"), (190, 120, 100)),
    Segment("spine", ANATOMY, Code("421060004", "SCT", "Spine"), (235, 225, 180)),
    Segment("bone", ANATOMY, Code("272673000", "SCT", "Bone"), (240, 235, 200)),
    Segment("femur", ANATOMY, Code("71341001", "SCT", "Femur"), (245, 230, 190)),
    Segment("retina", ANATOMY, Code("5665001", "SCT", "Retina"), (230, 120, 60)),
    Segment("cyst", FINDING, Code("367643001", "SCT", "Cyst"), (80, 220, 220)),
    Segment("edema", FINDING, Code("79654002", "SCT", "Edema"), (120, 220, 160)),
    Segment("hemorrhage", FINDING, Code("50960005", "SCT", "Hemorrhage"), (200, 20, 20)),
    Segment("hematoma", FINDING, Code("35566002", "SCT", "Hematoma"), (170, 30, 60)),
    Segment("fibrosis", FINDING, Code("112674009", "SCT", "Fibrosis"), (180, 180, 90)),
    Segment("metastasis", FINDING, Code("128462008", "SCT", "Metastasis"), (255, 80, 160)),
)
"""Segments whose codes are known, by name."""

_OTHER_COLOURS = (
    *((255, 255, 0), (0, 255, 127), (255, 0, 255), (0, 191, 255), (255, 99, 71), (173, 255, 47)),
    *((186, 85, 211), (255, 165, 0), (64, 224, 208), (255, 105, 180), (154, 205, 50)),
)


def segment(name: str) -> Segment:
    """The segment of that name: a known one, else a lesion that carries the name as its label.

    The colour of an unknown one is the name's own, so that several can mostly be told apart in any set of files.

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
    colour = _OTHER_COLOURS[zlib.crc32(name.encode()) % len(_OTHER_COLOURS)]
    return SEGMENTS.get(name) or Segment(name, FINDING, LESION, colour)


def require_absent_findings(settings: CohortSettings) -> None:
    """A class may lack findings. That nobody outlined an organ does not mean that the patient has none.

    Raises:
        PolicyError: A class is told to be unmarked where a segment is an organ.
    """
    organ = next((name for name in settings.segments if segment(name).category != FINDING), None)
    if settings.unmarked_classes and organ is not None:
        raise PolicyError(
            f"cohort.unmarked_classes: an image without a mask file cannot be taken to lack '{organ}', which is no finding",
            fix="Leave the classes out and give the masks of their images, or take the organ out of cohort.segments.",
        )

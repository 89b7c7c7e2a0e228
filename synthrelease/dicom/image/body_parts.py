"""Parts of the body by the word that Body Part Examined has for them, with their code and whether there are two.

These are the defined terms that validators know; another word draws a warning on every file of an archive.

Source: PS3.16, annex L and CID 4009.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from pydicom.sr.coding import Code

from synthrelease.errors import UsageError


@dataclass(frozen=True)
class BodyPart:
    """A part of the body.

    Attributes:
        code: For Anatomic Region Sequence (SNOMED CT).
        paired: Whether there is a left and a right one.
    """

    code: Code
    paired: bool = False


_UNPAIRED = {
    "ABDOMEN": ("113345001", "Abdomen"),
    "ABDOMENPELVIS": ("818982008", "Abdomen and Pelvis"),
    "AORTA": ("15825003", "Aorta"),
    "BLADDER": ("89837001", "Bladder"),
    "BRAIN": ("12738006", "Brain"),
    "CEREBELLUM": ("113305005", "Cerebellum"),
    "CERVIX": ("71252005", "Cervix"),
    "CHEST": ("43799004", "Thoracic cavity"),
    "CHESTABDOMEN": ("416550000", "Chest and Abdomen"),
    "COCCYX": ("64688005", "Coccyx"),
    "COLON": ("71854001", "Colon"),
    "CSPINE": ("122494005", "Cervical spine"),
    "ESOPHAGUS": ("32849002", "Esophagus"),
    "FACE": ("89545001", "Face"),
    "GALLBLADDER": ("28231008", "Gallbladder"),
    "HEAD": ("69536005", "Head"),
    "HEADNECK": ("774007", "Head and Neck"),
    "HEART": ("80891009", "Heart"),
    "JAW": ("661005", "Jaw region"),
    "LARYNX": ("4596009", "Larynx"),
    "LIVER": ("10200004", "Liver"),
    "LSPINE": ("122496007", "Lumbar spine"),
    "MAXILLA": ("70925003", "Maxilla"),
    "MEDIASTINUM": ("72410000", "Mediastinum"),
    "MOUTH": ("123851003", "Mouth"),
    "NECK": ("45048000", "Neck"),
    "NECKCHEST": ("417437006", "Neck and Chest"),
    "NOSE": ("45206002", "Nose"),
    "PANCREAS": ("15776009", "Pancreas"),
    "PELVIS": ("816092008", "Pelvis"),
    "PROSTATE": ("41216001", "Prostate"),
    "RECTUM": ("34402009", "Rectum"),
    "SKULL": ("89546000", "Skull"),
    "SPINE": ("421060004", "Spine"),
    "SPLEEN": ("78961009", "Spleen"),
    "SSPINE": ("54735007", "Sacrum"),
    "STERNUM": ("56873002", "Sternum"),
    "STOMACH": ("69695003", "Stomach"),
    "THYMUS": ("9875009", "Thymus"),
    "THYROID": ("69748006", "Thyroid"),
    "TONGUE": ("21974007", "Tongue"),
    "TRACHEA": ("44567001", "Trachea"),
    "TSPINE": ("122495006", "Thoracic spine"),
    "UTERUS": ("35039007", "Uterus"),
    "WHOLEBODY": ("38266002", "Entire body"),
}
_PAIRED = {
    "ADRENAL": ("23451007", "Adrenal gland"),
    "ANKLE": ("70258002", "Ankle joint"),
    "ARM": ("40983000", "Upper arm"),
    "AXILLA": ("91470000", "Axilla"),
    "BREAST": ("76752008", "Breast"),
    "CALCANEUS": ("80144004", "Calcaneus"),
    "CLAVICLE": ("51299004", "Clavicle"),
    "EAR": ("117590005", "Ear"),
    "ELBOW": ("16953009", "Elbow joint"),
    "EXTREMITY": ("66019005", "Extremity"),
    "EYE": ("81745001", "Eye"),
    "FEMUR": ("71341001", "Femur"),
    "FINGER": ("7569003", "Finger"),
    "FOOT": ("56459004", "Foot"),
    "HAND": ("85562004", "Hand"),
    "HIP": ("29836001", "Hip"),
    "HUMERUS": ("85050009", "Humerus"),
    "KIDNEY": ("64033007", "Kidney"),
    "KNEE": ("72696002", "Knee"),
    "LEG": ("30021000", "Lower leg"),
    "LUNG": ("39607008", "Lung"),
    "ORBIT": ("363654007", "Orbital structure"),
    "OVARY": ("15497006", "Ovary"),
    "PATELLA": ("64234005", "Patella"),
    "RIB": ("113197003", "Rib"),
    "SCAPULA": ("79601000", "Scapula"),
    "SHOULDER": ("16982005", "Shoulder"),
    "TESTIS": ("40689003", "Testis"),
    "THIGH": ("68367000", "Thigh"),
    "THUMB": ("76505004", "Thumb"),
    "TOE": ("29707007", "Toe"),
    "WRIST": ("74670003", "Wrist joint"),
    "ZYGOMA": ("13881006", "Zygoma"),
}

BODY_PARTS: Mapping[str, BodyPart] = MappingProxyType(
    {name: BodyPart(Code(value, "SCT", meaning)) for name, (value, meaning) in _UNPAIRED.items()}
    | {name: BodyPart(Code(value, "SCT", meaning), paired=True) for name, (value, meaning) in _PAIRED.items()}
)
"""Known parts, by Body Part Examined."""

_OTHER = BodyPart(BODY_PARTS["WHOLEBODY"].code)


def body_part(name: str) -> BodyPart:
    """The part of that name; for a word that is not known, the whole body."""
    return BODY_PARTS.get(name, _OTHER)


def check_body_part(name: str) -> None:
    """Refuse a word that validators do not know.

    Raises:
        UsageError: Not in `BODY_PARTS`.
    """
    if name not in BODY_PARTS:
        near = ", ".join(difflib.get_close_matches(name, BODY_PARTS) or ("CHEST", "ABDOMEN", "HEAD", "WHOLEBODY"))
        raise UsageError(
            f"body part {name!r} is no term that DICOM defines",
            fix=f"Use a term of PS3.16, annex L, e.g. {near}.",
        )

"""A class of a policy as a code that other software understands.

Codes are SNOMED CT where the word has one meaning in imaging, or DICOM's own (PS3.16, annex D). A word without one
stays a word: a code that only looks right would be worse than none, and of a private scheme validators warn. No
code names a place that the word leaves open: an `effusion` need not be a pleural one.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from pydicom.sr.coding import Code

FINDINGS: Mapping[str, Code] = MappingProxyType(
    {
        "normal": Code("17621005", "SCT", "Normal"),
        "abnormal": Code("263654008", "SCT", "Abnormal"),
        "lesion": Code("52988006", "SCT", "Lesion"),
        "nodule": Code("27925004", "SCT", "Nodule"),
        "mass": Code("4147007", "SCT", "Mass"),
        "cyst": Code("367643001", "SCT", "Cyst"),
        "edema": Code("79654002", "SCT", "Edema"),
        "hemorrhage": Code("50960005", "SCT", "Hemorrhage"),
        "fibrosis": Code("112674009", "SCT", "Fibrosis"),
        "effusion": Code("41699000", "SCT", "Effusion"),
        # Chest.
        "opacity": Code("112001", "DCM", "Opacity"),
        "infiltrate": Code("112121", "DCM", "Infiltrate"),
        "ground_glass_opacity": Code("112120", "DCM", "Ground glass opacity"),
        "pleural_effusion": Code("60046008", "SCT", "Pleural effusion"),
        "pneumothorax": Code("36118008", "SCT", "Pneumothorax"),
        "atelectasis": Code("46621007", "SCT", "Atelectasis"),
        "consolidation": Code("95436008", "SCT", "Lung consolidation"),
        "pneumonia": Code("233604007", "SCT", "Pneumonia"),
        "bacterial_pneumonia": Code("53084003", "SCT", "Bacterial pneumonia"),
        "viral_pneumonia": Code("75570004", "SCT", "Viral pneumonia"),
        "covid_19": Code("840539006", "SCT", "COVID-19"),
        "tuberculosis": Code("56717001", "SCT", "Tuberculosis"),
        "pulmonary_tuberculosis": Code("154283005", "SCT", "Pulmonary tuberculosis"),
        "pulmonary_edema": Code("19242006", "SCT", "Pulmonary edema"),
        "pulmonary_embolism": Code("59282003", "SCT", "Pulmonary embolism"),
        "pulmonary_emphysema": Code("87433001", "SCT", "Pulmonary emphysema"),
        "pulmonary_fibrosis": Code("51615001", "SCT", "Pulmonary fibrosis"),
        # pydicom's dictionary calls 287272002 so, which is an enlarged septal foramen.
        "cardiomegaly": Code("8186001", "SCT", "Cardiomegaly"),
        # Tumours.
        "neoplasm": Code("108369006", "SCT", "Neoplasm"),
        "tumor": Code("108369006", "SCT", "Neoplasm"),
        "glioma": Code("393564001", "SCT", "Glioma"),
        "glioblastoma": Code("1163375002", "SCT", "Glioblastoma"),
        "meningioma": Code("393566004", "SCT", "Meningioma"),
        "pituitary_adenoma": Code("254956000", "SCT", "Pituitary adenoma"),
        "pituitary_tumor": Code("127024001", "SCT", "Neoplasm of pituitary gland"),
        "melanoma": Code("1162635006", "SCT", "Malignant melanoma"),
    }
)
"""Words whose code is known. Others are added here once two sources agree on the code."""


def finding_code(label: str) -> Code | None:
    """The code of a class, or None when its word has none.

    >>> finding_code("pneumonia").value
    '233604007'
    >>> finding_code("smudge") is None
    True
    """
    return FINDINGS.get(label)

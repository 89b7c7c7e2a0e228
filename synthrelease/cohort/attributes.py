"""What an image's subgroup is: sex, age band and scanner, coarse from the moment it is read.

Single years and free text never reach the store: a rare age names a person. Private all the same.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

ATTRIBUTES = ("sex", "age", "scanner")
"""Names of the attributes, in the order in which they are kept."""

OLDEST = 90
"""Years from which ages are one band (the safe-harbour rule of 45 CFR 164.514(b)(2)(i)(C))."""

_AGE = re.compile(r"0*(\d{1,3})(?:\.\d+)?\s*([YMWD]?)", re.IGNORECASE)
_LONGEST = 64
_SEX = {"m": "M", "male": "M", "f": "F", "female": "F", "o": "O", "other": "O"}
_COLUMNS = {
    "sex": ("sex", "patient_sex", "gender"),
    "age": ("age", "patient_age", "age_years"),
    "scanner": ("scanner", "manufacturer_model_name", "scanner_model", "device"),
}


def sex_of(text: str) -> str:
    """Patient's Sex as M, F or O; "" when not told.

    >>> sex_of(" female"), sex_of("M"), sex_of("unknown")
    ('F', 'M', '')
    """
    return _SEX.get(text.strip().lower(), "")


def age_band(text: str) -> str:
    """The decade of an age; "" when not told. Takes a DICOM Age String or a number of years.

    >>> age_band("047Y"), age_band("18M"), age_band("93"), age_band("old")
    ('40-49', '0-9', '90+', '')
    """
    found = _AGE.fullmatch(text.strip())
    if found is None:
        return ""
    number, unit = int(found[1]), found[2].upper()
    years = {"M": number // 12, "W": number // 52, "D": number // 365}.get(unit, number)
    return f"{OLDEST}+" if years >= OLDEST else f"{years // 10 * 10}-{years // 10 * 10 + 9}"


def scanner_of(manufacturer: str, model: str) -> str:
    """Manufacturer and model as one text; "" when the model is not told.

    >>> scanner_of("ACME ", "Ray  9"), scanner_of("ACME", "")
    ('ACME Ray 9', '')
    """
    return " ".join(f"{manufacturer} {model}".split())[:_LONGEST] if model.strip() else ""


def attributes_of(sex: str, age: str, scanner: str) -> dict[str, str]:
    """Those that are told, by name, from texts as a header or a table holds them."""
    told = {"sex": sex_of(sex), "age": age_band(age), "scanner": " ".join(scanner.split())[:_LONGEST]}
    return {name: value for name, value in told.items() if value}


def columns_of(columns: Mapping[str, Sequence[str]]) -> dict[str, Sequence[str]]:
    """The columns of a table that tell attributes.

    Args:
        columns: Cells by plain column name.
    """
    plain = {name: [word.replace("_", "") for word in words] for name, words in _COLUMNS.items()}
    return {name: next((columns[word] for word in words if word in columns), ()) for name, words in plain.items()}

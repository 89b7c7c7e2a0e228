"""What a real header gives away: each identifying value in the forms that it may take in another file.

Strong forms prove something wherever they turn up. Weak ones (short numbers, names that are ordinary words) do so only
where the writer's own template says what a file may hold besides, so that whatever else stands there needs a reason.
"""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache
from pathlib import Path
from typing import NamedTuple

from pydicom import dcmread
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.tag import BaseTag

from synthrelease.audit.headers.annex_e import action
from synthrelease.audit.headers.tokens import (
    DECIMALS,
    DIGEST,
    LEAST_NUMBER,
    LEAST_WORD,
    SHORT_DIGEST,
    UID,
    dates,
    fold,
    number,
    numbers,
    pair,
    words,
)
from synthrelease.audit.headers.tokens import script as script_forms

STANDARD_ROOT = "1.2.840.10008."
NOT_A_PERSONS = frozenset(
    ["ImplementationClassUID", "CodingSchemeUID", "ContextUID", "MappingResourceUID", "ContextGroupExtensionCreatorUID"]
)
"""UIDs of software and code lists, which many archives share."""

IDENTIFIER = re.compile(
    r"(ID|IDs|Identifier|Numbers?|AETitle|Address|Locator|Location|Residence|Institution|Organization|Issuer"
    r"|StationName|InstitutionName|DepartmentName|SiteName|Occupation|BranchOfService|ReligiousPreference|OwnerName"
    r"|AlternativeName|MachineName|NetworkID|Originator|AuthorName|RequestingService|CoordinatingCenterName)$"
)
"""Ends of keywords of the table whose every word identifies somebody or some place; the others are prose."""

STRONG_NUMBER = 7
STRONG_WORD = 5
LEAST_RUN = 6
"""Letters and digits of a value that is looked for inside other words."""

_TEXT = frozenset(["AE", "AS", "CS", "LO", "LT", "SH", "ST", "UC", "UR", "UT", "PN", "UI", "DA", "DT", "TM"])
_HASHES = ("md5", "sha1", "sha256", "sha512")
_GERMAN = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "Ä": "Ae", "Ö": "Oe", "Ü": "Ue"})


class Form(NamedTuple):
    """One form of a value; ``r:`` marks one that counts inside other words as well."""

    token: str
    strong: bool


class Value(NamedTuple):
    """An identifying value of a real header. Private."""

    origin: str
    kind: str
    text: str
    forms: frozenset[Form]


@cache
def ordinary() -> frozenset[str]:
    """Words that are names as well."""
    lines = Path(__file__).with_name("ordinary_words.txt").read_text(encoding="ascii").splitlines()
    return frozenset(word for line in lines if not line.startswith("#") for word in line.split())


def read_header(path: Path) -> Dataset | None:
    """The data set without pixels, or None when the file is not DICOM."""
    try:
        return dcmread(path, stop_before_pixels=True)
    except (InvalidDicomError, OSError, ValueError, EOFError, KeyError, AttributeError, NotImplementedError):
        return None


def values_of(path: Path) -> list[Value] | None:
    """The identifying values of a real file; None when it is no DICOM file."""
    dataset = read_header(path)
    if dataset is None:
        return None
    found: dict[tuple[str, str], Value] = {}
    for element, inherited in elements(dataset):
        for text in texts(element):
            value = value_of(element.keyword, element.VR, int(element.tag), text, inherited)
            if value is not None:
                found.setdefault((value.origin, value.text), value)
    stem = value_of("file name", "LO", 0, path.stem, True)
    return list(found.values()) + ([weakened(stem)] if stem is not None else [])


def elements(dataset: Dataset, inherited: bool = False) -> Iterator[tuple[DataElement, bool]]:
    """Every element with a value, file meta first, nested items included; whether a sequence around it is to be removed."""
    meta = getattr(dataset, "file_meta", None)
    for part in ([meta] if meta is not None else []) + [dataset]:
        for tag in list(part.keys()):
            try:
                element = part[tag]
            except Exception:
                # A value that no decoder takes; a value that cannot be read cannot be looked for either.
                continue
            if element.VR == "SQ":
                covered = inherited or action(int(tag)) is not None
                for item in element.value or ():
                    yield from elements(item, covered)
            elif element.value not in (None, "", b""):
                yield element, inherited


def texts(element: DataElement) -> list[str]:
    """The element's values as text, one by one; none for numbers and binary that is not private."""
    value = element.value
    private = BaseTag(element.tag).is_private
    if isinstance(value, bytes):
        return [run.decode() for run in re.findall(rb"[\x20-\x7e]{4,}", value)] if private else []
    if element.VR not in _TEXT and not private:
        return []
    several = isinstance(value, (list, tuple)) or type(value).__name__ == "MultiValue"
    return [text for v in (value if several else [value]) if (text := str(v).strip("\0 "))]


@lru_cache(maxsize=65536)
def value_of(keyword: str, vr: str, tag: int, text: str, inherited: bool) -> Value | None:
    """An element's value with its forms, or None when it identifies nobody.

    Args:
        keyword: Of the attribute; empty for a private one.
        vr: Its value representation.
        tag: Its number.
        text: One value.
        inherited: A sequence that the standard removes holds it.
    """
    private = bool(tag >> 16 & 1)
    covered = inherited or private or action(tag) is not None
    if vr == "UI":
        if text.startswith(STANDARD_ROOT) or keyword in NOT_A_PERSONS or not UID.fullmatch(text):
            return None
        kind, forms = "uid", set(of_uid(text))
    elif vr in ("DA", "DT"):
        kind, forms = "date", set(of_date(text))
    elif vr == "PN":
        kind, forms = "name", set(of_name(text))
    elif not covered or vr in ("CS", "AS"):
        return None
    elif vr == "TM":
        kind, forms = "time", set(of_time(text))
    elif private or vr == "AE" or IDENTIFIER.search(keyword):
        kind, forms = "identifier", set(of_identifier(text, private=private))
    else:
        kind, forms = "prose", set(of_prose(text))
    return Value(keyword or "private tag", kind, text, frozenset(forms)) if forms else None


def weakened(value: Value) -> Value:
    """The same value, no form of which counts as strong: many archives call a file ``IM000001``."""
    return value._replace(forms=frozenset(Form(token, False) for token, _ in value.forms))


def of_name(text: str) -> Iterator[Form]:
    """A person's name: its parts, the whole in either order, and initials (PS3.5, section 6.2)."""
    yield from _digests(text)
    for group in text.split("="):
        for variant in {group, group.translate(_GERMAN)}:
            parts = [part for part in words(variant) if len(part) > 1 or not part.isascii()]
            for part in parts:
                if part.isascii() or part.isalpha():
                    yield from _word(part)
            yield from _script(parts)
            names = [part for part in parts if part.isalpha()]
            plain = all(part in ordinary() for part in names)
            if len(names) >= 2:
                first, second = names[:2]
                yield Form("v:" + " ".join(parts), sum(map(len, names)) >= STRONG_NUMBER)
                yield Form(pair(first, second), not plain)
                for run in (first + second, second + first):
                    if len(run) >= LEAST_RUN:
                        yield Form("r:" + run, len(run) >= STRONG_NUMBER and not plain)
                if first.isascii():
                    for initials in (second[0] + first, first + second[0]):
                        yield Form("w:" + initials, False)


def of_identifier(text: str, *, private: bool = False) -> Iterator[Form]:
    """A number, code or place: whole, its words, its digits, and itself inside longer words."""
    parts = words(text)
    run = "".join(parts)
    digits = re.findall("[0-9]+", run)
    plain = all(part in ordinary() for part in parts)
    if len(run) >= 4:
        telling = len(run.lstrip("0")) >= STRONG_WORD if run.isdigit() else not plain
        yield Form("v:" + " ".join(parts), telling)
    for part in parts:
        if len(part) >= LEAST_WORD and not part.isdigit():
            yield from _word(part, least=STRONG_WORD + 1 if private else LEAST_WORD)
    yield from _script(parts)
    # What a file would not be seen to say (groups with more than a character between) is not learnt.
    sayable = numbers(fold(text))
    for group in digits:
        if len(group.lstrip("0")) >= STRONG_WORD and number(group) in sayable:
            yield Form(number(group), len(group.lstrip("0")) >= STRONG_NUMBER)
    if len(run) >= LEAST_RUN:
        mixed = not run.isdigit() and bool(digits)
        yield Form("r:" + run, not plain and (len(run) >= 10 or mixed or (not digits and len(run) >= 8)))
    if len(run) >= 4:
        yield from _digests(text)


def of_prose(text: str) -> Iterator[Form]:
    """Free text: the whole, four words in a row, and (weakly) each longer word and number."""
    parts = words(text)
    if sum(map(len, parts)) >= 4:
        yield Form("v:" + " ".join(parts), len(parts) >= 3)
    for i in range(len(parts) - 3):
        four = parts[i : i + 4]
        if sum(map(len, four)) >= 16:
            yield Form("r:" + "".join(four), sum(len(p) >= 4 and p not in ordinary() for p in four) >= 2)
    for part in parts:
        if part.isdigit():
            if len(part.lstrip("0")) >= STRONG_WORD:
                yield Form(number(part), len(part.lstrip("0")) >= STRONG_NUMBER)
        elif len(part) >= STRONG_WORD:
            yield Form("w:" + part, False)
    yield from _script(parts, strong=False)
    for day in dates(text):
        yield Form(day, not day.endswith("0101"))


def of_uid(text: str) -> Iterator[Form]:
    """A UID: itself, its parent, its long components, its digits alone, and unsalted digests of it as UIDs."""
    yield Form("u:" + text, True)
    parent, _, _ = text.rpartition(".")
    if len(parent) >= 24 and parent.count(".") >= 6:
        yield Form("p:" + parent, True)
    for component in text.split("."):
        if len(component) >= 8:
            yield Form(number(component), True)
    run = text.replace(".", "")
    if len(run) >= 16:
        yield Form("r:" + run, True)
    raw = text.encode()
    numbers = [int.from_bytes(hashlib.new(name, raw).digest()[:size]) for name in _HASHES for size in (16, 64)]
    numbers += [uuid.uuid5(uuid.NAMESPACE_OID, text).int, uuid.uuid3(uuid.NAMESPACE_OID, text).int]
    for value in numbers:
        yield Form("h:" + str(value)[:DECIMALS], True)
    yield from _digests(text)


def of_date(text: str) -> Iterator[Form]:
    """A date, and (weakly) its digits, six of them, and its midnight in seconds of 1970 at any whole hour's zone."""
    day = day_of(text)
    if day is None:
        return
    # The first of January stands for "some day" in many archives.
    yield Form(f"d:{day:%Y%m%d}", (day.month, day.day) != (1, 1))
    written = [f"{day:%Y%m%d}", f"{day:%y%m%d}", f"{day:%d%m%y}", f"{day:%m%d%y}"]
    written += [str(abs(int((day + timedelta(hours=hours)).timestamp()))) for hours in range(-12, 15)]
    written.append(str(abs((day - datetime(1899, 12, 30, tzinfo=UTC)).days)))
    yield from (Form(number(digits), False) for digits in written if len(digits.lstrip("0")) >= LEAST_NUMBER)


def day_of(text: str) -> datetime | None:
    """The day of a DA or DT, old style (``2019.04.13``) included; None unless the text shows it to `tokens.dates` too.

    >>> day_of("2019041310+0100") == day_of("2019.04.13") == datetime(2019, 4, 13, tzinfo=UTC)
    True
    """
    found = re.match(r"([1-9][0-9]{3})(\.?)([0-9]{2})\2([0-9]{2})", text)
    if found is None or f"d:{found[1]}{found[3]}{found[4]}" not in dates(text):
        return None
    return datetime(int(found[1]), int(found[3]), int(found[4]), tzinfo=UTC)


def of_time(text: str) -> Iterator[Form]:
    """A time to the second, weakly; one with a fraction is a fingerprint of its own."""
    digits = text.replace(":", "")[:13]
    if re.fullmatch(r"[0-9]{6}(\.[0-9]{1,6})?", digits) and digits[2:6] != "0000":
        yield Form(number(digits[:6]), False)
        yield Form("v:" + " ".join(words(digits)), len(digits) >= 10 and not digits.endswith("000"))


def _word(part: str, least: int = STRONG_WORD) -> Iterator[Form]:
    """A word of a name or place; strong when it is long enough and no word of the language."""
    if len(part) >= LEAST_WORD:
        mixed = any(c.isdigit() for c in part)
        yield Form("w:" + part, part not in ordinary() and len(part) >= (STRONG_WORD if mixed else max(least, 4)))
    if len(part) >= LEAST_RUN:
        yield Form("r:" + part, False)


def _script(parts: Iterable[str], *, strong: bool = True) -> Iterator[Form]:
    """Beginnings of names in scripts without spaces: two characters that are words, three that are sounds."""
    parts = [part for part in parts if not part.isascii()]
    for part in {*parts, "".join(parts[:2])}:
        size = 3 if "\u3040" <= part[:1] <= "\u30ff" and len(part) >= 3 else 2
        for form in list(script_forms(part[:size]))[-1:]:
            yield Form(form, strong)


def _digests(text: str) -> Iterator[Form]:
    """Unsalted digests: whoever knows the value can look for them, so they are pseudonyms in name only."""
    for variant in {text, text.upper(), text.lower(), fold(text).strip()}:
        raw = variant.encode()
        for name in _HASHES:
            digest = hashlib.new(name, raw).hexdigest()
            yield Form("h:" + digest[:DIGEST], True)
            yield Form("h:" + digest[:SHORT_DIGEST], False)

"""What identifies a person in a DICOM header, as keyed fingerprints, and where such a value turns up in other files.

The values themselves are not kept: each becomes an HMAC under a key that lives as long as the scan. The outgoing file
is looked at twice, parsed (values in any character set, nested items) and as raw bytes without its pixels (preamble,
trailing bytes, whatever a parser skips). Words that the writer's own template contains are no evidence and allowed.

Source: DICOM PS3.15, Annex E, Table E.1-1 (attributes to be removed, emptied or replaced).
"""

from __future__ import annotations

import hashlib
import re
import secrets
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pydicom import dcmread
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError

WORD = re.compile("[^\\W_]{3,}|[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]{2}")
"""Three letters or digits; two where a character is a syllable or more (Japanese, Chinese, Korean)."""

UID = re.compile(r"(?<![0-9.])[0-9]+(?:\.[0-9]+){2,}(?![0-9.])")
DATE = re.compile(r"(?<![0-9])(?:18|19|20)[0-9]{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])(?![0-9])")
STANDARD_ROOT = "1.2.840.10008."
PIXELS = struct.pack("<HH", 0x7FE0, 0x0010)


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


IDENTITIES = _names(
    """
    PatientID IssuerOfPatientID OtherPatientIDs AccessionNumber StudyID AdmissionID ServiceEpisodeID
    PerformedProcedureStepID RequestedProcedureID ScheduledProcedureStepID
    FillerOrderNumberImagingServiceRequest PlacerOrderNumberImagingServiceRequest InstitutionName
    InstitutionAddress InstitutionalDepartmentName StationName DeviceSerialNumber DeviceID
    DetectorID GantryID CassetteID PlateID PatientAddress PatientTelephoneNumbers BranchOfService
    PatientReligiousPreference Occupation MedicalRecordLocator CurrentPatientLocation
    PatientInstitutionResidence ReferringPhysicianAddress ReferringPhysicianTelephoneNumbers
    PersonAddress PersonTelephoneNumbers ClinicalTrialSubjectID ClinicalTrialSiteName
    ClinicalTrialSubjectReadingID InsurancePlanIdentification PatientAlternativeName
    """
)
"""Attributes whose every word identifies somebody or some place."""

FREE_TEXT = _names(
    """
    PatientComments ImageComments AdditionalPatientHistory MedicalAlerts Allergies SpecialNeeds
    StudyComments VisitComments AcquisitionComments FrameComments InterpretationText ResultsComments
    CommentsOnThePerformedProcedureStep RequestedProcedureComments StudyDescription
    SeriesDescription ProtocolName PerformedProcedureStepDescription RequestedProcedureDescription
    AcquisitionProtocolDescription AdmittingDiagnosesDescription ReasonForStudy
    DerivationDescription ContentDescription
    """
)
"""Attributes whose words are mostly ordinary; only the whole text is taken, when it is longer than two words."""

NOT_A_PERSONS = _names(
    """
    ImplementationClassUID CodingSchemeUID ContextUID MappingResourceUID
    ContextGroupExtensionCreatorUID
    """
)
"""UIDs of software and code lists, which many archives share."""

SHORT_NUMBER = 7
"""A number of fewer digits, alone, is in many files by chance; it counts as a whole value only."""

IDENTIFYING_VRS = frozenset({"PN", "UI", "DA", "DT", "AE"})


@dataclass
class Fingerprints:
    """Keyed digests of identifying values, by the attribute they came from."""

    allowed: frozenset[str] = frozenset()
    known: dict[bytes, str] = field(default_factory=dict)
    _key: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)

    def _digest(self, text: str) -> bytes:
        return hashlib.blake2b(text.encode(), key=self._key, digest_size=16).digest()

    def add(self, tokens: Iterable[str], origin: str) -> None:
        """Remember tokens of one real value; allowed ones are not evidence of anything."""
        for token in tokens:
            if token not in self.allowed:
                self.known.setdefault(self._digest(token), origin)

    def hits(self, tokens: Iterable[str]) -> dict[str, str]:
        """Tokens that are values of real patients, each with the attribute it came from. Private."""
        return {token: self.known[d] for token in tokens if (d := self._digest(token)) in self.known}


def read_header(path: Path) -> Dataset | None:
    """The data set without pixels, or None when the file is not DICOM."""
    try:
        return dcmread(path, stop_before_pixels=True)
    except (InvalidDicomError, OSError, ValueError, EOFError, KeyError, AttributeError, NotImplementedError):
        return None


def elements(dataset: Dataset) -> Iterator[DataElement]:
    """Every element with a value, nested items included, file meta first; pixels are not there to be met."""
    meta = getattr(dataset, "file_meta", None)
    for part in ([meta] if meta is not None else []) + [dataset]:
        for tag in list(part.keys()):
            try:
                element = part[tag]
            except Exception:
                # A value that no decoder takes; the raw bytes are looked at anyway.
                continue
            if element.VR == "SQ":
                for item in element.value or ():
                    yield from elements(item)
            elif element.value not in (None, "", b""):
                yield element


def texts(element: DataElement) -> list[str]:
    """The element's values as text, one by one; none for numbers and binary."""
    value = element.value
    if isinstance(value, bytes):
        return [value.decode("utf-8", "replace")] if element.tag.is_private else []
    if (
        element.VR in {"US", "SS", "UL", "SL", "FL", "FD", "OB", "OW", "AT", "IS", "DS", "CS"}
        and not element.tag.is_private
    ):
        return []
    several = isinstance(value, (list, tuple)) or type(value).__name__ == "MultiValue"
    return [str(v) for v in (value if several else [value]) if str(v).strip("\0 ")]


def whole(text: str) -> str:
    """A value as one token, marked as whole: lower case, words separated by one space, whatever the punctuation was."""
    return "=" + " ".join(re.findall(r"[^\W_]+", text.lower()))


def words(text: str) -> set[str]:
    """Words of three letters and more, in lower case, short numbers left out."""
    return {w for w in WORD.findall(text.lower()) if not (w.isdigit() and len(w) < SHORT_NUMBER)}


def tokens(text: str) -> set[str]:
    """Words, UIDs and dates of a text, in lower case."""
    return words(text) | set(UID.findall(text)) | set(DATE.findall(text))


def is_date(token: str) -> bool:
    """Whether a token is a date in DICOM's form."""
    return DATE.fullmatch(token) is not None


def identifying(element: DataElement) -> set[str]:
    """Tokens of a real element that must not turn up elsewhere; empty for elements that identify nobody."""
    found: set[str] = set()
    for text in texts(element):
        if element.VR == "UI":
            if not text.startswith(STANDARD_ROOT) and element.keyword not in NOT_A_PERSONS:
                found.add(text.strip("\0 "))
        elif element.VR in {"DA", "DT"}:
            found |= set(DATE.findall(text[:8]))
        elif element.keyword in IDENTITIES or element.VR in IDENTIFYING_VRS or element.tag.is_private:
            found |= words(text)
            if len(whole(text)) > 4:
                found.add(whole(text))
        elif element.keyword in FREE_TEXT and whole(text).count(" ") >= 2:
            found.add(whole(text))
    return found


def outgoing_tokens(path: Path) -> tuple[set[str], bool]:
    """Everything that an outgoing file says (parsed values, raw bytes around the pixels, its name); whether it is DICOM.

    Of a file that is not DICOM (a table, a licence) only tokens with a digit count: prose is full of ordinary words.
    """
    raw = path.read_bytes()
    found = tokens(path.stem.replace("_", " ")) | raw_tokens(raw)
    dataset = read_header(path)
    if dataset is None:
        return {token for token in found if any(c.isdigit() for c in token)}, False
    for element in elements(dataset):
        for text in texts(element):
            found |= tokens(text) | {whole(text)}
    return found, True


def raw_tokens(raw: bytes) -> set[str]:
    """Tokens of the bytes before the pixels and after them, read as UTF-8 and as Latin-1."""
    found: set[str] = set()
    for part in _without_pixels(raw):
        for charset in ("latin-1",) if part.isascii() else ("utf-8", "latin-1"):
            found |= tokens(part.decode(charset, "replace"))
    return found


def _without_pixels(raw: bytes) -> tuple[bytes, ...]:
    """Bytes around the last native pixel element (explicit little endian); everything where none is recognised."""
    start = raw.rfind(PIXELS)
    while start >= 0:
        if raw[start + 4 : start + 6] in (b"OW", b"OB"):
            length = struct.unpack("<I", raw[start + 8 : start + 12].ljust(4, b"\0"))[0]
            if length == 0xFFFFFFFF:
                return (raw[:start],)
            if start + 12 + length <= len(raw):
                return raw[:start], raw[start + 12 + length :]
        start = raw.rfind(PIXELS, 0, start)
    return (raw,)

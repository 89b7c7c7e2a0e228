"""What people typed into a release, held against the private archive before it leaves.

Names, roles and statements of approvals are the only free text that reaches a pack after the audit. They are few and
the private values are many, so the values stream past the texts and nothing of them is kept:

    private folder has DICOM headers at hand  -> every identifying value of every header (`audit.headers.evidence`)
    else the run's own store is at hand       -> ids of patients and images
    else                                      -> not compared, and the pack and the terminal say so

What counts is what the scan of outgoing headers counts in prose: forms that prove something wherever they turn up.
A single word does so only where it is a patient's family name, no ordinary word, and written with a capital. Names that
the policy gives its approvers and custodian were public before anybody looked: they are no patient's. A name of staff
that the pack states anyhow (who signed) is none either.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, NamedTuple

from synthrelease.audit.headers.tokens import UID, fold, joined, tokens, words
from synthrelease.audit.parallel import over_files
from synthrelease.errors import ApprovalError
from synthrelease.policy.rules import shows_several_findings
from synthrelease.policy.schema import Policy
from synthrelease.records.files import read_json
from synthrelease.records.runs import Run, simulated_cohort
from synthrelease.release.approvals import APPROVALS, Approval, read_approvals

if TYPE_CHECKING:
    # Loaded where it is used: it needs pydicom, which neither signing nor verifying does.
    from synthrelease.audit.headers.evidence import Value

TYPED = "typed_texts.json"
SCHEMA = "synthrelease.typed-texts/1"
HEADERS, IDS = "the private headers", "the ids of patients and images"
SHORTEST_NAME = 3
"""Characters of a whole name in a script without spaces."""

_PATIENTS = frozenset(
    ["PatientName", "OtherPatientNames", "PatientBirthName", "PatientMotherBirthName", "ResponsiblePerson"]
)
_LETTERS = re.compile(r"[^\W\d_]+")


@dataclass(frozen=True)
class Comparison:
    """What typed texts were held against; they met nothing there.

    Attributes:
        compared_with: `HEADERS`, `IDS`, or None: nothing was at hand.
        because: Why not with the headers, and then why not with the ids either.
    """

    compared_with: str | None
    because: tuple[str, ...] = ()

    @property
    def told(self) -> str:
        """In words, without a full stop."""
        if self.compared_with == HEADERS:
            return f"typed texts were compared with {HEADERS}"
        told = f"typed texts were not compared with {HEADERS}, because {self.because[0]}"
        if self.compared_with == IDS:
            return f"{told}; they were compared with {IDS}"
        return f"{told}, nor with {IDS}, because {self.because[1]}"

    def to_json(self) -> dict[str, Any]:
        """As the pack's evidence holds it."""
        return {
            "schema": SCHEMA,
            "texts": "names, roles and statements of the approvals that count",
            "compared_with": self.compared_with,
            "told": self.told,
        }


class Hit(NamedTuple):
    """A typed text that resembles a private value: which, and of what attribute; never the value."""

    line: int
    field: str
    attribute: str


@dataclass(frozen=True)
class Said:
    """What texts say, in the forms of `audit.headers.tokens`.

    Attributes:
        forms: Of every text.
        run: The texts without anything between letters and digits.
    """

    forms: frozenset[str]
    run: str

    @classmethod
    def by(cls, texts: Iterable[str]) -> Said:
        """What these texts say together."""
        given = tuple(texts)
        return cls(frozenset().union(*map(tokens, given)), "\n".join(map(joined, given)))

    def says(self, token: str) -> bool:
        """Whether a form of a value stands in the texts."""
        return token[2:] in self.run if token.startswith("r:") else token in self.forms


@dataclass(frozen=True)
class Typed:
    """One typed text.

    Attributes:
        line: Of approvals.jsonl, from 1.
        field: "name", "role" or "statement".
        said: What it says.
        capitals: Its words that begin with a capital, folded; none for a name, which is made of them.
    """

    line: int
    field: str
    said: Said
    capitals: frozenset[str]


@dataclass(frozen=True)
class TypedTexts:
    """Every typed text of the approvals that count.

    Attributes:
        texts: One by one.
        together: What all of them say; most private values are settled by asking this once.
        planned: Names that the policy gives.
        stated: These, and the names of those who signed.
    """

    texts: tuple[Typed, ...]
    together: Said
    planned: Said
    stated: Said

    def met_by(self, value: Value) -> Iterator[Hit]:
        """Texts that say an identifying value of a private header."""
        found = [form for form in _strong_forms(value) if self.together.says(form)]
        for text in self.texts if found else ():
            if any(text.said.says(form) and self._proves(form, value, text) for form in found):
                yield Hit(text.line, text.field, value.origin)

    def _proves(self, form: str, value: Value, text: Typed) -> bool:
        of_patient = value.origin in _PATIENTS
        if value.kind == "name" and (self.planned if of_patient else self.stated).says(form):
            return False
        if form.startswith("w:") and not any(map(str.isdigit, form)):
            return of_patient and form[2:] in text.capitals and form[2:] not in _given_names(value)
        return True


def typed_texts(run_folder: Path, policy: Policy, approvals: Iterable[Approval]) -> TypedTexts:
    """The texts of the approvals that count, each with its line of approvals.jsonl.

    Raises:
        IntegrityError: The chain of approvals is broken.
    """
    counted = tuple(approvals)
    lines = {approval.head: line for line, approval in enumerate(read_approvals(run_folder), start=1)}
    given = [
        (lines[a.head], field, text)
        for a in counted
        for field, text in (("name", a.by), ("role", a.role), ("statement", a.statement))
    ]
    planned = (*policy.roles.approvers, policy.roles.custodian)
    return TypedTexts(
        tuple(Typed(line, field, Said.by([text]), _capitals(text, field)) for line, field, text in given),
        Said.by(text for _, _, text in given),
        Said.by(planned),
        Said.by((*planned, *(a.by for a in counted))),
    )


def require_no_private_value(run_folder: Path, policy: Policy, approvals: Iterable[Approval]) -> Comparison:
    """Let typed texts leave only if they say nothing that identifies a patient, a person or a place of the cohort.

    Args:
        run_folder: The run; read only.
        policy: Its policy.
        approvals: Those that count.

    Returns:
        What the texts were compared with.

    Raises:
        ApprovalError: A text resembles a private value; names line, field and attribute, never the value.
        IntegrityError: The chain of approvals or the run's store is broken.
    """
    texts = typed_texts(run_folder, policy, approvals)
    hits, no_headers = _met_in_headers(_private_folder(Run(run_folder), policy), texts)
    if not no_headers:
        _refuse(hits)
        return Comparison(HEADERS)
    met_in_store, no_ids = _met_in_store(Run(run_folder).cohort, texts)
    _refuse(hits | met_in_store)
    return Comparison(None, (no_headers, no_ids)) if no_ids else Comparison(IDS, (no_headers,))


def _refuse(hits: set[Hit]) -> None:
    if not hits:
        return
    places = sorted({(hit.line, hit.field) for hit in hits})
    told = [
        f"{APPROVALS} line {line}: the {field} resembles a private {_attributes(hits, line, field)}"
        for line, field in places
    ]
    names = any(field == "name" for _, field in places)
    raise ApprovalError(
        "; ".join(told),
        fix="Who typed it signs again in other words, `synthrelease approve --again`: a line that was replaced leaves "
        "without its text." + (" Where it is the person's own name, somebody else signs." if names else ""),
    )


def _attributes(hits: set[Hit], line: int, field: str) -> str:
    return ", ".join(sorted({hit.attribute for hit in hits if (hit.line, hit.field) == (line, field)}))


def _private_folder(run: Run, policy: Policy) -> Path | None:
    """Where the run read its private archive; None when it does not say."""
    if not run.source.is_file():
        return None
    source = read_json(run.source)["source"]
    if source != "phantom":
        return Path(source)
    phantom, several = policy.cohort.phantom, shows_several_findings(policy)
    return simulated_cohort(run.folder.resolve().parent, phantom.patients, phantom.seed, several=several)


def _met_in_headers(source: Path | None, texts: TypedTexts) -> tuple[set[Hit], str]:
    """Hits, and why not every private header was looked at; empty when every one was."""
    if source is None:
        return set(), "the run does not say where the private archive lies"
    if not source.exists():
        return set(), "the private archive is no longer where the run read it"
    unread: list[OSError] = []
    files = sorted(Path(folder) / name for folder, _, names in os.walk(source, onerror=unread.append) for name in names)
    hits: set[Hit] = set()
    headers = 0
    for met in over_files(partial(_met_in_file, texts=texts), files):
        if met is not None:
            headers += 1
            hits |= met
    if unread or not all(os.access(path, os.R_OK) for path in files):
        return hits, "a part of the private archive cannot be read"
    return hits, "" if headers else "the private archive holds no DICOM file"


def _met_in_file(path: Path, texts: TypedTexts) -> frozenset[Hit] | None:
    from synthrelease.audit.headers.evidence import values_of

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a warning of pydicom repeats the value that it warns of
        values = values_of(path)
    return None if values is None else frozenset(hit for value in values for hit in texts.met_by(value))


def _met_in_store(folder: Path, texts: TypedTexts) -> tuple[set[Hit], str]:
    """Hits, and why the ids were not looked at; empty when they were."""
    from synthrelease.audit.headers.evidence import value_of
    from synthrelease.cohort.store import CohortStore

    if not folder.is_dir():
        return set(), "the run no longer keeps them"
    store = CohortStore.open(folder)
    images = {name for given in store.image_ids for name in _names_of_image(given)}
    hits: set[Hit] = set()
    for origin, ids in (("PatientID", store.patient_ids), ("ImageID", images)):
        for given in ids:
            value = value_of(origin, "UI" if UID.fullmatch(given) else "LO", 0, given, True)
            if value is not None:
                hits.update(texts.met_by(value))
    return hits, ""


def _names_of_image(given: str) -> set[str]:
    """An image's id, and of a path its last part alone; of a UID with a frame the UID."""
    name = given.partition("#")[0]
    return {name} if UID.fullmatch(name) else {given, PurePosixPath(given).stem}


def _strong_forms(value: Value) -> Iterator[str]:
    """Forms that prove something wherever they turn up.

    In scripts without spaces the first characters of a name are ordinary syllables in prose: the whole name counts.
    """
    strong = [form.token for form in value.forms if form.strong]
    yield from (form for form in strong if not form.startswith("c:"))
    if value.kind == "name" and any(form.startswith("c:") for form in strong):
        wholes = (joined(group) for group in value.text.split("="))
        yield from ("r:" + whole for whole in wholes if not whole.isascii() and len(whole) >= SHORTEST_NAME)


def _given_names(value: Value) -> set[str]:
    """Words of a person's name that are no family name (PS3.5, section 6.2.1)."""
    return {word for group in value.text.split("=") for part in group.split("^")[1:] for word in words(part)}


def _capitals(text: str, field: str) -> frozenset[str]:
    if field == "name":
        return frozenset()
    return frozenset(fold(word) for word in _LETTERS.findall(text) if word[0].isupper())

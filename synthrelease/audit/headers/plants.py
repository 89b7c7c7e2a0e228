"""Known leaks: real values written into copies of outgoing files, so that a scan measures what it would have found.

Each plant is a way of writing (as it is, turned round, hashed, encoded, ...) and a place (a comment, the preamble, a
private tag, a file's name, ...). A value serves a plant when the scan holds a form of it that the plant leaves intact.
"""

from __future__ import annotations

import base64
import csv
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import BytesIO, StringIO
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from synthrelease.audit.headers.evidence import Form, Value, day_of, of_identifier, of_name
from synthrelease.audit.headers.tokens import words

EACH, KEPT = 4, 400
"""Values tried for each plant, and kept of each kind to choose from."""


class Outgoing(NamedTuple):
    """One outgoing file: its bytes and its path in the archive."""

    content: bytes
    name: str


Place = Callable[[Outgoing, str], Outgoing]


@dataclass(frozen=True)
class Plant:
    """One kind of leak.

    Attributes:
        kinds: Of the values that can leak so (`Value.kind`).
        needs: Kinds of form (`tokens.tokens`), one of which must survive.
        write: The value as it leaks.
            place: Where it leaks.
        least: Characters that the value must have to survive an encoding.
    """

    kinds: tuple[str, ...]
    needs: tuple[str, ...]
    write: Callable[[str], str]
    place: Place
    least: int = 0


def _edited(change: Callable[[Dataset, str], None]) -> Place:
    def place(file: Outgoing, text: str) -> Outgoing:
        dataset = dcmread(BytesIO(file.content))
        change(dataset, text)
        stream = BytesIO()
        dataset.save_as(stream)
        return file._replace(content=stream.getvalue())

    return place


def _comment(dataset: Dataset, text: str) -> None:
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.ImageComments = f"made from {text} in one go"


def _alone(dataset: Dataset, text: str) -> None:
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.ImageComments = text


def _private(dataset: Dataset, text: str) -> None:
    dataset.add_new(0x00910010, "LO", "PLANT")
    dataset.add_new(0x00911001, "UN", text.encode())


def _overlay(dataset: Dataset, text: str) -> None:
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.add_new(0x60024000, "LT", text)


def _reference(dataset: Dataset, text: str) -> None:
    item = Dataset()
    item.ReferencedSOPInstanceUID = text
    dataset.SourceImageSequence = [item]


def _meta(dataset: Dataset, text: str) -> None:
    dataset.file_meta.PrivateInformationCreatorUID = "2.25.77777777"
    dataset.file_meta.PrivateInformation = text.encode()


def _in_preamble(file: Outgoing, text: str) -> Outgoing:
    return file._replace(content=text.encode()[:128].ljust(128, b"\0") + file.content[128:])


def _behind(file: Outgoing, text: str) -> Outgoing:
    return file._replace(content=file.content + b"\0\0" + text.encode())


def _behind_wide(file: Outgoing, text: str) -> Outgoing:
    return file._replace(content=file.content + text.encode("utf-16-le"))


def _in_name(file: Outgoing, text: str) -> Outgoing:
    return Outgoing(b"", f"DICOM/{text.replace('/', '_')}.dcm")


def _in_table(file: Outgoing, text: str) -> Outgoing:
    table = StringIO()
    csv.writer(table, lineterminator="\n").writerows([("file", "made_from"), ("I0000001", text)])
    return Outgoing(table.getvalue().encode(), "planted.csv")


def _group(text: str) -> str:
    """The first group of a name that says anything: ``=山田^太郎`` has no alphabetic one."""
    return next((group for group in text.split("=") if words(group)), "")


def _joined(text: str) -> str:
    """A name as a user name or file name has it: ``DoeJohn``."""
    return "".join(part.capitalize() for part in words(_group(text)))


def _turned(text: str) -> str:
    family, _, rest = _group(text).partition("^")
    return f"{rest.replace('^', ' ').strip()} {family}".lower().strip()


def _date_in_words(text: str) -> str:
    return f"{day:%d %B %Y}" if (day := day_of(text)) else ""


def _date_with_dots(text: str) -> str:
    return f"{day:%d.%m.%Y}" if (day := day_of(text)) else ""


def _hashed_uid(text: str) -> str:
    return str(generate_uid(entropy_srcs=[text]))


def _hashed_uuid(text: str) -> str:
    return f"2.25.{int.from_bytes(hashlib.sha256(text.encode()).digest()[:16])}"


def _as_is(text: str) -> str:
    return text


_ANY = ("name", "identifier", "uid", "date")
_INSIDE = ("w:", "n:", "u:", "d:", "f:", "c:")
_WHOLE = ("v:", "u:", "d:")

PLANTS = MappingProxyType(
    {
        "value in a comment": Plant(_ANY, _INSIDE, _as_is, _edited(_comment)),
        "value in the preamble": Plant(_ANY, _INSIDE, _as_is, _in_preamble),
        "value behind the data": Plant(_ANY, _INSIDE, _as_is, _behind),
        "value in a private tag": Plant(("identifier", "uid", "date"), _INSIDE, _as_is, _edited(_private)),
        "value in an overlay": Plant(("identifier", "uid", "date"), _INSIDE, _as_is, _edited(_overlay)),
        "value in the file meta": Plant(("identifier", "uid", "date"), _INSIDE, _as_is, _edited(_meta)),
        "value in a file name": Plant(("identifier", "uid", "date"), _INSIDE, _as_is, _in_name),
        "value in a table": Plant(("identifier", "uid", "date"), ("n:", "u:", "d:"), _as_is, _in_table),
        "name turned round": Plant(("name",), ("w:", "f:"), _turned, _edited(_comment)),
        "name in one word": Plant(("name",), ("r:",), _joined, _edited(_comment)),
        "other case": Plant(("name", "identifier"), _INSIDE, str.swapcase, _edited(_comment)),
        "inside another word": Plant(("identifier",), ("r:",), "x{}y".format, _edited(_comment)),
        "number padded with zeros": Plant(("identifier",), ("n:",), "ID-000{}".format, _edited(_comment)),
        "backwards": Plant(("name", "identifier"), ("r:",), lambda text: text[::-1], _edited(_comment)),
        "UID in a reference": Plant(("uid",), ("u:",), _as_is, _edited(_reference)),
        "UID hashed without salt": Plant(("uid",), ("h:",), _hashed_uid, _edited(_reference)),
        "UID hashed into a UUID": Plant(("uid",), ("h:",), _hashed_uuid, _edited(_reference)),
        "digest without salt": Plant(
            ("name", "identifier"), ("h:",), lambda text: hashlib.sha256(text.encode()).hexdigest(), _edited(_comment)
        ),
        "date with dots": Plant(("date",), ("d:",), _date_with_dots, _edited(_comment)),
        "date in words": Plant(("date",), ("d:",), _date_in_words, _edited(_comment)),
        "base64": Plant(_ANY, _WHOLE, lambda text: base64.b64encode(text.encode()).decode(), _edited(_alone), 6),
        "hexadecimal": Plant(_ANY, _WHOLE, lambda text: text.encode().hex(), _edited(_alone), 6),
        "UTF-16": Plant(_ANY, _WHOLE, _as_is, _behind_wide, 4),
    }
)


class Samples:
    """Some values of each kind, to plant: the first distinct ones, then a seeded order."""

    def __init__(self) -> None:
        self._kept: dict[str, dict[str, Value]] = {}

    def add(self, value: Value) -> None:
        """Keep a value unless there are enough of its kind."""
        kept = self._kept.setdefault(value.kind, {})
        if len(kept) < KEPT:
            kept.setdefault(value.text, value)

    def drawn(self, rng: np.random.Generator) -> list[Value]:
        """All that were kept, shuffled within their kind."""
        kinds = [list(kept.values()) for _, kept in sorted(self._kept.items())]
        return [found[i] for found in kinds for i in rng.permutation(len(found))]


def recall(
    file: Outgoing, values: Sequence[Value], admits: Callable[[str, bool], bool], found: Callable[[Outgoing], bool]
) -> dict[str, float]:
    """Share of planted leaks that are found, by plant; plants for which the cohort has no value are left out.

    Args:
        file: A clean DICOM file of the archive.
        values: Real values to plant.
        admits: Whether the scan counts a form.
        found: Whether the scan finds anything of a patient in a file.
    """
    told: dict[str, float] = {}
    for name, plant in PLANTS.items():
        chosen = [value for value in values if _serves(value, plant, admits)][:EACH]
        if chosen:
            hits = [found(plant.place(file, plant.write(value.text))) for value in chosen]
            told[name] = float(np.mean(hits))
    return told


def _serves(value: Value, plant: Plant, admits: Callable[[str, bool], bool]) -> bool:
    """Whether a form that the scan counts is still there when the value is written as the plant does."""
    forms = value.forms
    if "r:" in plant.needs:
        # The whole value in one piece, not merely a part of it that is long enough.
        written = _joined(value.text).lower()
        forms = frozenset(form for form in _whole_run(value) if form.token == "r:" + written)
    return (
        value.kind in plant.kinds
        and len(value.text) >= plant.least
        and bool(words(plant.write(value.text)))
        and any(form.token.startswith(plant.needs) and admits(form.token, form.strong) for form in forms)
    )


def _whole_run(value: Value) -> frozenset[Form]:
    forms = of_name(value.text) if value.kind == "name" else of_identifier(value.text)
    return frozenset(form for form in forms if form.token.startswith("r:"))

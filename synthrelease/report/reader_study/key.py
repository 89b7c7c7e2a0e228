"""What each case of a reader study was. Whoever holds it is not blind: it lies apart from the series, mode 0600.

The sheet names the key's digest, so a key that was changed after the answers is seen. The key holds 256 random bits: the
digest tells nothing of it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from synthrelease.errors import IntegrityError

SCHEMA = "synthrelease.reader-study-key/1"
INTERNAL = "INTERNAL: reader study with images of real patients. It stays in the house; no release carries it."


@dataclass(frozen=True)
class KeyCase:
    """What a case was.

    Attributes:
        number: From 1, in the order of the series.
        synthetic: Whether it was made.
        label: Its class.
        origin: The real image's id, or the synthetic one's file in its archive. Private.
        repeat_of: Number of the case that shows the same image; None for the first showing.
    """

    number: int
    synthetic: bool
    label: str
    origin: str
    repeat_of: int | None = None


@dataclass(frozen=True)
class Key:
    """A study's key. Private.

    Attributes:
        study: The study's public number.
        seed: Of draw, order and grain; 256 bits, hexadecimal.
        margin: The verdict is equivalence when accuracy lies within 0.5 - margin .. 0.5 + margin.
        alpha: Chance of calling a reader equivalent who is not.
        cases: In the order of the series.
        sources: Digests of what the images were drawn from.
    """

    study: str
    seed: str
    margin: float
    alpha: float
    cases: tuple[KeyCase, ...]
    sources: Mapping[str, str]

    def content(self) -> bytes:
        """The file."""
        return (json.dumps({"schema": SCHEMA, "notice": INTERNAL, **asdict(self)}, indent=1) + "\n").encode()

    def first_cases(self) -> tuple[KeyCase, ...]:
        """Every image once, as it was shown first."""
        return tuple(case for case in self.cases if case.repeat_of is None)


def key_digest(content: bytes) -> str:
    """SHA-256 of a key's file, which sheet and series name."""
    return hashlib.sha256(content).hexdigest()


def read_key(content: bytes) -> Key:
    """The key in a file.

    Raises:
        IntegrityError: It is none.
    """
    try:
        values: dict[str, Any] = json.loads(content)
        if values.pop("schema") != SCHEMA:
            raise ValueError("another schema")
        del values["notice"]
        return Key(**{**values, "cases": tuple(KeyCase(**case) for case in values["cases"])})
    except (ValueError, KeyError, TypeError) as error:
        raise IntegrityError("the key is not that of a reader study", fix="Name the key that export wrote.") from error

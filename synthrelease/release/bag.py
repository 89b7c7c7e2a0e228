"""A pack is a BagIt bag: which files make it one, what they hold, and which names may be in it.

    bagit.txt  bag-info.txt       the declaration, and what the bag is, with fixed values
    manifest-sha256.txt           SHA-256 of every file below data/
    tagmanifest-sha256.txt        SHA-256 of every other file, but release.json and release.dsse.json, which hang above it
    data/                         the synthetic archive

`sha256sum -c` reads both manifests. Source: RFC 8493.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath

DATA = "data/"
DECLARATION_FILE = "bagit.txt"
INFO_FILE = "bag-info.txt"
PAYLOAD_MANIFEST = "manifest-sha256.txt"
TAG_MANIFEST = "tagmanifest-sha256.txt"
DECLARATION = "BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"

ASK_AGAIN = "Do not use this copy; ask the sender for the pack again."
"""What a recipient can do about a pack that is not as it was sealed."""

OBJECTS = "DICOM/"
"""Folder of the archive's DICOM objects. Below it names have at most 8 of A-Z 0-9 _, as PS3.10 section 8.2 asks."""

_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,99}")
_OBJECT_PART = re.compile(r"[A-Z0-9_]{1,8}")
_DEVICES = frozenset({"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(10))})
_DEEPEST = 16


@dataclass(frozen=True)
class Payload:
    """The archive in a pack, as its manifest and its files add up.

    Attributes:
        manifest: SHA-256 of the archive's own manifest, that is of the bag's without the prefix ``data/``.
        files: Number of files.
        bytes: Of all of them.
    """

    manifest: str
    files: int
    bytes: int


def name_problem(path: str) -> str | None:
    """Why a relative path of the archive cannot be in a bag that every system can unpack; None when it can.

    RFC 8493 leaves out names that another system cannot hold: with line ends, percent signs, or blanks at an end,
    reserved words, and paths that leave the folder. Here a name is made of letters, digits and ``_ . -``.

    >>> name_problem("DICOM/P000001/S0000001/I0000001"), name_problem("labels.csv")
    (None, None)
    >>> name_problem("../labels.csv")
    'is made of more than letters, digits, _ . -, or begins with a dot or a dash'
    """
    parts = path.split("/")
    objects = path.startswith(OBJECTS)
    for part in parts[1:] if objects else parts:
        if objects and not _OBJECT_PART.fullmatch(part):
            return f"is no name of a DICOM medium, which every name below {OBJECTS} must be"
        if not _PART.fullmatch(part):
            return "is made of more than letters, digits, _ . -, or begins with a dot or a dash"
        if part.endswith("."):
            return "ends with a dot"
        if PurePosixPath(part).name.split(".")[0].casefold() in _DEVICES:
            return "is the name of a device"
    return "lies too deep" if len(parts) > _DEEPEST else None


class Twins:
    """Finds names that differ by case alone: on some systems one of them would overwrite the other.

    Names come in the order of their bytes, capitals first. Only names with small letters are kept, which the objects
    of an archive do not have, so memory does not grow with their number.
    """

    def __init__(self) -> None:
        self._small: set[str] = set()

    def twin(self, path: str, capitals: bool) -> bool:
        """Whether ``path`` has a twin among the names before it.

        Args:
            path: The next name.
            capitals: Whether the archive holds this name in capitals, where that is another name.
        """
        if path == path.upper():
            return False
        folded = path.upper()
        found = capitals or folded in self._small
        self._small.add(folded)
        return found


def info_text(name: str, released_on: str, software: str, payload: Payload) -> str:
    """bag-info.txt: a function of the release alone, so that a recipient can make it again and compare."""
    return (
        f"Bag-Software-Agent: {software}\n"
        f"Bagging-Date: {released_on[:10]}\n"
        "External-Description: Synthetic medical images; RELEASE.md tells what they are.\n"
        f"External-Identifier: {name}\n"
        f"Payload-Oxum: {payload.bytes}.{payload.files}\n"
    )

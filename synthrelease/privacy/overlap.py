"""Which cohorts share a patient: one person's budget is one budget, under however many names their images are kept.

Beside every ledger lies ``NAME.patients.private``: keyed digests of every patient that a run on the cohort could read,
holdout included. The key, ``.key.private``, is drawn once for a folder of ledgers and never leaves it, so without it the
digests tell nobody who is there. Both are the house's own: nothing of them is released, and what is said of an overlap is
the names of the cohorts, never how many patients they share or who.

Who is one person. Two identifiers from two issuers are two people. An identifier without an issuer (a table, say) may be
from any, so it is taken for the same identifier under every issuer: an overlap too many costs budget, one too few costs
privacy. Case, spaces, padding and ways to write a letter do not make another. Simulated patients are told apart by
the simulator's seed, since their identifiers repeat; equal seeds give equal patients, whatever the number simulated.

What it cannot see: one person under two identifiers, and ledgers in another folder, which have another key.

    file      magic | tag | three counts | issued, bare, unissued digests, each sorted
    digest    first 16 bytes of HMAC-SHA256(key, "patient" | identifier)
    tag       HMAC-SHA256(key, everything after it)
"""

from __future__ import annotations

import hmac
import os
import struct
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from synthrelease.errors import IntegrityError, UnsuitableData
from synthrelease.records.ledger import Ledger
from synthrelease.records.private_files import create_private, write_private

KEY_FILE = ".key.private"
SUFFIX = ".patients.private"
KEY_BYTES = 32
DIGEST_BYTES = 16
_MAGIC = b"synthrelease.patients/1\n"
_COUNTS = struct.Struct(">3Q")
_RESTORE = "Restore the private files of the folder of ledgers from a copy; nothing may be charged until then."


@dataclass(frozen=True)
class Patients:
    """The patients that a run could read, by name. Private.

    Attributes:
        ids: ``issuer|id`` each, the issuer empty where it is not known.
        simulated_seed: Of the simulator that invented them; None for people.
    """

    ids: Sequence[str] = ()
    simulated_seed: int | None = None


@dataclass(frozen=True)
class PatientDigests:
    """The same patients, by keyed digest.

    Attributes:
        issued: Of issuer and identifier together.
        bare: Of the identifiers alone of those with an issuer.
        unissued: Of identifiers that came without an issuer.
    """

    issued: frozenset[bytes] = frozenset()
    bare: frozenset[bytes] = frozenset()
    unissued: frozenset[bytes] = frozenset()

    def __bool__(self) -> bool:
        """Whether there is anybody."""
        return bool(self.issued or self.unissued)

    def __or__(self, other: PatientDigests) -> PatientDigests:
        """Everybody of both."""
        return PatientDigests(self.issued | other.issued, self.bare | other.bare, self.unissued | other.unissued)

    def shares_with(self, other: PatientDigests) -> bool:
        """Whether at least one patient may be of both."""
        return not (
            self.issued.isdisjoint(other.issued)
            and self.unissued.isdisjoint(other.unissued)
            and self.unissued.isdisjoint(other.bare)
            and self.bare.isdisjoint(other.unissued)
        )


def digests_of(patients: Patients, key: bytes) -> PatientDigests:
    """Keyed digests of patients."""

    def digest(kind: str, *parts: str) -> bytes:
        # The length before each part: no two identifiers run into the same bytes.
        spelled = [_plain(part).encode("utf-8", "surrogateescape") for part in (kind, *parts)]
        message = b"patient" + b"".join(struct.pack(">I", len(part)) + part for part in spelled)
        return hmac.digest(key, message, "sha256")[:DIGEST_BYTES]

    issued, bare, unissued = set(), set(), set()
    for name in patients.ids:
        issuer, bar, own = name.partition("|")
        if not bar:
            issuer, own = "", name
        if patients.simulated_seed is not None:
            issued.add(digest("simulated", str(patients.simulated_seed), issuer, own))
        elif issuer.strip():
            issued.add(digest("issued", issuer, own))
            bare.add(digest("bare", own))
        else:
            unissued.add(digest("bare", own))
    return PatientDigests(frozenset(issued), frozenset(bare), frozenset(unissued))


def _plain(text: str) -> str:
    """Without what makes one identifier look like two: case, spaces, padding, ways to write one letter."""
    return " ".join(unicodedata.normalize("NFKC", text.replace("\0", " ")).casefold().split())


def house_key(folder: Path, *, make: bool) -> bytes | None:
    """The key of a folder of ledgers.

    Args:
        folder: Of the ledgers.
        make: Draw one where there is none; at once and for good, however many try.

    Returns:
        The key; None where there is none and none was to be made.

    Raises:
        IntegrityError: The key is damaged, or gone while digests under it are there.
        UnsuitableData: It cannot be read or written.
    """
    path = folder / KEY_FILE
    key = _read(path)
    if key is None:
        if any(folder.glob(f"*{SUFFIX}")):
            raise IntegrityError(f"{KEY_FILE} is missing beside the patient digests that it made", fix=_RESTORE)
        if not make:
            return None
        folder.mkdir(parents=True, exist_ok=True)
        key = create_private(path, os.urandom(KEY_BYTES))
    if len(key) != KEY_BYTES:
        raise IntegrityError(f"{KEY_FILE} is damaged", fix=_RESTORE)
    return key


def patients_path(ledger: Ledger) -> Path:
    """Where the digests of a ledger's patients lie. Private."""
    return ledger.path.with_name(ledger.path.stem + SUFFIX)


def noted_patients(ledger: Ledger, key: bytes | None) -> PatientDigests:
    """Everybody whom the runs on a ledger could read, as far as it was noted.

    Raises:
        IntegrityError: The file was changed, is of another key, or is gone although a run noted its patients.
        UnsuitableData: It cannot be read.
    """
    path = patients_path(ledger)
    content = _read(path)
    if content is None or key is None:
        if any(charge.noted for charge in ledger.history()):
            missing = path.name if content is None else KEY_FILE
            raise IntegrityError(f"{missing} is missing beside {ledger.path.name}", fix=_RESTORE)
        return PatientDigests()
    found = _unpacked(content, key)
    if found is None:
        raise IntegrityError(f"{path.name} was changed, or was made under another key", fix=_RESTORE)
    return found


def note_patients(ledger: Ledger, digests: PatientDigests, key: bytes) -> None:
    """Add patients to those of a ledger; on disk when this returns. The caller holds the ledger.

    Raises:
        IntegrityError, UnsuitableData: As :func:`noted_patients`.
    """
    before = noted_patients(ledger, key)
    together = before | digests
    if together != before:
        write_private(patients_path(ledger), _packed(together, key))


def _packed(digests: PatientDigests, key: bytes) -> bytes:
    parts = (digests.issued, digests.bare, digests.unissued)
    content = _COUNTS.pack(*(len(part) for part in parts)) + b"".join(b"".join(sorted(part)) for part in parts)
    return _MAGIC + _tag(content, key) + content


def _unpacked(file: bytes, key: bytes) -> PatientDigests | None:
    start = len(_MAGIC) + 32
    tag, content = file[len(_MAGIC) : start], file[start:]
    if not file.startswith(_MAGIC) or not hmac.compare_digest(tag, _tag(content, key)):
        return None
    parts, place = [], _COUNTS.size
    for count in _COUNTS.unpack_from(content):
        end = place + count * DIGEST_BYTES
        parts.append(frozenset(content[i : i + DIGEST_BYTES] for i in range(place, end, DIGEST_BYTES)))
        place = end
    return PatientDigests(*parts)


def _tag(content: bytes, key: bytes) -> bytes:
    return hmac.digest(key, b"file" + content, "sha256")


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UnsuitableData(
            f"cannot read {path.name}: {error.strerror}",
            fix="It belongs to the owner of the ledgers; run as that user.",
        ) from error

"""How many audits went before: repeating an audit until it passes is no evidence, so every one is counted.

One line an audit, each with the digest of the line before. Who removes the file removes the count; a line that was
changed or taken out of the middle is noticed.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from synthrelease.errors import IntegrityError
from synthrelease.records.digests import digest_of
from synthrelease.records.files import atomic_write_bytes, canonical_json

_START = "0" * 64


@dataclass(frozen=True)
class Asked:
    """What an audit is about, by digests.

    Attributes:
        patients: The private side. archive: The synthetic side.
        question: Seed, profile and versions.
    """

    patients: str
    archive: str
    question: str

    @classmethod
    def of(cls, patients: Any, archive: Any, question: Any) -> Asked:
        """From JSON-like values."""
        return cls(digest_of(patients), digest_of(archive), digest_of(question))


def prior_audits(path: Path, asked: Asked) -> dict[str, Any]:
    """What went before, for audit.json.

    Args:
        path: The chain; need not be there.
        asked: This audit.

    Returns:
        ``count`` audits of these patients, ``same_archive`` of them of this archive, ``same_question`` of these exact
        repeats, ``verdicts`` counted, ``chain``: digest of the last line, None at the start.

    Raises:
        IntegrityError: The chain is broken.
    """
    lines, head = _read(path)
    ours = [line for line in lines if line["patients"] == asked.patients]
    same = [line for line in ours if line["archive"] == asked.archive]
    return {
        "count": len(ours),
        "same_archive": len(same),
        "same_question": sum(line["question"] == asked.question for line in same),
        "verdicts": dict(sorted(Counter(line["verdict"] for line in ours).items())),
        "chain": head if lines else None,
    }


def add_audit(path: Path, asked: Asked, record: Mapping[str, Any], digest: str) -> None:
    """Count an audit.

    Args:
        path: The chain. asked: What was asked. record: audit.json. digest: Of its bytes.
    """
    _, head = _read(path)
    line = {
        "patients": asked.patients,
        "archive": asked.archive,
        "question": asked.question,
        "verdict": record["verdict"],
        "profile": record["profile"],
        "seed": record["seed"],
        "audit": digest,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "previous": head,
    }
    before = path.read_bytes() if path.is_file() else b""
    atomic_write_bytes(path, before + canonical_json(line) + b"\n")


def add_void(path: Path, patients: Any) -> None:
    """Note that the archive of these patients was found changed, so that its claim is void.

    Args:
        path: The chain. patients: The private side, as given to :meth:`Asked.of`.
    """
    changed = Asked.of(patients, "changed", None)
    add_audit(path, changed, {"verdict": "void: the archive was changed", "profile": "", "seed": 0}, "")


def _read(path: Path) -> tuple[list[dict[str, Any]], str]:
    head, lines = _START, []
    content = path.read_bytes() if path.is_file() else b""
    for raw in content.splitlines():
        try:
            line = json.loads(raw)
            fits = line["previous"] == head and {"patients", "archive", "question", "verdict"} <= line.keys()
        except (ValueError, TypeError, KeyError, AttributeError):
            fits = False
        if not fits:
            raise IntegrityError(
                f"{path.name} was changed: its lines do not follow each other, so earlier audits cannot be counted",
                fix=f"Restore {path.name} from a backup.",
            )
        lines.append(line)
        head = sha256(raw).hexdigest()
    return lines, head

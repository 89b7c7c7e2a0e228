"""How many audits went before: repeating an audit until it passes is no evidence, so every one is counted.

A line when an audit begins and another when it ends, each with the digest of the line before: what was looked at and
broken off counts as well. One that is taken up again goes on under the line that it began with. Who removes the file
removes the count; a line that was changed or taken out of the middle is noticed.
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


NOT_FINISHED = "not finished"


def begin_audit(path: Path, asked: Asked, kind: str = NOT_FINISHED) -> str:
    """Count an audit before anything is measured.

    Args:
        path: The chain. asked: What is asked. kind: What it counts as until it ends.

    Returns:
        The digest of its line; that of an audit of the same question that was not finished, where there is one.

    Raises:
        IntegrityError: The chain is broken.
    """
    lines = _read(path)
    open_ = _open(lines, asked)
    if open_ and kind == NOT_FINISHED:
        return open_[-1]
    return _add(path, {**_of(asked), "verdict": kind})


def prior_audits(path: Path, asked: Asked, begun: str = "") -> dict[str, Any]:
    """What went before, for audit.json.

    Args:
        path: The chain; need not be there.
        asked: This audit. begun: Digest of the line that it began with; that line and later ones do not count.

    Returns:
        ``count`` audits of these patients, ``same_archive`` of them of this archive, ``same_question`` of these exact
        repeats, ``verdicts`` counted, ``chain``: digest of the last line before, None at the start.

    Raises:
        IntegrityError: The chain is broken.
    """
    lines = _read(path)
    digests = list(lines)
    before = digests[: digests.index(begun)] if begun in lines else digests
    ended = {lines[digest]["begun"]: lines[digest]["verdict"] for digest in before if "begun" in lines[digest]}
    ours = [d for d in before if lines[d]["patients"] == asked.patients and "begun" not in lines[d]]
    same = [d for d in ours if lines[d]["archive"] == asked.archive]
    return {
        "count": len(ours),
        "same_archive": len(same),
        "same_question": sum(lines[d]["question"] == asked.question for d in same),
        "verdicts": dict(sorted(Counter(ended.get(d, lines[d]["verdict"]) for d in ours).items())),
        "chain": before[-1] if before else None,
    }


def end_audit(path: Path, asked: Asked, begun: str, record: Mapping[str, Any], digest: str) -> None:
    """Write down how an audit ended.

    Args:
        path: The chain. asked: What was asked. begun: Digest of the line that it began with.
        record: audit.json. digest: Of its bytes.
    """
    told = {"verdict": record["verdict"], "profile": record["profile"], "seed": record["seed"], "audit": digest}
    _add(path, {**_of(asked), **told, "begun": begun})


def add_void(path: Path, patients: Any) -> None:
    """Note that the archive of these patients was found changed, so that its claim is void.

    Args:
        path: The chain. patients: The private side, as given to :meth:`Asked.of`.
    """
    _add(path, {**_of(Asked.of(patients, "changed", None)), "verdict": "void: the archive was changed"})


def _of(asked: Asked) -> dict[str, str]:
    return {"patients": asked.patients, "archive": asked.archive, "question": asked.question}


def _open(lines: Mapping[str, Mapping[str, Any]], asked: Asked) -> list[str]:
    """Audits of the same question that began and did not end."""
    ended = {line["begun"] for line in lines.values() if "begun" in line}
    began = {**_of(asked), "verdict": NOT_FINISHED}
    return [d for d, line in lines.items() if d not in ended and began.items() <= line.items() and "begun" not in line]


def _add(path: Path, values: Mapping[str, Any]) -> str:
    lines = _read(path)
    head = next(reversed(lines), _START)
    line = canonical_json({**values, "time": datetime.now(UTC).isoformat(timespec="seconds"), "previous": head})
    before = path.read_bytes() if path.is_file() else b""
    atomic_write_bytes(path, before + line + b"\n")
    return sha256(line).hexdigest()


def _read(path: Path) -> dict[str, dict[str, Any]]:
    """The lines by their digests, in order."""
    head, lines = _START, {}
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
        head = sha256(raw).hexdigest()
        lines[head] = line
    return lines

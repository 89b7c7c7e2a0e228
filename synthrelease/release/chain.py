"""A list of entries in which each names the digest of the one before: an edit or a removal shows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from synthrelease.errors import IntegrityError
from synthrelease.records.digests import digest_of
from synthrelease.records.files import canonical_json

START = "0" * 64
Entry = dict[str, Any]


def link(entries: Sequence[Entry], fields: Entry) -> Entry:
    """``fields`` as the next entry of the chain: with its number, the digest before it, and its own."""
    body = {**fields, "sequence": len(entries) + 1, "previous": entries[-1]["digest"] if entries else START}
    return {**body, "digest": digest_of(body)}


def withhold(entry: Entry) -> Entry:
    """An entry's place in the chain without what it says; the chain still verifies across it."""
    return {"sequence": entry["sequence"], "previous": entry["previous"], "digest": entry["digest"], "withheld": True}


def to_lines(entries: Sequence[Entry]) -> str:
    """JSON lines, one canonical line an entry."""
    return "".join(canonical_json(entry).decode() + "\n" for entry in entries)


def from_lines(text: str, name: str) -> list[Entry]:
    """Read and check a chain; the inverse of :func:`to_lines`.

    Raises:
        IntegrityError: A line is not an entry, an entry was edited, or one is missing.
    """
    entries: list[Entry] = []
    previous = START
    # split("\n"), not splitlines: a statement may hold other line separators of Unicode.
    for number, line in enumerate(text.removesuffix("\n").split("\n") if text else [], start=1):
        try:
            entry = json.loads(line)
            body = {key: value for key, value in entry.items() if key != "digest"}
            whole = entry.get("withheld") is True or digest_of(body) == entry["digest"]
            intact = whole and entry["previous"] == previous and entry["sequence"] == number
        except (ValueError, KeyError, AttributeError, TypeError):
            intact = False
        if not intact:
            raise IntegrityError(
                f"{name}: the chain is broken at line {number}",
                fix="Restore the file from a copy; never edit it by hand.",
            )
        entries.append(entry)
        previous = entry["digest"]
    return entries

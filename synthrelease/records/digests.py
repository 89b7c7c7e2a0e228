"""SHA-256 digests of values, files and folders: how one record points at another."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from synthrelease.records.files import canonical_json


def digest_of(value: Any) -> str:
    """SHA-256 of a JSON-like value in canonical form, 64 hex digits.

    >>> digest_of({"a": 1})[:16]
    '015abd7f5cc57a2d'
    """
    return hashlib.sha256(canonical_json(value)).hexdigest()


def digest_of_file(path: Path) -> str:
    """SHA-256 of a file's bytes, 64 hex digits, read in blocks."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def manifest_of(folder: Path) -> dict[str, str]:
    """Every file below ``folder`` by its relative POSIX path, with its SHA-256; sorted by path."""
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {p.relative_to(folder).as_posix(): digest_of_file(p) for p in files}

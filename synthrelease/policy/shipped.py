"""Policies and audit profiles that come with synthrelease, found by name."""

from __future__ import annotations

import sys
from pathlib import Path

from synthrelease.errors import UsageError

_HOMES = (Path(__file__).resolve().parents[2], Path(sys.prefix) / "share" / "synthrelease")


def shipped_file(kind: str, name: str) -> Path:
    """The file behind a shipped name, or behind a path.

    Args:
        kind: ``policies`` or ``audits``.
        name: A path to a file, or a shipped file's name with or without ``.yaml``.

    Raises:
        UsageError: Neither a file nor a shipped name; lists the shipped ones.
    """
    direct = Path(name)
    # A bare name is a shipped one: a file that lies about under the same name must not stand in for it.
    if direct.is_file() and (direct.suffix or len(direct.parts) > 1):
        return direct
    stem = direct.name.removesuffix(".yaml")
    for home in _HOMES:
        candidate = home / kind / f"{stem}.yaml"
        if candidate.is_file():
            return candidate
    known = sorted({path.stem for home in _HOMES for path in (home / kind).glob("*.yaml")})
    raise UsageError(
        f"no file '{name}', and nothing of that name among the shipped {kind}",
        fix=f"Shipped: {', '.join(known) or 'none'}.",
    )


def is_shipped(kind: str, path: Path) -> bool:
    """Whether a file is one of those that came with the package, byte for byte."""
    copies = [home / kind / path.name for home in _HOMES]
    return any(copy.is_file() and copy.read_bytes() == path.read_bytes() for copy in copies)

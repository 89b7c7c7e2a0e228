"""What a figure follows from, told by a digest: another one means that it was measured by another code."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path


def matching(home: Path, patterns: Iterable[str]) -> list[Path]:
    """Python files and weights under ``home``, pattern after pattern, each one's in order."""
    found = (path for pattern in patterns for path in sorted(home.glob(pattern)))
    return [path for path in found if path.suffix in (".py", ".safetensors")]


def digest_of(home: Path, files: Iterable[Path], settings: str = "") -> str:
    """Of settings, and of names under ``home`` and contents of files in their order; 12 hexadecimal digits."""
    whole = hashlib.sha256(settings.encode())
    for path in files:
        whole.update(path.relative_to(home).as_posix().encode() + b"\0" + path.read_bytes())
    return whole.hexdigest()[:12]

"""What a figure follows from, told by a digest: another one means that it was measured by another code."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path


def digest_of(home: Path, patterns: Iterable[str], settings: str) -> str:
    """Of settings and of the Python files and weights under ``home`` that match; 12 hexadecimal digits."""
    whole = hashlib.sha256(settings.encode())
    for path in (path for pattern in patterns for path in sorted(home.glob(pattern))):
        if path.suffix in (".py", ".safetensors"):
            whole.update(path.relative_to(home).as_posix().encode() + b"\0" + path.read_bytes())
    return whole.hexdigest()[:12]

"""What happened during a run, for the people in the house: JSON lines, appended.

Losses, gradient norms and shares of clipped patients are computed on real patients and are not covered by the
guarantee, so every line says who may see it, and lines are internal unless they say otherwise.
"""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from synthrelease.errors import UnsuitableData
from synthrelease.records.files import canonical_json


class Visibility(StrEnum):
    """Who may see a line."""

    INTERNAL = "internal"
    RELEASE = "release"


class EventLog:
    """Appends to ``events.jsonl``.

    Args:
        path: The file; made on the first line.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, event: str, *, visibility: Visibility = Visibility.INTERNAL, **facts: Any) -> None:
        """Append one line. Numbers that are not finite are written as null.

        Raises:
            UnsuitableData: The disk refuses.
        """
        clean = {k: None if isinstance(v, float) and not abs(v) < float("inf") else v for k, v in facts.items()}
        at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        try:
            with self._path.open("ab") as stream:
                stream.write(
                    canonical_json({"at": at, "event": event, "visibility": visibility.value, **clean}) + b"\n"
                )
        except OSError as error:
            raise UnsuitableData(
                f"cannot write {self._path.name}: {error.strerror}", fix="Free space, then resume the run."
            ) from error

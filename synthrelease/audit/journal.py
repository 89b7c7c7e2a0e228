"""What an audit that was killed had measured already: a private file a check, good for the same question only.

The key of a file is the digest of everything that a measurement depends on: pixels, masks, labels, patients, claims and
names of what is judged, seed, profile, versions, and the code of the checks itself. A file with another key is stale and
is ignored; so is one that cannot be read. The folder is removed when the audit is complete.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

import synthrelease
from synthrelease.audit.case import AuditCase
from synthrelease.audit.images import ImageSet
from synthrelease.audit.measurement import Excess, Measurement
from synthrelease.records.digests import digest_of, digest_of_file
from synthrelease.records.files import canonical_json
from synthrelease.records.findings import Baseline, Direction, Power, Statistic
from synthrelease.records.private_files import write_private


@dataclass(frozen=True)
class Measured:
    """A measurement and how long it took."""

    measurement: Measurement
    seconds: float


@dataclass(frozen=True)
class Journal:
    """Measurements on disk.

    Attributes:
        folder: Private; made when the first measurement is written.
        key: Of the audit that they belong to.
    """

    folder: Path
    key: str

    def read(self, check: str) -> Measured | None:
        """What was measured before; None: nothing, or nothing that fits this audit."""
        try:
            value = json.loads((self.folder / f"{check}.json").read_bytes())
            if value["key"] != self.key:
                return None
            return Measured(measurement_of(value["measurement"]), float(value["seconds"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def write(self, check: str, measured: Measured) -> None:
        """Keep a measurement.

        Raises:
            UnsuitableData: The disk refuses.
        """
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        value = {"key": self.key, "seconds": measured.seconds, "measurement": plain(measured.measurement)}
        write_private(self.folder / f"{check}.json", canonical_json(value))

    def remove(self) -> None:
        """The audit is complete: nothing needs to be kept."""
        shutil.rmtree(self.folder, ignore_errors=True)


def plain(measurement: Measurement) -> dict[str, Any]:
    """A measurement as JSON values.

    Raises:
        ValueError, TypeError: It holds what JSON has no word for (NaN, arrays): a bug of its check.
    """
    value: dict[str, Any] = json.loads(json.dumps(asdict(measurement), allow_nan=False))
    return value


def measurement_of(value: Mapping[str, Any]) -> Measurement:
    """The measurement that :func:`plain` wrote; equal to the one that came back from JSON before.

    Raises:
        KeyError, TypeError, ValueError: It is none.
    """
    statistic = {**value["statistic"], "direction": Direction(value["statistic"]["direction"])}
    parts = {
        "statistic": Statistic(**statistic),
        "baseline": Baseline(**value["baseline"]),
        "power": Power(**value["power"]),
        "excess": Excess(**value["excess"]) if value["excess"] is not None else None,
        "controls_missed": tuple(value["controls_missed"]),
    }
    return Measurement(**{**value, **parts})


def key_of(case: AuditCase, seed: int, profile: Mapping[str, Any], versions: Mapping[str, str], inputs: Any) -> str:
    """Digest of everything that the measurements of an audit depend on.

    Args:
        case: What is judged.
        seed: Of the audit. profile: The profile, as plain values. versions: Of the libraries.
        inputs: Further JSON-like values that identify what is judged (digests of files).
    """
    digest = hashlib.sha256()
    for side in (case.train, case.holdout, case.synthetic):
        _add(digest, side)
    claims = {name: getattr(case, name, None) for name in ("classes", "segments", "claimed_epsilon", "claimed_delta")}
    scored = getattr(case, "scorer", None) is not None
    return digest_of(
        {
            "images": digest.hexdigest(),
            "claims": {**claims, "scored": scored, "closed_world": case.expectation is not None},
            "seed": seed,
            "profile": profile,
            "versions": versions,
            "inputs": inputs,
            "code": _code(),
        }
    )


def _add(digest: Any, side: ImageSet | None) -> None:
    if side is None:
        digest.update(b"none")
        return
    for array in (side.images, side.masks, side.labels, side.patient, side.has_mask):
        digest.update(repr((array.shape, array.dtype.str)).encode())
        digest.update(np.ascontiguousarray(array).data)
    words = {name: [str(word) for word in column] for name, column in sorted(side.attributes.items())}
    # A file name need not be valid Unicode.
    digest.update(repr((side.digests, side.ids, words)).encode("utf-8", "surrogatepass"))


@cache
def _code() -> str:
    """Digest of the modules that measure: a check that was changed measures anew, whatever the version says."""
    folder = Path(synthrelease.__path__[0])
    return digest_of([digest_of_file(path) for path in sorted(folder.rglob("*.py"))])

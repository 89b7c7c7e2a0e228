"""A finished run without privacy, made by hand: records, and an archive of any number of files of the real sizes."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from synthrelease.policy.loader import policy_digest, policy_from
from synthrelease.records.digests import digest_of_file
from synthrelease.records.files import atomic_write_json, atomic_write_text
from synthrelease.records.manifest import MANIFEST, ManifestWriter
from synthrelease.release import approve

NOW = datetime(2026, 3, 1, tzinfo=UTC)
IMAGE_BYTES, MASK_BYTES = 34_816, 13_940
"""Of a 128 x 128 radiograph of 12 bits and of its segmentation with four segments."""

_POLICY = {
    "schema": 1,
    "purpose": "Time a pack",
    "sharing": {"tier": "internal"},
    "roles": {"operator": "Olga Operator", "custodian": "Carl Custodian"},
    "cohort": {"name": "timed", "source": "folder", "classes": ["normal"]},
    "privacy": {"mode": "none"},
    "generator": {"name": "moments"},
    "release": {"name": "timed"},
}


def write_run(folder: Path, files: int, sizes: tuple[int, int] = (IMAGE_BYTES, MASK_BYTES)) -> Path:
    """A run that passed and that two people approved.

    Args:
        folder: Of the run; made here.
        files: In the archive: pairs of image and masks, each pair a patient.
        sizes: Bytes of an image and of its masks; they are random, which is all that a digest sees of them.
    """
    policy = policy_from(_POLICY)
    atomic_write_json(folder / "policy.resolved.json", _POLICY)
    privacy = {"mode": "none", "unit": "patient", "epsilon": None, "delta": None, "mechanisms": []}
    training = {"run": folder.name, "privacy": privacy, "parents": {"policy": policy_digest(policy)}}
    atomic_write_json(folder / "training.json", training)
    manifest, total = _write_archive(folder / "archive", files, sizes)
    record = {
        "schema": "synthrelease.archive/2",
        "archive_digest": manifest,
        "manifest": {"sha256": manifest, "files": files, "bytes": total},
        "images": files // 2,
        "parents": {"training": digest_of_file(folder / "training.json")},
    }
    atomic_write_json(folder / "archive.json", record)
    finding = {"id": "timed", "question": "", "criterion": "membership", "verdict": "pass", "required": True}
    digests = {
        "archive": manifest,
        "training": digest_of_file(folder / "training.json"),
        "policy": policy_digest(policy),
    }
    atomic_write_json(folder / "audit.json", {"verdict": "pass", "findings": [finding], "digests": digests})
    head = '<meta name="synthrelease-edition" content="external">'
    head += f'<meta name="synthrelease-audit" content="{digest_of_file(folder / "audit.json")}">'
    atomic_write_text(folder / "report-external.html", f"<html><head>{head}</head></html>")
    for name in ("Ann Approver", "Bob Approver"):
        approve(folder, name, "privacy officer", "Timed.", NOW)
    return folder


def _write_archive(folder: Path, files: int, sizes: tuple[int, int]) -> tuple[str, int]:
    """Digest of the manifest, and bytes of all files."""
    rng = np.random.default_rng(0)
    total = 0
    folder.mkdir()
    with (folder / MANIFEST).open("wb") as stream:
        writer = ManifestWriter(stream)
        for number in range(files):
            place = f"DICOM/P{number // 2 + 1:07d}/S0000001"
            name, size = (("I0000001", sizes[0]), ("M0000001", sizes[1]))[number % 2]
            content = rng.bytes(size)
            (folder / place).mkdir(parents=True, exist_ok=True)
            (folder / place / name).write_bytes(content)
            writer.add(f"{place}/{name}", hashlib.sha256(content).hexdigest())
            total += size
    return writer.digest, total

"""UIDs of a synthetic archive: a function of the release alone.

The same release gives the same UIDs in every run, and no UID of a private image is ever an input, so nobody can
find a source image by guessing which UID a synthetic one came from.
"""

from __future__ import annotations

import functools
import hashlib
from enum import StrEnum

from synthrelease.records.files import canonical_json

_SMALLEST_TOP_BYTE = 0x4C
"""From 0x4C << 120 on, a 128-bit number has 39 decimal digits, so that every UID has 44 characters."""


class UidKind(StrEnum):
    """What a UID names. Every level has its own kind, so two levels never share a UID."""

    STUDY = "study"
    IMAGE_SERIES = "image series"
    IMAGE = "image"
    FRAME_OF_REFERENCE = "frame of reference"
    MASK_SERIES = "mask series"
    MASK = "mask"
    DIMENSIONS = "dimensions"
    REPORT_SERIES = "report series"
    REPORT = "report"
    TRACKING = "tracking"


def release_uid(release_name: str, kind: UidKind, index: int, *, part: int = 0, edition: str = "") -> str:
    """The UID of one object of a release: ``2.25.`` and a UUID made from a SHA-256 digest, as a decimal number.

    Args:
        release_name: The release; another name gives wholly other UIDs.
        kind: What the UID names.
        index: Which object of that kind, from 0: a patient of a study, an image of everything else.
        part: Which of the image's objects of that kind, from 0; for masks in several files.
        edition: Tells apart two archives that carry the same release name, e.g. the digest of the checkpoint.

    Returns:
        44 characters, always.

    Raises:
        ValueError: A negative index or part.

    Source: PS3.5, section B.2 (UUID derived UIDs); RFC 9562, version 8 (vendor-specific).
    """
    if index < 0 or part < 0:
        raise ValueError(f"a UID index cannot be negative: {index}, {part}")
    digest = _begun(release_name, edition, kind.value).copy()
    digest.update(b"%d,%d]" % (index, part) if part else b"%d]" % index)
    number = bytearray(digest.digest()[:16])
    if number[0] < _SMALLEST_TOP_BYTE:
        number[0] |= 0x80
    number[6] = (number[6] & 0x0F) | 0x80  # version 8
    number[8] = (number[8] & 0x3F) | 0x80  # variant of RFC 9562
    return f"2.25.{int.from_bytes(number, 'big')}"


@functools.lru_cache(maxsize=256)
def _begun(release_name: str, edition: str, kind: str) -> hashlib._Hash:
    """The digest of what all UIDs of a kind have in common; JSON quotes texts, so no two inputs give the same bytes."""
    start = canonical_json(["synthrelease uid 1", release_name, edition, kind])
    return hashlib.sha256(start.removesuffix(b"]") + b",")

"""Who trains and who is held out: drawn once, by patient, and recorded so that it can be drawn again."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from synthrelease.cohort.types import BoolArray
from synthrelease.errors import PolicyError, UnsuitableData


def _fresh_seed() -> str:
    return secrets.token_hex(16)


@dataclass(frozen=True)
class SplitDraw:
    """How the holdout is drawn.

    Attributes:
        fraction: Share of patients held out, in (0, 1).
        seed: Hexadecimal; from the operating system's randomness unless an earlier draw is repeated.
    """

    fraction: float
    seed: str = field(default_factory=_fresh_seed)


def draw_split(patients: Sequence[str], fraction: float, seed: str) -> BoolArray:
    """Draw the holdout: one independent coin a patient.

    A patient's side follows from a keyed hash of their own id and from nothing else. Were the share exact, adding one
    patient could push another across the border, and two neighbouring cohorts would differ in two training patients:
    the privacy claim counts one.

    Args:
        patients: P different patient ids.
        fraction: Chance of each to be held out, in (0, 1).
        seed: Hexadecimal, at most 64 bytes.

    Returns:
        (P,) bool, True for held out.

    Raises:
        PolicyError: The fraction or the seed cannot be used.
        UnsuitableData: All patients fell on one side.
    """
    if not 0 < fraction < 1:
        raise PolicyError(f"a holdout fraction of {fraction} cannot be drawn", fix="Choose one between 0 and 1.")
    try:
        key = bytes.fromhex(seed)
    except ValueError:
        key = b""
    if not 1 <= len(key) <= 64:
        raise PolicyError("the seed of the split is not hexadecimal", fix="Give 1 to 64 bytes as hex digits.")
    border = round(fraction * 2**64)
    holdout = np.array([_place(key, patient) < border for patient in patients], dtype=np.bool_)
    if holdout.all() or not holdout.any():
        raise UnsuitableData(
            f"{len(patients)} patients cannot be split into training and holdout", fix="Give more patients."
        )
    return holdout


def set_aside(holdout: BoolArray, ties: Iterable[Sequence[int]]) -> BoolArray:
    """Held-out patients who share a byte-equal image with a training patient: of no use as a control.

    Such an image on both sides would make the control of every membership test a member. The training side is never
    changed for it: who trains must not depend on who else is there.

    Args:
        holdout: (P,) bool from :func:`draw_split`.
        ties: For each image that several patients have, their indices.

    Returns:
        (P,) bool, True for held-out patients who are left out of the audit.
    """
    aside = np.zeros_like(holdout)
    for patients in ties:
        tied = np.asarray(patients)
        if not holdout[tied].all():
            aside[tied] |= holdout[tied]
    return aside


def _place(key: bytes, patient: str) -> int:
    """Where a patient falls in [0, 2^64)."""
    digest = hashlib.blake2b(patient.encode("utf-8", "surrogateescape"), key=key, digest_size=8).digest()
    return int.from_bytes(digest, "big")

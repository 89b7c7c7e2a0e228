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


def draw_split(
    patients: Sequence[str], fraction: float, seed: str, *, together: Iterable[tuple[int, int]] = ()
) -> BoolArray:
    """Draw the holdout.

    Patients are ranked by a keyed hash of their ids, so the draw depends on the seed and on who is in the cohort, and
    not on the order in which files were read. Patients tied together (they share a byte-equal image) fall on one
    side: an image on both sides would make the control of every membership test a member.

    Args:
        patients: P different patient ids.
        fraction: Share to hold out, in (0, 1).
        seed: Hexadecimal, at most 64 bytes.
        together: Pairs of patient indices that must fall on one side.

    Returns:
        (P,) bool, True for held out. As near to `fraction` as the ties allow; at least one patient on each side.

    Raises:
        PolicyError: The fraction or the seed cannot be used.
        UnsuitableData: Fewer than two patients, or all of them tied together.
    """
    if not 0 < fraction < 1:
        raise PolicyError(f"a holdout fraction of {fraction} cannot be drawn", fix="Choose one between 0 and 1.")
    try:
        key = bytes.fromhex(seed)
    except ValueError:
        key = b""
    if not 1 <= len(key) <= 64:
        raise PolicyError("the seed of the split is not hexadecimal", fix="Give 1 to 64 bytes as hex digits.")
    groups = _groups(len(patients), together)
    if len(groups) < 2:
        raise UnsuitableData(
            f"{len(patients)} patients cannot be split into training and holdout",
            fix="Give more patients; patients that share a byte-equal image cannot be told apart.",
        )
    ranked = sorted(groups, key=lambda group: min(_rank(key, patients[index]) for index in group))
    target = min(max(round(fraction * len(patients)), 1), len(patients) - 1)
    holdout = np.zeros(len(patients), dtype=np.bool_)
    held = 0
    for group in ranked:
        if abs(held + len(group) - target) < abs(held - target) and held + len(group) < len(patients):
            holdout[group] = True
            held += len(group)
    if held == 0:
        holdout[min(ranked, key=len)] = True
    return holdout


def _rank(key: bytes, patient: str) -> bytes:
    return hashlib.blake2b(patient.encode("utf-8", "surrogateescape"), key=key).digest()


def _groups(patients: int, together: Iterable[tuple[int, int]]) -> list[list[int]]:
    """Connected patients (union-find with path halving)."""
    parent = list(range(patients))

    def root(index: int) -> int:
        while parent[index] != index:
            parent[index] = parent[parent[index]]
            index = parent[index]
        return index

    for one, other in together:
        parent[root(one)] = root(other)
    groups: dict[int, list[int]] = {}
    for index in range(patients):
        groups.setdefault(root(index), []).append(index)
    return list(groups.values())

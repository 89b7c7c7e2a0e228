"""The privacy claim in one sentence, for the release record, RELEASE.md and ``verify``; in full it is the statement."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from synthrelease.release.statement.words import up


def has_claim(training: Mapping[str, Any]) -> bool:
    """Whether training states a bound: a mode other than none, and a finite epsilon."""
    privacy = training.get("privacy") or {}
    return privacy.get("mode") != "none" and privacy.get("epsilon") is not None


def claim_in_words(training: Mapping[str, Any]) -> str:
    """The claim in one sentence; epsilon is rounded up."""
    if not has_claim(training):
        return "No formal guarantee: the generator was trained without differential privacy."
    privacy = training["privacy"]
    return (
        f"Differentially private with epsilon {up(float(privacy['epsilon']), 2)} at delta {privacy['delta']:g} for the "
        f"addition or removal of all images, masks, labels and header fields of any one {privacy.get('unit', 'patient')}."
    )

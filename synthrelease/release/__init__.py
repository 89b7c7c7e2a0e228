"""Signing, sealing and verifying a release: records and files only, no deep-learning stack."""

from __future__ import annotations

from synthrelease.release.approvals import Approval, Event, Standing, approve, read_approvals, refuse
from synthrelease.release.pack import ReleaseRecord
from synthrelease.release.sealing import seal
from synthrelease.release.verifying import Signature, VerifyResult, verify

__all__ = [
    "Approval",
    "Event",
    "ReleaseRecord",
    "Signature",
    "Standing",
    "VerifyResult",
    "approve",
    "read_approvals",
    "refuse",
    "seal",
    "verify",
]

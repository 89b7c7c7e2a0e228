"""What is signed: an in-toto Statement about a pack, made from its own records.

The statement names the digests of release.json and of both manifests, and repeats what the records in evidence/ say of
the claim, the audit and the approvals. It holds nothing of its own: a recipient makes it again from the pack and compares bytes.

Source: in-toto Attestation Framework, Statement v1.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from synthrelease.errors import IntegrityError
from synthrelease.records.files import canonical_json
from synthrelease.release.approvals import Approval
from synthrelease.release.bag import ASK_AGAIN, Payload
from synthrelease.release.dates import stamp
from synthrelease.release.envelope import ENVELOPE, Envelope
from synthrelease.release.evidence_reading import Evidence
from synthrelease.release.pack import SUBJECTS, ReleaseRecord

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "urn:synthrelease:release:v1"
"""A name, not an address: nothing is fetched."""


def statement_bytes(subjects: Mapping[str, str], predicate: Mapping[str, Any]) -> bytes:
    """The one byte string of a statement.

    Args:
        subjects: SHA-256 by file name, of exactly the files that are signed.
        predicate: See :func:`predicate_of`.
    """
    return canonical_json(
        {
            "_type": STATEMENT_TYPE,
            "subject": [{"name": name, "digest": {"sha256": subjects[name]}} for name in SUBJECTS],
            "predicateType": PREDICATE_TYPE,
            "predicate": dict(predicate),
        }
    )


def predicate_of(
    record: ReleaseRecord,
    payload: Payload,
    training: Mapping[str, Any],
    audit: Mapping[str, Any],
    approvals: Sequence[Approval],
) -> dict[str, Any]:
    """What is claimed of the pack.

    Args:
        record: release.json.
        payload: The archive, as its manifest and files add up.
        training: The claim, from evidence/training.json.
        audit: Verdicts, from evidence/audit.json.
        approvals: Those that count, in the order in which they were given.

    Raises:
        KeyError, TypeError: A record is not what it should be.
    """
    privacy = training["privacy"]
    return {
        "release": {
            "name": record.name,
            "releasedOn": record.released_on,
            "expiresOn": record.expires_on,
            "rootDigest": record.rooted().root_digest,
            "sealedBy": record.software,
        },
        "privacy": {
            **{key: privacy.get(key) for key in ("mode", "unit", "adjacency", "epsilon", "delta", "accountant")},
            "claim": record.claim,
        },
        "audit": {
            "verdict": audit["verdict"],
            "fidelity": audit.get("fidelity"),
            "findings": [
                {key: finding[key] for key in ("id", "criterion", "required", "verdict")}
                for finding in audit["findings"]
            ],
        },
        "approvals": [
            {
                "by": approval.by,
                "role": approval.role,
                "approvedOn": stamp(approval.time),
                "expiresOn": stamp(approval.expires_on) if approval.expires_on else None,
                "head": approval.head,
            }
            for approval in approvals
        ],
        "archive": {
            "images": record.images,
            "files": payload.files,
            "bytes": payload.bytes,
            "manifest": payload.manifest,
        },
        "records": dict(record.digests),
    }


def require_subjects(envelope: Envelope, subjects: Mapping[str, str]) -> None:
    """Let only a statement go on that names the files of this pack.

    Raises:
        IntegrityError: It is no statement, or names other digests; tells of which files.
    """
    try:
        statement = json.loads(envelope.payload)
        kind = (statement["_type"], statement["predicateType"])
        named = {subject["name"]: subject["digest"]["sha256"] for subject in statement["subject"]}
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise IntegrityError(f"{ENVELOPE} holds no statement about a release", fix=ASK_AGAIN) from error
    if kind != (STATEMENT_TYPE, PREDICATE_TYPE):
        raise IntegrityError(f"{ENVELOPE} holds a statement of another kind", fix=ASK_AGAIN)
    wrong = [name for name in SUBJECTS if named.get(name) != subjects[name]]
    if wrong:
        raise IntegrityError(f"not what the statement in {ENVELOPE} names: {', '.join(wrong)}", fix=ASK_AGAIN)


def require_same_statement(
    envelope: Envelope, subjects: Mapping[str, str], record: ReleaseRecord, evidence: Evidence
) -> None:
    """Let only the statement go on that this pack's own records make, byte for byte.

    Raises:
        IntegrityError: It says something else.
    """
    try:
        predicate = predicate_of(record, evidence.payload, evidence.training, evidence.audit, evidence.approvals)
        same = statement_bytes(subjects, predicate) == envelope.payload
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise IntegrityError("a record in evidence/ is not one of synthrelease", fix=ASK_AGAIN) from error
    if not same:
        raise IntegrityError(
            f"the statement in {ENVELOPE} says something else than the records of the pack", fix=ASK_AGAIN
        )

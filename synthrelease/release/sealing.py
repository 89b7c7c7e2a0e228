"""Sealing: a run that passed and was signed becomes a folder that verifies by itself.

    refuse unless: audit passed, two approvals hold, their words say nothing private, the archive is the one signed
    pages, evidence, small files of the archive    -> looked through for anything that must not leave
    DICOM objects                                  -> copied, compared
    manifests, release.json, signature             -> verified as a recipient would, flushed; the folder takes its name

The pack is written under a temporary name and appears whole or not at all. It holds the synthetic archive, the pages
that a recipient reads, and extracts of the records; never a checkpoint, the internal report, anything of the
cohort, a path, or the name of a host.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from synthrelease.errors import IntegrityError, UsageError
from synthrelease.privacy.export import export_problems
from synthrelease.privacy.strict import assert_strict
from synthrelease.records.digests import digest_of_file, manifest_of
from synthrelease.records.files import (
    PARTIAL,
    atomic_folder,
    atomic_write_bytes,
    atomic_write_text,
    read_json,
)
from synthrelease.records.ledger import Ledger
from synthrelease.release import bag, extracts
from synthrelease.release.approvals import Approval, enough_valid_approvals
from synthrelease.release.approvals import read_approvals as approvals_of
from synthrelease.release.attestation import predicate_of, statement_bytes
from synthrelease.release.bag import PAYLOAD_MANIFEST, TAG_MANIFEST
from synthrelease.release.claim import claim_in_words
from synthrelease.release.datasheet import datasheet_page
from synthrelease.release.dates import stamp
from synthrelease.release.envelope import ENVELOPE, envelope_bytes, signed
from synthrelease.release.evidence import private_texts, require_no_private_text, write_evidence
from synthrelease.release.keys import key_id
from synthrelease.release.pack import RELEASE, ReleaseRecord, release_bytes, software
from synthrelease.release.pages import release_page, terms_page
from synthrelease.release.payload import Archive
from synthrelease.release.run_records import (
    AUDIT,
    EXTERNAL_REPORT,
    POLICY,
    TRAINING,
    RunRecords,
    read_run,
    require_chain,
    require_passing_audit,
)
from synthrelease.release.statement.facts import Statement
from synthrelease.release.statement.stating import state
from synthrelease.release.statement.text import statement_text
from synthrelease.release.typed_texts import Comparison, require_no_private_value
from synthrelease.release.verifying import verify

OnReleased = Callable[[ReleaseRecord], None]
STATEMENT = "STATEMENT.txt"


def seal(
    run_folder: Path,
    target: Path,
    now: datetime,
    *,
    key: Ed25519PrivateKey | None,
    ledger: Ledger | None = None,
    on_released: OnReleased | None = None,
) -> ReleaseRecord:
    """Write the release pack, if and only if every rule holds.

    Args:
        run_folder: The run; read only.
        target: The pack's folder; must not exist.
        now: The time of release, with its zone.
        key: Signs the pack. None: it is not signed, and says so on its first page.
        ledger: Of the cohort; the statement in the pack tells what all its runs cost together. None: it tells that no
            ledger was at hand.
        on_released: Called once with the record when the pack is complete but not yet visible, to enter the release
            into the ledger; when it raises, there is no pack.

    Returns:
        The record; its ``root_digest`` belongs into the ticket, the minutes, and the mail to the recipient.

    Raises:
        AuditFailed, AuditInconclusive: The audit did not pass.
        ApprovalError: Fewer than two valid approvals by different people, or one says what a private header says.
        IntegrityError: A record, the archive or the report is not what was judged, or the claim does not hold.
        UsageError: The target exists.
        UnsuitableData: The disk is full or the place cannot be written.
    """
    _require_free(target)
    run = read_run(run_folder)
    require_passing_audit(run.audit, "release")
    require_chain(run)
    _require_external_report(run)
    approvals = enough_valid_approvals(run.policy, approvals_of(run_folder), run.digests, now)
    typed = require_no_private_value(run_folder, run.policy, approvals)
    archive = Archive(run_folder / "archive", run.archive)
    statement = state(run_folder, ledger, now, releasing=True)
    _sweep(target)
    with atomic_folder(target) as pack:
        (pack / bag.DATA).mkdir()
        _write_pages(run, approvals, typed, statement, pack, now, key)
        size = archive.copy(pack, objects=False)
        require_no_private_text(run, pack)
        assert_strict(export_problems(pack))
        pages = manifest_of(pack)  # so far; the objects are not there yet
        payload = archive.payload(size + archive.copy(pack, objects=True))
        record = _close(run, approvals, archive, payload, pages, pack, now, key)
        # What a recipient would do, before anybody can see the pack: none appears that does not verify.
        verify(pack, record.root_digest, now, None if key is None else key.public_key())
        # One flush for all files: the rename must not reach the disk before what it names.
        os.sync()
        _require_free(target)
        if on_released is not None:
            on_released(record)
        _require_free(target)  # once more: it may have taken long to enter the release
    return record


def _require_free(target: Path) -> None:
    if os.path.lexists(target):
        raise UsageError(f"{target.name} exists already; a release is never overwritten", fix="Name another --to.")


def _sweep(target: Path) -> None:
    """Remove what killed sealings of this very pack left."""
    name = re.compile(re.escape(f"{PARTIAL}{target.name}-") + "[0-9a-f]{8}")
    for leftover in target.parent.glob(f"{PARTIAL}*"):
        if name.fullmatch(leftover.name):
            shutil.rmtree(leftover, ignore_errors=True)


def _write_pages(
    run: RunRecords,
    approvals: tuple[Approval, ...],
    typed: Comparison,
    statement: Statement,
    pack: Path,
    now: datetime,
    key: Ed25519PrivateKey | None,
) -> None:
    """What a recipient reads, and the evidence."""
    expires_on = _end_of(approvals)
    signer = None if key is None else key_id(key.public_key())
    names = tuple(approval.by for approval in approvals)
    claim = claim_in_words(run.training)
    audit = extracts.audit_extract(run.audit, run.digests.audit, private_texts(run))
    pages = {
        "RELEASE.md": release_page(run.policy, run.archive, run.audit, claim, names, now, expires_on, signer),
        "TERMS.md": terms_page(run.policy, expires_on),
        "DATASHEET.md": datasheet_page(run.policy, run.archive, audit, statement, now, expires_on),
        STATEMENT: statement_text(statement),
        bag.DECLARATION_FILE: bag.DECLARATION,
    }
    for name, text in pages.items():
        atomic_write_text(pack / name, text)
    write_evidence(run, approvals, typed, statement, audit, pack / "evidence")


def _close(
    run: RunRecords,
    approvals: tuple[Approval, ...],
    archive: Archive,
    payload: bag.Payload,
    found: dict[str, str],
    pack: Path,
    now: datetime,
    key: Ed25519PrivateKey | None,
) -> ReleaseRecord:
    """The manifests over everything, release.json over the manifests, the signature over all three."""
    info = bag.info_text(run.policy.release.name, stamp(now), software(), payload)
    atomic_write_text(pack / bag.INFO_FILE, info)
    manifest = archive.write_manifest(pack)
    pages = {name: digest for name, digest in found.items() if not name.startswith(bag.DATA)}
    pages |= {bag.INFO_FILE: hashlib.sha256(info.encode()).hexdigest(), PAYLOAD_MANIFEST: manifest}
    tags = "".join(f"{pages[name]}  {name}\n" for name in sorted(pages))
    atomic_write_text(pack / TAG_MANIFEST, tags)
    record = ReleaseRecord(
        name=run.policy.release.name,
        released_on=stamp(now),
        expires_on=stamp(_end_of(approvals)),
        approvers=tuple(approval.by for approval in approvals),
        digests={**run.digests.to_json(), "policy": digest_of_file(run.folder / POLICY)},
        images=int(run.archive.get("images", 0)),
        files=payload.files + len(pages),
        claim=claim_in_words(run.training),
        manifest_digest=manifest,
        tag_manifest_digest=hashlib.sha256(tags.encode()).hexdigest(),
        key_id=None if key is None else key_id(key.public_key()),
        software=software(),
    ).rooted()
    content = release_bytes(record)
    atomic_write_bytes(pack / RELEASE, content)
    if key is not None:
        subjects = {
            RELEASE: hashlib.sha256(content).hexdigest(),
            PAYLOAD_MANIFEST: record.manifest_digest,
            TAG_MANIFEST: record.tag_manifest_digest,
        }
        training, audit = (read_json(pack / "evidence" / name) for name in (TRAINING, AUDIT))
        predicate = predicate_of(record, payload, training, audit, approvals)
        atomic_write_bytes(pack / ENVELOPE, envelope_bytes(signed(statement_bytes(subjects, predicate), key)))
    return record


def _end_of(approvals: tuple[Approval, ...]) -> datetime:
    return min(approval.expires_on for approval in approvals if approval.expires_on)


def _require_external_report(run: RunRecords) -> None:
    path = run.folder / EXTERNAL_REPORT
    if not path.is_file():
        raise IntegrityError(f"{EXTERNAL_REPORT} is missing", fix="Run `synthrelease audit`, which writes it.")
    head = path.read_text(encoding="utf-8")[:4096]
    if '<meta name="synthrelease-edition" content="external">' not in head:
        raise IntegrityError(
            f"{EXTERNAL_REPORT} is not an external edition", fix="Render it again; the internal edition never leaves."
        )
    if f'<meta name="synthrelease-audit" content="{run.digests.audit}">' not in head:
        raise IntegrityError(f"{EXTERNAL_REPORT} shows another audit", fix="Run `synthrelease audit` again.")

"""Sealing: a run that passed and was signed becomes a folder that verifies by itself.

The pack is written under a temporary name and appears whole or not at all. It holds the synthetic archive, the pages
that a recipient reads, and extracts of the records; never a checkpoint, the internal report, anything of the
cohort, a path, or the name of a host.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

from synthrelease.errors import IntegrityError, UsageError
from synthrelease.privacy.export import export_problems
from synthrelease.privacy.strict import assert_strict
from synthrelease.records.digests import digest_of_file, manifest_of
from synthrelease.records.files import (
    PARTIAL,
    atomic_folder,
    atomic_write_bytes,
    atomic_write_json,
    atomic_write_text,
    read_json,
)
from synthrelease.records.ledger import Ledger
from synthrelease.release import extracts
from synthrelease.release.approvals import APPROVALS, Approval, enough_valid_approvals, read_entries
from synthrelease.release.approvals import read_approvals as approvals_of
from synthrelease.release.chain import to_lines, withhold
from synthrelease.release.claim import claim_in_words
from synthrelease.release.dates import stamp
from synthrelease.release.pack import MANIFEST, RELEASE, ReleaseRecord, manifest_text, release_bytes
from synthrelease.release.pages import fitness, release_page, terms_page
from synthrelease.release.run_records import (
    ARCHIVE,
    AUDIT,
    EXTERNAL_REPORT,
    PLAN,
    POLICY,
    TRAINING,
    RunRecords,
    read_run,
    require_chain,
    require_passing_audit,
)
from synthrelease.release.statement.facts import Statement
from synthrelease.release.statement.registry import registry_yaml
from synthrelease.release.statement.stating import state
from synthrelease.release.statement.text import statement_text

OnReleased = Callable[[ReleaseRecord], None]
STATEMENT = "STATEMENT.txt"
CLAIM = "dp_claim.json"
REGISTRY = "dp_registry.yaml"
_WORKERS = 4


def seal(
    run_folder: Path,
    target: Path,
    now: datetime,
    *,
    ledger: Ledger | None = None,
    on_released: OnReleased | None = None,
) -> ReleaseRecord:
    """Write the release pack, if and only if every rule holds.

    Args:
        run_folder: The run; it is read only.
        target: The pack's folder; must not exist.
        now: The time of release, with its zone.
        ledger: Of the cohort; the statement in the pack tells what all its runs cost together. None: it tells that no
            ledger was at hand.
        on_released: Called once with the record when the pack is complete but not yet visible, to enter the release
            into the ledger; when it raises, there is no pack.

    Returns:
        The record; its ``root_digest`` belongs into the ticket, the minutes, and the mail to the recipient.

    Raises:
        AuditFailed, AuditInconclusive: The audit did not pass.
        ApprovalError: Fewer than two valid approvals by different people.
        IntegrityError: A record, the archive or the report is not what was judged, or the claim does not hold.
        UsageError: The target exists.
        UnsuitableData: The disk is full or the place cannot be written.
    """
    if target.exists():
        raise UsageError(f"{target.name} exists already; a release is never overwritten", fix="Name another --out.")
    run = read_run(run_folder)
    require_passing_audit(run.audit, "release")
    require_chain(run)
    _require_external_report(run)
    approvals = enough_valid_approvals(run.policy, approvals_of(run_folder), run.digests, now)
    _require_whole_archive(run)
    statement = state(run_folder, ledger, now, releasing=True)
    for leftover in target.parent.glob(f"{PARTIAL}{target.name}-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    with atomic_folder(target) as pack:
        _copy_archive(run, pack / "archive")
        expires_on = min(approval.expires_on for approval in approvals if approval.expires_on)
        _write_evidence(run, approvals, statement, pack / "evidence")
        names = tuple(approval.by for approval in approvals)
        claim = claim_in_words(run.training)
        atomic_write_text(
            pack / "RELEASE.md",
            release_page(run.policy, run.archive, claim, fitness(run.audit), names, now, expires_on),
        )
        atomic_write_text(pack / "TERMS.md", terms_page(run.policy, expires_on))
        atomic_write_text(pack / STATEMENT, statement_text(statement))
        _require_no_private_text(run, pack)
        assert_strict(export_problems(pack))
        files = manifest_of(pack)
        atomic_write_text(pack / MANIFEST, manifest_text(files))
        body = ReleaseRecord(
            name=run.policy.release.name,
            released_on=stamp(now),
            expires_on=stamp(expires_on),
            approvers=names,
            digests={**run.digests.to_json(), "policy": digest_of_file(run_folder / POLICY)},
            images=int(run.archive.get("images", 0)),
            files=len(files),
            claim=claim,
            manifest_digest=digest_of_file(pack / MANIFEST),
        )
        record = ReleaseRecord(**{**body.to_json(), "approvers": names})
        atomic_write_bytes(pack / RELEASE, release_bytes(record))
        if on_released is not None:
            on_released(record)
    return record


def _require_external_report(run: RunRecords) -> None:
    path = run.folder / EXTERNAL_REPORT
    if not path.is_file():
        raise IntegrityError(f"{EXTERNAL_REPORT} is missing", fix="Run `synthrelease report` for the external edition.")
    head = path.read_text(encoding="utf-8")[:4096]
    if '<meta name="synthrelease-edition" content="external">' not in head:
        raise IntegrityError(
            f"{EXTERNAL_REPORT} is not an external edition", fix="Render it again; the internal edition never leaves."
        )
    if f'<meta name="synthrelease-audit" content="{run.digests.audit}">' not in head:
        raise IntegrityError(f"{EXTERNAL_REPORT} shows another audit", fix="Run `synthrelease report` again.")


def _require_whole_archive(run: RunRecords) -> None:
    folder = run.folder / "archive"
    found = {
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_symlink() or not path.is_dir()
    }
    listed = set(run.archive["files"])
    wrong = sorted(found ^ listed) + sorted(name for name in found & listed if (folder / name).is_symlink())
    if wrong:
        raise IntegrityError(
            f"the archive does not hold the files that {ARCHIVE} lists: {_some(wrong)}", fix="Sample and audit again."
        )


def _copy_archive(run: RunRecords, target: Path) -> None:
    """Copy and check in one reading; a file that differs from its record stops the sealing."""
    source = run.folder / "archive"
    target.mkdir()

    def copy(item: tuple[str, str]) -> str | None:
        name, expected = item
        content = (source / name).read_bytes()
        if hashlib.sha256(content).hexdigest() != expected:
            return name
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        with (target / name).open("xb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        return None

    with ThreadPoolExecutor(_WORKERS) as pool:
        changed = sorted(name for name in pool.map(copy, sorted(run.archive["files"].items())) if name)
    if changed:
        raise IntegrityError(f"changed since it was sampled: {_some(changed)}", fix="Sample and audit again.")


def _write_evidence(run: RunRecords, approvals: tuple[Approval, ...], statement: Statement, folder: Path) -> None:
    folder.mkdir()
    private = _private_texts(run)
    digests = run.digests
    pages: dict[str, dict[str, Any]] = {
        POLICY: extracts.policy_extract(run.policy, digest_of_file(run.folder / POLICY)),
        TRAINING: extracts.record_extract(TRAINING, run.training, digests.training, private),
        ARCHIVE: extracts.record_extract(ARCHIVE, run.archive, digests.archive, private),
        AUDIT: extracts.audit_extract(run.audit, digests.audit, private),
        CLAIM: statement.to_json(),
    }
    plan = run.folder / PLAN
    if plan.is_file():
        pages[PLAN] = extracts.record_extract(PLAN, read_json(plan), digest_of_file(plan), private)
    for name, page in pages.items():
        atomic_write_json(folder / name, page)
    if statement.guarantee is not None:
        atomic_write_text(folder / REGISTRY, registry_yaml(statement))
    heads = {approval.head for approval in approvals}
    entries = [entry if entry["digest"] in heads else withhold(entry) for entry in read_entries(run.folder)]
    atomic_write_text(folder / APPROVALS, to_lines(entries))
    atomic_write_bytes(folder / EXTERNAL_REPORT, (run.folder / EXTERNAL_REPORT).read_bytes())


def _private_texts(run: RunRecords) -> tuple[str, ...]:
    """Texts that name a place or a machine. A word without a slash is no place: 'phantom' may stand in a pack."""
    source = run.policy.cohort.source
    places = {
        str(run.folder.resolve()),
        str(Path.home()) if len(str(Path.home())) > 1 else "",
        source if "/" in source else "",
    }
    host = socket.gethostname()
    return tuple(sorted({*places, host if len(host) >= 6 else ""} - {""}))


def _require_no_private_text(run: RunRecords, pack: Path) -> None:
    """The last look over every page before it is sealed. Archive objects are written from public settings only."""
    texts = [text.encode() for text in _private_texts(run)]
    pages = [
        path for path in sorted(pack.rglob("*")) if path.is_file() and "archive" not in path.relative_to(pack).parts[:1]
    ]
    leaking = [path.relative_to(pack).as_posix() for path in pages if any(text in path.read_bytes() for text in texts)]
    if leaking:
        raise IntegrityError(
            f"a path or host name stands in {_some(leaking)}",
            fix="Remove it from the policy or statement it came from.",
        )


def _some(names: list[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(ascii(name)[1:-1] for name in names[:5]) + more

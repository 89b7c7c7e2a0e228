"""The evidence in a pack: extracts of the records that were signed, and a last look over what leaves."""

from __future__ import annotations

import hashlib
import socket
from pathlib import Path
from typing import Any

from synthrelease.errors import IntegrityError
from synthrelease.policy.places import places
from synthrelease.records.digests import digest_of_file
from synthrelease.records.files import atomic_write_bytes, atomic_write_json, atomic_write_text, read_json
from synthrelease.release import extracts
from synthrelease.release.approvals import APPROVALS, Approval, read_entries
from synthrelease.release.chain import to_lines, withhold
from synthrelease.release.run_records import ARCHIVE, AUDIT, EXTERNAL_REPORT, PLAN, POLICY, TRAINING, RunRecords
from synthrelease.release.statement.facts import Statement
from synthrelease.release.statement.registry import registry_yaml
from synthrelease.release.typed_texts import TYPED, Comparison

CLAIM = "dp_claim.json"
REGISTRY = "dp_registry.yaml"


def write_evidence(
    run: RunRecords,
    approvals: tuple[Approval, ...],
    typed: Comparison,
    statement: Statement,
    audit: dict[str, Any],
    folder: Path,
) -> None:
    """Write ``evidence/``.

    Args:
        run: The run that is sealed.
        approvals: Those that count; what other lines of approvals.jsonl say is withheld.
        typed: What their words were compared with.
        statement: The privacy statement.
        audit: The audit as it may leave.
        folder: Must not exist.

    Raises:
        IntegrityError: archive.json cannot leave as it is, or changed meanwhile.
    """
    folder.mkdir()
    private = private_texts(run)
    extracts.require_public_archive(run.archive, private)
    digests = run.digests
    pages: dict[str, dict[str, Any]] = {
        POLICY: extracts.policy_extract(run.policy, digest_of_file(run.folder / POLICY), private),
        TRAINING: extracts.record_extract(TRAINING, run.training, digests.training, private),
        AUDIT: audit,
        CLAIM: statement.to_json(),
        TYPED: typed.to_json(),
    }
    plan = run.folder / PLAN
    if plan.is_file():
        pages[PLAN] = extracts.record_extract(PLAN, read_json(plan), digest_of_file(plan), private)
    for name, page in pages.items():
        atomic_write_json(folder / name, page)
    # Whole, byte for byte: its digest is what the approvers signed, and it names the archive's manifest.
    archive = (run.folder / ARCHIVE).read_bytes()
    if hashlib.sha256(archive).hexdigest() != digests.archive:
        raise IntegrityError(f"{ARCHIVE} changed while it was sealed", fix="Seal again.")
    atomic_write_bytes(folder / ARCHIVE, archive)
    if statement.guarantee is not None:
        atomic_write_text(folder / REGISTRY, registry_yaml(statement))
    heads = {approval.head for approval in approvals}
    entries = [entry if entry["digest"] in heads else withhold(entry) for entry in read_entries(run.folder)]
    atomic_write_text(folder / APPROVALS, to_lines(entries))
    atomic_write_bytes(folder / EXTERNAL_REPORT, (run.folder / EXTERNAL_REPORT).read_bytes())


def private_texts(run: RunRecords) -> tuple[str, ...]:
    """Texts that name a place or a machine. A word without a slash is no place: 'phantom' may stand in a pack."""
    home, host = str(Path.home()), socket.gethostname()
    texts = {str(run.folder.resolve()), home if len(home) > 1 else "", host if len(host) >= 6 else ""}
    texts |= {named for named in places(run.policy).values() if "/" in named or "\\" in named}
    return tuple(sorted(texts - {""}))


def require_no_private_text(run: RunRecords, pack: Path) -> None:
    """The last look over every page before it is sealed. DICOM objects, which follow later, have gates of their own.

    Raises:
        IntegrityError: A path or host name stands in a page; names the page and not the text.
    """
    texts = [text.encode() for text in private_texts(run)]
    leaking = [
        path.relative_to(pack).as_posix()
        for path in sorted(pack.rglob("*"))
        if path.is_file() and _holds_any(path, texts)
    ]
    if leaking:
        raise IntegrityError(
            f"a path or host name stands in {_some(leaking)}",
            fix="Remove it from the policy or statement it came from.",
        )


def _holds_any(path: Path, texts: list[bytes]) -> bool:
    """Whether one of the texts stands in a file, which is read in blocks that overlap."""
    overlap = max(map(len, texts), default=1) - 1
    tail = b""
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            window = tail + block
            if any(text in window for text in texts):
                return True
            tail = window[-overlap:] if overlap else b""
    return False


def _some(names: list[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(ascii(name)[1:-1] for name in names[:5]) + more

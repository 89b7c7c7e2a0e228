"""The last steps of every audit, of a run or of folders: measure, judge, count, and write everything down."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from synthrelease.audit.case import AuditCase
from synthrelease.audit.duplicates import set_aside_duplicates
from synthrelease.audit.fidelity import require_stranger
from synthrelease.audit.profile import Profile
from synthrelease.audit.runner import run_audit
from synthrelease.audit.self_test import self_test
from synthrelease.records.digests import digest_of_file
from synthrelease.records.files import atomic_write_json
from synthrelease.records.runs import Run
from synthrelease.release.extracts import audit_extract
from synthrelease.workflow.desk import Desk, threads
from synthrelease.workflow.prior import Asked, begin_audit, end_audit, prior_audits


@dataclass(frozen=True)
class Matter:
    """One audit: what is judged, by what, and what is known of it.

    Attributes:
        run: Folder of everything that is written.
        case: What is judged. profile: By what. seed: Of everything random.
        digests: Of what is judged, for audit.json.
        chain: Where audits are counted. asked: What this one is about.
        inputs: Further JSON-like values on which measurements depend.
        remarks: What the reader must know of the input, a sentence each.
        private: Texts that no public record may hold.
        ledger: What the cohort has spent, for the reports.
        unchanged: Raises when the input is no longer what was measured; asked before anything is written.
    """

    run: Run
    case: AuditCase
    profile: Profile
    seed: int
    digests: Mapping[str, str]
    chain: Path
    asked: Asked
    inputs: Any = None
    remarks: Sequence[str] = ()
    private: Sequence[str] = field(default_factory=tuple)
    ledger: Mapping[str, Any] | None = None
    unchanged: Callable[[], None] = lambda: None


def judge_matter(desk: Desk, matter: Matter) -> dict[str, Any]:
    """Measure and judge; writes audit.json, its coarse extract, the private annex and both reports."""
    from synthrelease.report.writing import write_reports

    run, case = matter.run, _asked_for(matter)
    begun = begin_audit(matter.chain, matter.asked)
    prior = prior_audits(matter.chain, matter.asked, begun)
    with threads(desk.threads):
        record, annex = run_audit(
            case,
            matter.profile,
            matter.seed,
            progress=desk.progress,
            digests=matter.digests,
            keep=run.folder / "audit-progress.private",
            inputs=_inputs_of(matter),
            prior=prior,
        )
    matter.unchanged()
    value = replace(record, remarks=tuple(matter.remarks)).to_json()
    atomic_write_json(run.audit, value)
    atomic_write_json(run.annex, annex.to_json())
    digest = digest_of_file(run.audit)
    atomic_write_json(run.external_audit, audit_extract(value, digest, matter.private))
    end_audit(matter.chain, matter.asked, begun, value, digest)
    desk.progress.stage("writing the reports")
    write_reports(run, matter.case, annex, ledger=matter.ledger)
    return value


def self_test_matter(desk: Desk, matter: Matter) -> dict[str, Any]:
    """Plant known leaks in copies of the archive and judge those; writes self-test.json, and no verdict on the archive."""
    case = _asked_for(matter)
    # It tells something of the archive too, so it is counted.
    begin_audit(matter.chain, matter.asked, "self-test")
    with threads(desk.threads):
        record = self_test(set_aside_duplicates(case), matter.profile, matter.seed, progress=desk.progress)
    matter.unchanged()
    value = {**record.to_json(), "digests": dict(matter.digests)}
    atomic_write_json(matter.run.self_test, value)
    return value


def _asked_for(matter: Matter) -> AuditCase:
    """The case, looked at in the features that the profile names.

    Raises:
        UsageError: They are an encoder's that was fitted to this cohort: said before anything is measured.
    """
    case, choice = matter.case, matter.profile.extractor.choice()
    if choice.name == "uld" and choice.file is not None:
        require_stranger(choice.open(), *(side for side in (case.train, case.holdout) if side is not None))
    return replace(case, extractor=choice)


def _inputs_of(matter: Matter) -> Any:
    """What measurements depend on beside the case: a file that the profile names may have been replaced."""
    file = matter.profile.extractor.choice().file
    return matter.inputs if file is None or not file.is_file() else [matter.inputs, digest_of_file(file)]

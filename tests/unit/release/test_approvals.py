"""Who may sign what, and how long it holds."""

from __future__ import annotations

import copy
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from synthrelease.errors import ApprovalError, AuditFailed, AuditInconclusive, IntegrityError, UsageError
from synthrelease.policy.loader import policy_from
from synthrelease.records.digests import digest_of_file
from synthrelease.records.files import atomic_write_json, read_json
from synthrelease.release import Event, Standing, approve, read_approvals, refuse
from synthrelease.release.approvals import enough_valid_approvals, person
from synthrelease.release.run_records import audit_verdict, read_run

NOW = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)


def test_an_approval_names_the_records_that_were_looked_at(run: Path) -> None:
    approval = approve(run, "Ada Approver", "privacy officer", "I read the report.", NOW)
    assert approval.digests.audit == digest_of_file(run / "audit.json")
    assert approval.digests.archive == digest_of_file(run / "archive.json")
    assert approval.digests.training == digest_of_file(run / "training.json")
    assert read_approvals(run) == [approval]
    assert approval.event is Event.APPROVED


def test_an_approval_ends_after_the_months_of_the_policy(run: Path) -> None:
    approval = approve(run, "Ada Approver", "privacy officer", "I read the report.", NOW)
    assert approval.expires_on == datetime(2027, 3, 1, 9, 30, tzinfo=UTC)


@pytest.mark.parametrize("name", ["Olga Operator", " olga   OPERATOR ", "Olga​ Operator"])
def test_the_operator_may_not_approve_under_any_spelling(run: Path, name: str) -> None:
    with pytest.raises(ApprovalError, match="operator") as caught:
        approve(run, name, "privacy officer", "mine", NOW)
    assert caught.value.exit_code == 7


def test_nobody_approves_in_the_role_of_operator(run: Path) -> None:
    with pytest.raises(ApprovalError, match="operator"):
        approve(run, "Ada Approver", "Operator", "mine", NOW)


def test_only_named_approvers_sign_where_the_policy_names_them(run: Path) -> None:
    with pytest.raises(ApprovalError, match="not among the approvers"):
        approve(run, "Mallory", "privacy officer", "fine", NOW)
    assert read_approvals(run) == []


def test_anybody_but_the_operator_signs_where_the_policy_names_nobody(run: Path, audit_of: Callable[..., None]) -> None:
    values = read_json(run / "policy.resolved.json")
    open_values = copy.deepcopy(values)
    open_values["roles"]["approvers"] = []
    policy = policy_from(open_values)
    valid = approve(run, "Ada Approver", "privacy officer", "fine", NOW)
    stranger = type(valid)(**{**vars(valid), "by": "Somebody Else"})
    assert len(enough_valid_approvals(policy, [valid, stranger], valid.digests, NOW)) == 2
    with pytest.raises(ApprovalError, match="not among the approvers"):
        enough_valid_approvals(policy_from(values), [valid, stranger], valid.digests, NOW)


@pytest.mark.parametrize("again", ["Ada Approver", "ADA APPROVER", "  ada   approver", "Ａda Approver"])
def test_the_same_person_twice_is_refused_under_any_spelling(run: Path, again: str) -> None:
    approve(run, "Ada Approver", "privacy officer", "fine", NOW)
    with pytest.raises(ApprovalError, match="already") as caught:
        approve(run, again, "custodian", "fine again", NOW)
    assert caught.value.exit_code == 7


def test_one_approval_is_not_enough(run: Path) -> None:
    approval = approve(run, "Ada Approver", "privacy officer", "fine", NOW)
    with pytest.raises(ApprovalError, match="there are 1"):
        enough_valid_approvals(read_run(run).policy, [approval], approval.digests, NOW)


def test_a_failed_audit_cannot_be_approved(run: Path, audit_of: Callable[..., None]) -> None:
    audit_of(run, "fail")
    with pytest.raises(AuditFailed) as caught:
        approve(run, "Ada Approver", "privacy officer", "never mind", NOW)
    assert caught.value.exit_code == 3


def test_an_inconclusive_audit_cannot_be_approved(run: Path, audit_of: Callable[..., None]) -> None:
    audit_of(run, "inconclusive")
    with pytest.raises(AuditInconclusive) as caught:
        approve(run, "Ada Approver", "privacy officer", "never mind", NOW)
    assert caught.value.exit_code == 4


def test_a_pass_over_a_failing_required_finding_counts_as_failed(run: Path) -> None:
    audit = read_json(run / "audit.json")
    audit["findings"][0]["verdict"] = "fail"
    assert audit_verdict(audit) == "fail"
    audit["findings"][0]["criterion"] = "fidelity"
    assert audit_verdict(audit) == "inconclusive", "an audit without a privacy finding decides nothing"


def test_an_audit_under_another_policy_is_refused(run: Path, audit_of: Callable[..., None]) -> None:
    digests = {**read_json(run / "audit.json")["digests"], "policy": "0" * 64}
    audit_of(run, digests=digests)
    with pytest.raises(IntegrityError, match=r"another policy\.resolved\.json"):
        approve(run, "Ada Approver", "privacy officer", "fine", NOW)


def test_an_approval_goes_stale_when_the_audit_changes(run: Path, audit_of: Callable[..., None]) -> None:
    approval = approve(run, "Ada Approver", "privacy officer", "fine", NOW)
    audit_of(run, seed=99)
    assert approval.standing(read_run(run).digests, NOW) is Standing.STALE
    second = approve(run, "Ada Approver", "privacy officer", "still fine", NOW)
    assert second.standing(read_run(run).digests, NOW) is Standing.VALID


def test_an_approval_expires(run: Path) -> None:
    approval = approve(run, "Ada Approver", "privacy officer", "fine", NOW)
    assert approval.expires_on is not None
    before, after = approval.expires_on - timedelta(seconds=1), approval.expires_on
    assert approval.standing(approval.digests, before) is Standing.VALID
    assert approval.standing(approval.digests, after) is Standing.EXPIRED


def test_a_refusal_blocks_until_there_is_a_new_audit(signed: Path, audit_of: Callable[..., None]) -> None:
    refuse(signed, "Cleo", "privacy officer", "Pair 3 is too close.", NOW)
    run = read_run(signed)
    with pytest.raises(ApprovalError, match="refused by 'Cleo'"):
        enough_valid_approvals(run.policy, read_approvals(signed), run.digests, NOW)
    with pytest.raises(ApprovalError, match="refused by 'Cleo'"):
        approve(signed, "Ada Approver", "privacy officer", "I insist", NOW)
    audit_of(signed, seed=1)
    assert approve(signed, "Ada Approver", "privacy officer", "mended", NOW).event is Event.APPROVED


def test_a_failed_audit_can_be_refused(run: Path, audit_of: Callable[..., None]) -> None:
    audit_of(run, "fail")
    assert refuse(run, "Cleo", "privacy officer", "Copies.", NOW).event is Event.REFUSED


@pytest.mark.parametrize(
    "edit",
    [
        lambda lines: [lines[0].replace("I read the report.", "I read nothing.."), lines[1]],
        lambda lines: [lines[1]],
        lambda lines: [lines[1], lines[0]],
        lambda lines: [lines[0], lines[0]],
        lambda lines: [lines[0], "not json"],
    ],
)
def test_an_edited_file_of_approvals_is_noticed(signed: Path, edit: Callable[[list[str]], list[str]]) -> None:
    path = signed / "approvals.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join(edit(lines)) + "\n", encoding="utf-8")
    with pytest.raises(IntegrityError, match="chain is broken") as caught:
        read_approvals(signed)
    assert caught.value.exit_code == 6


def test_a_statement_with_unusual_line_separators_survives(run: Path) -> None:
    approval = approve(run, "Ada Approver", "privacy officer", "read it\u2028all", NOW)
    assert read_approvals(run) == [approval]


@pytest.mark.parametrize("by", ["", "  ", "Ada\nApprover", "Ada\x1b[31m", "x" * 3000])
def test_a_name_is_one_line_of_text(run: Path, by: str) -> None:
    with pytest.raises(UsageError, match="by: one line"):
        approve(run, by, "privacy officer", "fine", NOW)


def test_a_time_without_its_zone_is_a_programming_error(run: Path) -> None:
    with pytest.raises(ValueError, match="zone"):
        approve(run, "Ada Approver", "privacy officer", "fine", datetime(2026, 3, 1))


def test_a_policy_that_was_edited_after_training_is_noticed(run: Path) -> None:
    values = read_json(run / "policy.resolved.json")
    values["roles"]["approvers"] = ["Mallory", "Trent"]
    atomic_write_json(run / "policy.resolved.json", values)
    with pytest.raises(IntegrityError, match=r"training\.json was made from another policy"):
        approve(run, "Mallory", "privacy officer", "fine", NOW)


def test_two_people_keep_their_names_apart() -> None:
    assert person("Ada Approver") != person("Ada Approvers")

"""Who may sign what, and how long it holds."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from benchmarks.header_scan.folders import write_hospital
from synthrelease.errors import ApprovalError, AuditFailed, AuditInconclusive, IntegrityError, UsageError
from synthrelease.policy.loader import policy_from
from synthrelease.records.digests import digest_of_file
from synthrelease.records.files import atomic_write_json, read_json
from synthrelease.release import Event, Standing, approve, read_approvals, refuse
from synthrelease.release.approvals import enough_valid_approvals, person
from synthrelease.release.run_records import audit_verdict, read_run
from synthrelease.release.typed_texts import HEADERS, IDS, Comparison, require_no_private_value

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


# Signing again, in other words


def test_the_last_words_of_a_person_count_and_still_make_one_person(signed: Path) -> None:
    with pytest.raises(ApprovalError, match="already") as caught:
        approve(signed, "Ada Approver", "privacy officer", "In other words.", NOW)
    assert "--again" in caught.value.fix
    again = approve(signed, "ADA  approver", "privacy officer", "In other words.", NOW, again=True)
    run = read_run(signed)
    counted = enough_valid_approvals(run.policy, read_approvals(signed), run.digests, NOW)
    assert [approval.statement for approval in counted] == ["Agreed.", "In other words."]
    with pytest.raises(ApprovalError, match="there are 1"):
        enough_valid_approvals(run.policy, [read_approvals(signed)[0], again], run.digests, NOW)


# What people type, held against the private archive


def write_header(folder: Path, **values: str) -> None:
    """One private file without pixels."""
    image = Dataset()
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image.file_meta.MediaStorageSOPClassUID = image.SOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
    image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID = "1.3.6.1.4.1.99999.7.20240131.9.44"
    image.SpecificCharacterSet = "ISO_IR 192"
    for keyword, value in values.items():
        setattr(image, keyword, value)
    folder.mkdir(parents=True, exist_ok=True)
    image.save_as(folder / f"IM{len(list(folder.iterdir())):04d}", enforce_file_format=True)


PRIVATE = {
    "PatientName": "Abernathy^Beatrix",
    "PatientID": "MRN4401205",
    "PatientBirthDate": "19510317",
    "AccessionNumber": "RX88123004",
    "InstitutionName": "Report Clinic",
    "InstitutionalDepartmentName": "Radiology",
    "ReferringPhysicianName": "Botham^Ben",
    "PerformingPhysicianName": "Kowalczyk^Zofia",
    "StudyDescription": "Chest PA of the patient, no findings",
}


@pytest.fixture
def ward(signed: Path) -> Path:
    """The private folder of the signed run."""
    folder = signed.parent / "ward"
    write_header(folder, **PRIVATE)
    write_header(folder, PatientName="山田^太郎", PatientID="7")
    atomic_write_json(signed / "source.private.json", {"source": str(folder)})
    return folder


def compared(run: Path, **words: str) -> Comparison:
    """Hold the words of the second approval against the private archive."""
    first, second = read_approvals(run)[:2]
    return require_no_private_value(run, read_run(run).policy, (first, dataclasses.replace(second, **words)))


@pytest.mark.parametrize(
    ("statement", "attribute"),
    [
        ("the case of Beatrix Abernathy is fine", "PatientName"),
        ("like abernathy, beatrix", "PatientName"),
        ("Mrs Abernathy agreed", "PatientName"),
        ("山田太郎の画像を確認しました", "PatientName"),
        ("except MRN4401205", "PatientID"),
        ("except mrn 44-01205", "PatientID"),
        ("born 1951-03-17", "PatientBirthDate"),
        ("born 19510317", "PatientBirthDate"),
        ("born on 17 March 1951", "PatientBirthDate"),
        ("see RX88123004", "AccessionNumber"),
        ("see 88123004", "AccessionNumber"),
        ("see 1.3.6.1.4.1.99999.7.20240131.9.44", "SOPInstanceUID"),
        ("seen by Zofia Kowalczyk", "PerformingPhysicianName"),
    ],
)
def test_words_that_name_a_patient_are_refused_and_not_repeated(
    signed: Path, ward: Path, statement: str, attribute: str
) -> None:
    for field, words in (("statement", {"statement": statement}), ("role", {"role": statement})):
        with pytest.raises(ApprovalError, match=rf"line 2: the {field} resembles a private .*{attribute}") as caught:
            compared(signed, **words)
        said = str(caught.value).casefold()
        assert not any(value in said for value in ("abernathy", "4401205", "1951", "88123004", "kowalczyk", "太郎"))
        assert "--again" in caught.value.fix


@pytest.mark.parametrize(
    "words",
    [
        {"statement": "I have read the report."},
        {"statement": "Read in the clinic; the radiology report shows no findings in a chest of a patient."},
        {"statement": "I, Ben Botham, agree.", "by": "Ben Botham"},
        {"statement": "Ada Approver and I looked at the pairs together on 2026-03-01."},
        {"role": "Head of Radiology"},
        {"statement": "Ich habe den Bericht gelesen.", "role": "Datenschutzbeauftragte"},
        {"statement": "私はこの報告書を確認しました。", "by": "高橋"},
        {"statement": "epsilon 8 at 1e-05 for 4000 patients; ticket 1204, head 3f9a1c0b77de"},
    ],
)
def test_ordinary_words_and_names_that_the_pack_states_anyhow_pass(
    signed: Path, ward: Path, words: dict[str, str]
) -> None:
    assert compared(signed, **words) == Comparison(HEADERS)


def test_a_namesake_of_a_patient_signs_only_where_the_policy_names_them(signed: Path, ward: Path) -> None:
    write_header(ward, PatientName="Approver^Ada")
    assert compared(signed) == Comparison(HEADERS)
    with pytest.raises(ApprovalError, match="the name resembles a private PatientName") as caught:
        compared(signed, by="Beatrix Abernathy")
    assert "somebody else signs" in caught.value.fix


def test_ordinary_sentences_pass_a_hospital_that_is_made_to_raise_alarms(signed: Path, tmp_path: Path) -> None:
    write_hospital(tmp_path / "hospital", 120)
    atomic_write_json(signed / "source.private.json", {"source": str(tmp_path / "hospital")})
    sentences = (
        "I may approve this in May or March; the day was young.",
        "Patients in general benefit, the hospital's board agrees: the images of the left lung look normal.",
        "Keine Bedenken, Leiter der Radiologie.",
        "J'ai lu le rapport et je suis d'accord.",
        "Minutes 14, page 3; approved for one year, until the end of 2027.",
    )
    assert compared(signed, statement=" ".join(sentences)) == Comparison(HEADERS)


def test_a_replaced_line_is_not_looked_at(signed: Path, ward: Path) -> None:
    approve(signed, "Ben Botham", "custodian", "Mrs Abernathy agreed", NOW, again=True)
    run = read_run(signed)
    with pytest.raises(ApprovalError, match="line 3"):
        require_no_private_value(
            signed, run.policy, enough_valid_approvals(run.policy, read_approvals(signed), run.digests, NOW)
        )
    approve(signed, "Ben Botham", "custodian", "Agreed.", NOW, again=True)
    counted = enough_valid_approvals(run.policy, read_approvals(signed), run.digests, NOW)
    assert require_no_private_value(signed, run.policy, counted) == Comparison(HEADERS)


def write_store(folder: Path) -> None:
    """The run's own store of a table of two pictures."""
    import numpy as np

    from synthrelease.cohort.store import ARRAYS, COHORT_SCHEMA, IDS, IMAGES, MANIFEST, MASKS, CohortManifest

    folder.mkdir()
    ids = {"images": ["ward/SCAN_00817.png", "1.2.3.4.5.678901#2"], "patients": ["KX-20717", "7"]}
    atomic_write_json(folder / IDS, {**ids, "pixel_digests": ["0" * 64] * 2})
    np.save(folder / IMAGES, np.zeros((2, 16, 16), np.uint16))
    np.save(folder / MASKS, np.zeros((2, 0, 16, 16), np.uint8))
    flags = {name: np.zeros(2, np.bool_) for name in ("holdout", "aside", "has_mask")}
    np.savez(folder / ARRAYS, labels=np.zeros(2, np.int64), patient=np.arange(2), **flags)
    values = {field.name: 0 for field in dataclasses.fields(CohortManifest)}
    counts = {"schema": COHORT_SCHEMA, "images": 2, "patients": 2, "resolution": 16, "classes": ["a"], "segments": []}
    atomic_write_json(folder / MANIFEST, {**values, **counts})


@pytest.mark.parametrize("moved", [True, False], ids=["moved away", "a table"])
def test_without_headers_the_ids_of_the_store_are_asked(signed: Path, tmp_path: Path, moved: bool) -> None:
    table = tmp_path / "table"
    if not moved:
        table.mkdir()
        (table / "images.csv").write_text("image,label\n")
    atomic_write_json(signed / "source.private.json", {"source": str(table)})
    write_store(signed / "cohort.private")
    found = compared(signed)
    assert found.compared_with == IDS
    assert ("no longer where the run read it" if moved else "holds no DICOM file") in found.told
    assert str(table) not in found.told
    for statement, attribute in {
        "without KX-20717": "PatientID",
        "like kx20717": "PatientID",
        "see SCAN_00817": "ImageID",
        "see 1.2.3.4.5.678901": "ImageID",
    }.items():
        with pytest.raises(ApprovalError, match=f"resembles a private {attribute}"):
            compared(signed, statement=statement)


def test_where_nothing_is_at_hand_the_comparison_says_so(signed: Path) -> None:
    assert compared(signed).told == (
        "typed texts were not compared with the private headers, because the run does not say where the private archive "
        "lies, nor with the ids of patients and images, because the run no longer keeps them"
    )

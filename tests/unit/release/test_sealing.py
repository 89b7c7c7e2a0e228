"""What a pack needs before it is sealed, and what is never in it."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from synthrelease.errors import ApprovalError, AuditFailed, AuditInconclusive, IntegrityError, UsageError
from synthrelease.records.digests import digest_of_file, manifest_of
from synthrelease.records.files import atomic_write_json, atomic_write_text, read_json
from synthrelease.records.ledger import Ledger
from synthrelease.release import Approval, ReleaseRecord, approve, refuse, seal, verify
from synthrelease.release.claim import claim_in_words
from synthrelease.release.envelope import parse_envelope
from synthrelease.release.extracts import audit_extract, names_a_place, record_extract, without_places
from synthrelease.release.keys import key_id
from synthrelease.release.pages import line
from synthrelease.release.run_records import named_parent
from synthrelease.release.statement.registry import registry_yaml
from synthrelease.release.statement.stating import state
from synthrelease.release.statement.text import statement_text

NOW = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
FILES = {"DICOM/P000001/S0000001/I0000001": b"image", "labels.csv": b"file,label\n", "README.md": b"# Synthetic\n"}


def leftovers(folder: Path) -> list[str]:
    return [p.name for p in folder.iterdir()] if folder.exists() else []


def test_a_signed_run_is_sealed_with_everything_a_recipient_needs(
    signed: Path, tmp_path: Path, key: Ed25519PrivateKey
) -> None:
    record = seal(signed, tmp_path / "out" / "chest-2026", NOW, key=key)
    pack = tmp_path / "out" / "chest-2026"
    files = {p.relative_to(pack).as_posix() for p in pack.rglob("*") if p.is_file()}
    evidence = ["policy.resolved", "plan", "training", "archive", "audit", "dp_claim", "typed_texts"]
    archive = {p.relative_to(signed / "archive").as_posix() for p in (signed / "archive").rglob("*") if p.is_file()}
    assert files == {
        *("bagit.txt", "bag-info.txt", "manifest-sha256.txt", "tagmanifest-sha256.txt"),
        *("RELEASE.md", "TERMS.md", "DATASHEET.md", "STATEMENT.txt", "release.json", "release.dsse.json"),
        *(f"data/{name}" for name in archive - {"manifest-sha256.txt"}),
        *(f"evidence/{name}.json" for name in evidence),
        *("evidence/approvals.jsonl", "evidence/report-external.html", "evidence/dp_registry.yaml"),
    }
    assert record.files == len(files) - 3
    assert record.approvers == ("Ada Approver", "Ben Botham")
    assert record.expires_on == "2027-03-01T09:30:00Z"
    assert record.key_id == key_id(key.public_key())
    assert read_json(pack / "release.json")["root_digest"] == record.root_digest
    assert leftovers(tmp_path / "out") == ["chest-2026"]


def test_the_bags_manifest_without_its_prefix_is_the_archives_that_the_approvers_signed(
    signed: Path, tmp_path: Path
) -> None:
    record = seal(signed, tmp_path / "pack", NOW, key=None)
    bag = (tmp_path / "pack" / "manifest-sha256.txt").read_text()
    archive = (tmp_path / "pack" / "evidence" / "archive.json").read_bytes()
    manifest = json.loads(archive)["manifest"]["sha256"]
    assert hashlib.sha256(bag.replace("  data/", "  ").encode()).hexdigest() == manifest
    assert hashlib.sha256(archive).hexdigest() == record.digests["archive"]
    approval = json.loads((tmp_path / "pack" / "evidence" / "approvals.jsonl").read_text().splitlines()[0])
    assert approval["digests"]["archive"] == record.digests["archive"]


def test_the_bag_describes_itself_by_the_release_and_not_by_the_clock(signed: Path, tmp_path: Path) -> None:
    seal(signed, tmp_path / "pack", NOW, key=None)
    assert (tmp_path / "pack" / "bagit.txt").read_text() == "BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"
    info = dict(line.split(": ", 1) for line in (tmp_path / "pack" / "bag-info.txt").read_text().splitlines())
    assert info["Bagging-Date"] == "2026-03-01"
    assert info["External-Identifier"] == "chest-2026"
    assert info["Bag-Software-Agent"].startswith("synthrelease ")
    data = [path.stat().st_size for path in (tmp_path / "pack" / "data").rglob("*") if path.is_file()]
    assert info["Payload-Oxum"] == f"{sum(data)}.{len(data)}"


def test_a_pack_without_a_signature_says_so_on_its_first_page(pack: Path, unsigned_pack: Path) -> None:
    assert "**NOT SIGNED.**" in (unsigned_pack / "RELEASE.md").read_text()[:200]
    assert not (unsigned_pack / "release.dsse.json").exists()
    signed = (pack / "RELEASE.md").read_text()
    assert "NOT SIGNED" not in signed
    assert read_json(pack / "release.json")["key_id"] in signed


def test_the_pack_is_a_copy_that_sampling_again_does_not_reach(signed: Path, tmp_path: Path) -> None:
    seal(signed, tmp_path / "pack", NOW, key=None)
    here, there = signed / "archive" / "labels.csv", tmp_path / "pack" / "data" / "labels.csv"
    assert not here.samefile(there)
    before = there.read_bytes()
    with here.open("ab") as stream:
        stream.write(b"more")
    assert there.read_bytes() == before


def test_the_pack_tells_its_claim_in_words_in_figures_and_for_the_registry(
    signed: Path, tmp_path: Path, ledger: Ledger
) -> None:
    seal(signed, tmp_path / "pack", NOW, key=None, ledger=ledger)
    statement = state(signed, ledger, NOW, releasing=True)
    assert (tmp_path / "pack" / "STATEMENT.txt").read_text(encoding="utf-8") == statement_text(statement)
    evidence = tmp_path / "pack" / "evidence"
    assert read_json(evidence / "dp_claim.json") == json.loads(json.dumps(statement.to_json()))
    assert read_json(evidence / "dp_claim.json")["spending"]["runs"] == 1
    assert (evidence / "dp_registry.yaml").read_text(encoding="utf-8") == registry_yaml(statement)
    assert "publication_date: '2026-03-01'" in (evidence / "dp_registry.yaml").read_text(encoding="utf-8")
    assert "STATEMENT.txt" in (tmp_path / "pack" / "RELEASE.md").read_text(encoding="utf-8")


def test_a_pack_that_is_sealed_without_a_ledger_says_so(signed: Path, tmp_path: Path) -> None:
    seal(signed, tmp_path / "pack", NOW, key=None)
    assert "ledger was not at hand" in (tmp_path / "pack" / "STATEMENT.txt").read_text(encoding="utf-8")


def test_a_run_without_privacy_is_sealed_with_the_sentence_that_it_has_no_guarantee(
    signed_plain: Path, tmp_path: Path
) -> None:
    record = seal(signed_plain, tmp_path / "pack", NOW, key=None)
    assert record.claim.startswith("No formal guarantee")
    assert "There is no guarantee" in (tmp_path / "pack" / "STATEMENT.txt").read_text(encoding="utf-8")
    assert read_json(tmp_path / "pack" / "evidence" / "dp_claim.json")["guarantee"] is None
    assert not (tmp_path / "pack" / "evidence" / "dp_registry.yaml").exists()


def test_a_claim_that_its_mechanisms_do_not_bear_out_is_not_sealed(signed_overclaim: Path, tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match="its own mechanisms cost"):
        seal(signed_overclaim, tmp_path / "pack", NOW, key=None)
    assert leftovers(tmp_path) == ["runs"]


def test_the_sentence_of_the_claim_rounds_epsilon_up() -> None:
    said = claim_in_words({"privacy": {"mode": "private", "epsilon": 8.0001, "delta": 1e-5}})
    assert "epsilon 8.01 at delta 1e-05" in said


def test_an_artefact_of_the_trainer_that_slipped_into_the_archive_is_not_sealed(
    run: Path, tmp_path: Path, audit_of: Callable[..., None], archive_of: Callable[..., None]
) -> None:
    archive_of(run, {**FILES, "moments.npz": b"sums of real images"})
    audit_of(run)
    approve(run, "Ada Approver", "privacy officer", "I read the report.", NOW)
    approve(run, "Ben Botham", "custodian", "Agreed.", NOW)
    with pytest.raises(IntegrityError, match="nothing_internal_is_exported"):
        seal(run, tmp_path / "pack", NOW, key=None)
    assert leftovers(tmp_path) == ["runs"]


def test_nothing_forbidden_is_in_the_pack(signed: Path, tmp_path: Path, key: Ed25519PrivateKey) -> None:
    seal(signed, tmp_path / "pack", NOW, key=key)
    forbidden = [
        "/data/wards",  # the cohort's folder
        "/opt/hospital",  # where a program lies
        str(tmp_path),
        "ZX-4711-KOWALSKI",  # a patient
        "gpu-node-seven",  # a host
        "Olga Operator",  # a user who signed nothing
        "WEIGHTS",  # the checkpoint
        "INTERNAL EDITION",  # the internal report
        "bad.dcm",  # an image that was refused
        "1234",  # an exact count of real patients
        "0.0123456",  # an unrounded figure
    ]
    inside = {p: p.read_bytes() for p in (tmp_path / "pack").rglob("*") if p.is_file()}
    envelope = tmp_path / "pack" / "release.dsse.json"
    inside[envelope] = parse_envelope(inside[envelope]).payload
    held = [
        (text, p.name) for p, content in inside.items() for text in forbidden if text.encode() in strip_digests(content)
    ]
    assert held == []
    names = {p.name for p in inside}
    assert not names & {"report-internal.html", "refused.json", "generator.safetensors"}


def strip_digests(content: bytes) -> bytes:
    """Without SHA-256 digests, in which any four digits may stand."""
    return re.sub(rb"[0-9a-f]{64}", b"", content)


def test_the_scan_for_forbidden_texts_can_find_them(signed: Path) -> None:
    everything = b"".join(p.read_bytes() for p in signed.rglob("*") if p.is_file())
    for text in ("/data/wards", "ZX-4711-KOWALSKI", "gpu-node-seven", "Olga Operator", "WEIGHTS", "1234", "0.0123456"):
        assert text.encode() in everything


def test_extracts_keep_the_shape_and_name_their_record(signed: Path, tmp_path: Path) -> None:
    seal(signed, tmp_path / "pack", NOW, key=None)
    training = read_json(tmp_path / "pack" / "evidence" / "training.json")
    assert training["privacy"] == read_json(signed / "training.json")["privacy"]
    assert training["extract_of"]["digest"] == digest_of_file(signed / "training.json")
    audit = read_json(tmp_path / "pack" / "evidence" / "audit.json")
    assert audit["findings"][0]["statistic"]["value"] is None
    assert audit["findings"][0]["p_value"] is None
    assert "outside of the differential privacy guarantee" in audit["outside_of_the_guarantee"]
    assert audit["findings"][0]["n"] == {"train": 1200, "holdout": 570, "synthetic": 1001}
    assert audit["findings"][0]["threshold"]["value"] == 0.05
    assert "details" not in audit["findings"][0]


def test_where_maps_came_from_leaves_with_its_warning() -> None:
    guidance = {"maps": "real", "warning": "each leads back to its patient"}
    assert record_extract("training.json", {"guidance": guidance}, "t" * 64)["guidance"] == guidance


def test_a_digest_of_the_cohort_does_not_leave() -> None:
    record = {"schema": "synthrelease.training/1", "digests": {"policy": "p" * 64, "cohort": "c" * 64}}
    extract = record_extract("training.json", record, "t" * 64)
    assert extract["parents"] == {"policy": "p" * 64}
    assert "c" * 64 not in json.dumps(extract)
    audit = {"findings": [], "digests": {"cohort": "c" * 64, "policy": "p" * 64}}
    assert audit_extract(audit, "a" * 64)["digests"] == {"policy": "p" * 64}


def test_a_training_record_may_name_its_policy_among_its_digests() -> None:
    assert named_parent({"parents": {"policy": "a"}, "digests": {"policy": "b"}}, "policy") == "a"
    assert named_parent({"digests": {"policy": "b"}}, "policy") == "b"
    assert named_parent({}, "policy") is None


@pytest.mark.parametrize("people", [(), ("Ada Approver",)])
def test_fewer_than_two_approvals_do_not_seal(run: Path, tmp_path: Path, people: tuple[str, ...]) -> None:
    for name in people:
        approve(run, name, "privacy officer", "fine", NOW)
    with pytest.raises(ApprovalError, match=f"there are {len(people)}") as caught:
        seal(run, tmp_path / "pack", NOW, key=None)
    assert caught.value.exit_code == 7
    assert not (tmp_path / "pack").exists()


@pytest.mark.parametrize(
    ("verdict", "error", "code"), [("fail", AuditFailed, 3), ("inconclusive", AuditInconclusive, 4)]
)
def test_only_a_passing_audit_seals(
    signed: Path, tmp_path: Path, audit_of: Callable[..., None], verdict: str, error: type[AuditFailed], code: int
) -> None:
    audit_of(signed, verdict)
    with pytest.raises(error) as caught:
        seal(signed, tmp_path / "pack", NOW, key=None)
    assert caught.value.exit_code == code


def test_stale_approvals_do_not_seal(signed: Path, tmp_path: Path, audit_of: Callable[..., None]) -> None:
    audit_of(signed, seed=5)
    with pytest.raises(ApprovalError, match="stale"):
        seal(signed, tmp_path / "pack", NOW, key=None)


def test_expired_approvals_do_not_seal(signed: Path, tmp_path: Path) -> None:
    with pytest.raises(ApprovalError, match="expired"):
        seal(signed, tmp_path / "pack", NOW + timedelta(days=366), key=None)


def test_a_refusal_outweighs_two_approvals(signed: Path, tmp_path: Path) -> None:
    refuse(signed, "Cleo", "privacy officer", "Too close.", NOW)
    with pytest.raises(ApprovalError, match="refused"):
        seal(signed, tmp_path / "pack", NOW, key=None)


def test_the_statement_of_a_withdrawn_refusal_stays_in_the_house(
    run: Path, tmp_path: Path, audit_of: Callable[..., None]
) -> None:
    refuse(run, "Cleo", "privacy officer", "Pair 3 looks like our patient K.", NOW)
    audit_of(run, seed=8)
    approve(run, "Ada Approver", "privacy officer", "fine", NOW)
    approve(run, "Ben Botham", "custodian", "fine", NOW)
    seal(run, tmp_path / "pack", NOW, key=None)
    text = (tmp_path / "pack" / "evidence" / "approvals.jsonl").read_text(encoding="utf-8")
    assert "our patient K" not in text
    assert json.loads(text.splitlines()[0])["withheld"] is True


IMAGE = "DICOM/P000002/S0000001/I0000001"


@pytest.mark.parametrize("name", [IMAGE, "labels.csv"])
def test_an_archive_that_changed_after_the_audit_is_not_sealed(signed: Path, tmp_path: Path, name: str) -> None:
    (signed / "archive" / name).write_bytes(b"other")
    with pytest.raises(IntegrityError, match=f"changed: {name}"):
        seal(signed, tmp_path / "pack", NOW, key=None)
    assert leftovers(tmp_path) == ["runs"]


@pytest.mark.parametrize("name", ["labels.csv", IMAGE])
def test_an_encoder_of_patients_is_not_sealed_under_whatever_name(
    run: Path, tmp_path: Path, audit_of: Callable[..., None], archive_of: Callable[..., None], name: str
) -> None:
    header = b'{"__metadata__":{"record":"cohort_digests"}}'
    archive_of(run, {**FILES, name: len(header).to_bytes(8, "little") + header})
    audit_of(run)
    approve(run, "Ada Approver", "privacy officer", "I read the report.", NOW)
    approve(run, "Ben Botham", "custodian", "Agreed.", NOW)
    with pytest.raises(IntegrityError, match=r"weights|encoder"):
        seal(run, tmp_path / "pack", NOW, key=None)
    assert leftovers(tmp_path) == ["runs"]


def test_a_file_that_changes_while_it_is_copied_is_not_sealed(
    signed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def late(pack: Path) -> tuple[()]:
        (signed / "archive" / IMAGE).write_bytes(b"other")
        return ()

    monkeypatch.setattr("synthrelease.release.sealing.export_problems", late)
    with pytest.raises(IntegrityError, match=f"changed: {IMAGE}"):
        seal(signed, tmp_path / "pack", NOW, key=None)
    assert leftovers(tmp_path) == ["runs"]


def test_a_file_that_nobody_judged_is_not_sealed(signed: Path, tmp_path: Path) -> None:
    (signed / "archive" / "notes.txt").write_text("hello", encoding="utf-8")
    with pytest.raises(IntegrityError, match=r"not part of the release: notes\.txt"):
        seal(signed, tmp_path / "pack", NOW, key=None)


def test_a_file_that_is_gone_is_named(signed: Path, tmp_path: Path) -> None:
    (signed / "archive" / IMAGE).unlink()
    with pytest.raises(IntegrityError, match=f"missing: {IMAGE}"):
        seal(signed, tmp_path / "pack", NOW, key=None)


def test_a_link_in_the_archive_is_not_followed(signed: Path, tmp_path: Path) -> None:
    target = signed / "archive" / IMAGE
    moved = tmp_path / "elsewhere"
    target.rename(moved)
    target.symlink_to(moved)
    with pytest.raises(IntegrityError, match=f"a link instead of a file: {IMAGE}"):
        seal(signed, tmp_path / "pack", NOW, key=None)


def test_another_manifest_than_the_recorded_one_is_not_sealed(signed: Path, tmp_path: Path) -> None:
    path = signed / "archive" / "manifest-sha256.txt"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-1]))
    with pytest.raises(IntegrityError, match=r"not the one that archive\.json names"):
        seal(signed, tmp_path / "pack", NOW, key=None)
    path.unlink()
    with pytest.raises(IntegrityError, match="has no manifest"):
        seal(signed, tmp_path / "pack", NOW, key=None)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("DICOM/P000001/image.dcm", "DICOM medium"),
        ("DICOM/p000001", "DICOM medium"),
        ("notes 100%.txt", "letters, digits"),
        ("-rf", "begins with"),
        (".hidden", "begins with"),
        ("con.txt", "name of a device"),
        ("labels.", "ends with a dot"),
        ("Labels.csv", "differ by case alone"),
    ],
)
def test_names_that_no_bag_can_carry_everywhere_are_not_sealed(
    run: Path,
    tmp_path: Path,
    audit_of: Callable[..., None],
    archive_of: Callable[..., None],
    name: str,
    why: str,
) -> None:
    archive_of(run, {**FILES, name: b"x"})
    audit_of(run)
    approve(run, "Ada Approver", "privacy officer", "I read the report.", NOW)
    approve(run, "Ben Botham", "custodian", "Agreed.", NOW)
    with pytest.raises(IntegrityError, match=why):
        seal(run, tmp_path / "pack", NOW, key=None)
    assert leftovers(tmp_path) == ["runs"]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"cohort_patients": 1234}, "cohort_patients"),
        ({"license": "see /data/wards/licence.txt"}, "names a place"),
        ({"manifest": {"sha256": "0" * 64, "files": 9, "bytes": 1}}, "states a digest"),
        ({"schema": "synthrelease.archive/1"}, "an earlier version wrote it"),
    ],
)
def test_an_archive_record_that_cannot_leave_whole_is_not_sealed(
    run: Path,
    tmp_path: Path,
    audit_of: Callable[..., None],
    archive_of: Callable[..., None],
    change: dict[str, object],
    why: str,
) -> None:
    archive_of(run, FILES, **change)
    audit_of(run)

    def sign_and_seal() -> None:
        approve(run, "Ada Approver", "privacy officer", "I read the report.", NOW)
        approve(run, "Ben Botham", "custodian", "Agreed.", NOW)
        seal(run, tmp_path / "pack", NOW, key=None)

    with pytest.raises(IntegrityError, match=why):
        sign_and_seal()
    assert leftovers(tmp_path) == ["runs"]


def test_counts_that_the_archive_does_not_have_are_not_sealed(
    run: Path, tmp_path: Path, audit_of: Callable[..., None], archive_of: Callable[..., None]
) -> None:
    archive_of(run, FILES)
    record = read_json(run / "archive.json")
    record["manifest"]["bytes"] += 1
    atomic_write_json(run / "archive.json", record)
    audit_of(run)
    approve(run, "Ada Approver", "privacy officer", "I read the report.", NOW)
    approve(run, "Ben Botham", "custodian", "Agreed.", NOW)
    with pytest.raises(IntegrityError, match=r"archive\.json counts"):
        seal(run, tmp_path / "pack", NOW, key=None)


@pytest.mark.parametrize("content", ["internal", None])
def test_only_an_external_report_is_sealed(signed: Path, tmp_path: Path, content: str | None) -> None:
    path = signed / "report-external.html"
    if content is None:
        path.unlink()
    else:
        path.write_text(
            path.read_text(encoding="utf-8").replace('content="external"', 'content="internal"'), encoding="utf-8"
        )
    with pytest.raises(IntegrityError, match=r"report-external\.html"):
        seal(signed, tmp_path / "pack", NOW, key=None)


def test_a_report_of_another_audit_is_not_sealed(signed: Path, tmp_path: Path) -> None:
    path = signed / "report-external.html"
    atomic_write_text(path, path.read_text(encoding="utf-8").replace(digest_of_file(signed / "audit.json"), "0" * 64))
    with pytest.raises(IntegrityError, match="another audit"):
        seal(signed, tmp_path / "pack", NOW, key=None)


def test_a_path_in_a_report_stops_the_sealing(signed: Path, tmp_path: Path) -> None:
    path = signed / "report-external.html"
    atomic_write_text(path, path.read_text(encoding="utf-8").replace("figures", "/data/wards/ward-seven/chest/1.dcm"))
    with pytest.raises(IntegrityError, match=r"evidence/report-external\.html") as caught:
        seal(signed, tmp_path / "pack", NOW, key=None)
    assert "ward-seven" not in str(caught.value)
    assert leftovers(tmp_path) == ["runs"]


def test_a_release_is_never_overwritten(signed: Path, tmp_path: Path) -> None:
    seal(signed, tmp_path / "pack", NOW, key=None)
    before = digest_of_file(tmp_path / "pack" / "release.json")
    with pytest.raises(UsageError, match="never overwritten"):
        seal(signed, tmp_path / "pack", NOW + timedelta(days=1), key=None)
    assert digest_of_file(tmp_path / "pack" / "release.json") == before


def test_the_same_run_seals_to_the_same_bytes(signed: Path, tmp_path: Path, key: Ed25519PrivateKey) -> None:
    for name in ("a", "b"):
        seal(signed, tmp_path / name, NOW, key=key)
    assert manifest_of(tmp_path / "a") == manifest_of(tmp_path / "b")


def test_another_releases_unfinished_pack_is_left_alone(signed: Path, tmp_path: Path) -> None:
    other = tmp_path / "out" / ".partial-pack-2026-0123abcd"
    own = tmp_path / "out" / ".partial-pack-0123abcd"
    for folder in (other, own):
        folder.mkdir(parents=True)
    seal(signed, tmp_path / "out" / "pack", NOW, key=None)
    assert other.exists()
    assert not own.exists()


def test_a_pack_that_appears_meanwhile_is_not_replaced(signed: Path, tmp_path: Path) -> None:
    target = tmp_path / "pack"
    with pytest.raises(UsageError, match="never overwritten"):
        seal(signed, target, NOW, key=None, on_released=lambda _: target.mkdir())
    assert list(target.iterdir()) == []


def test_a_pack_that_would_not_verify_never_appears(
    signed: Path, tmp_path: Path, key: Ed25519PrivateKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[ReleaseRecord] = []
    monkeypatch.setattr("synthrelease.release.sealing.envelope_bytes", lambda _: b"{}")
    with pytest.raises(IntegrityError):
        seal(signed, tmp_path / "pack", NOW, key=key, on_released=heard.append)
    assert heard == []
    assert leftovers(tmp_path) == ["runs"]


def test_the_ledger_hears_of_the_release_before_it_is_visible(signed: Path, tmp_path: Path) -> None:
    heard: list[tuple[str, bool]] = []

    def listen(record: ReleaseRecord) -> None:
        heard.append((record.root_digest, (tmp_path / "pack").exists()))

    record = seal(signed, tmp_path / "pack", NOW, key=None, on_released=listen)
    assert heard == [(record.root_digest, False)]


def test_an_error_in_the_middle_leaves_nothing(signed: Path, tmp_path: Path) -> None:
    def full_ledger(_: ReleaseRecord) -> None:
        raise RuntimeError("ledger")

    with pytest.raises(RuntimeError, match="ledger"):
        seal(signed, tmp_path / "out" / "pack", NOW, key=None, on_released=full_ledger)
    assert leftovers(tmp_path / "out") == []


def test_a_kill_in_the_middle_leaves_no_pack_and_is_swept_up(signed: Path, tmp_path: Path) -> None:
    program = (
        "import os, sys\nfrom datetime import UTC, datetime\nfrom pathlib import Path\nfrom synthrelease.release import seal\n"
        "seal(Path(sys.argv[1]), Path(sys.argv[2]), datetime(2026, 3, 1, 9, 30, tzinfo=UTC), key=None, "
        "on_released=lambda _: os._exit(9))"
    )
    target = tmp_path / "out" / "pack"
    done = subprocess.run([sys.executable, "-c", program, str(signed), str(target)], check=False, capture_output=True)
    assert done.returncode == 9
    assert not target.exists()
    assert leftovers(tmp_path / "out") != []
    seal(signed, target, NOW, key=None)
    assert leftovers(tmp_path / "out") == ["pack"]


def test_paths_are_told_from_fractions_and_addresses() -> None:
    assert without_places({"note": "see C:\\data", "host": "a", "rate": "1/2", "x": ["/srv/cxr/1"]}) == {
        "note": "withheld",
        "host": "withheld",
        "rate": "1/2",
        "x": ["withheld"],
    }
    assert not names_a_place("https://example.org/a/b and/or n/a")


def test_markup_in_a_policy_stays_text() -> None:
    assert line("x <script>\n| [a](b)") == "x &lt;script&gt; \\| \\[a\\](b)"


def test_words_that_a_private_store_holds_are_not_sealed(
    signed: Path, tmp_path: Path, key: Ed25519PrivateKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    seal(signed, tmp_path / "pack", NOW, key=key)
    evidence = read_json(tmp_path / "pack" / "evidence" / "typed_texts.json")
    assert evidence["compared_with"] is None
    assert evidence["told"].startswith("typed texts were not compared with the private headers, because")

    def hit(run_folder: Path, policy: object, approvals: tuple[Approval, ...]) -> object:
        assert [approval.by for approval in approvals] == ["Ada Approver", "Ben Botham"]
        raise ApprovalError("approvals.jsonl line 1: the statement resembles a private PatientName")

    monkeypatch.setattr("synthrelease.release.sealing.require_no_private_value", hit)
    with pytest.raises(ApprovalError, match="line 1"):
        seal(signed, tmp_path / "out" / "again", NOW, key=key)
    assert leftovers(tmp_path / "out") == []


def test_words_that_were_replaced_do_not_leave(signed: Path, tmp_path: Path, key: Ed25519PrivateKey) -> None:
    approve(signed, "Ada Approver", "privacy officer", "In other words.", NOW, again=True)
    record = seal(signed, tmp_path / "pack", NOW, key=key)
    verify(tmp_path / "pack", record.root_digest, NOW, key.public_key())
    approvals = (tmp_path / "pack" / "evidence" / "approvals.jsonl").read_text(encoding="utf-8")
    assert "In other words." in approvals
    assert not any(b"I read the report." in p.read_bytes() for p in (tmp_path / "pack").rglob("*") if p.is_file())
    assert record.approvers == ("Ben Botham", "Ada Approver")

"""What a pack needs before it is sealed, and what is never in it."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from synthrelease.errors import ApprovalError, AuditFailed, AuditInconclusive, IntegrityError, UsageError
from synthrelease.records.digests import digest_of, digest_of_file
from synthrelease.records.files import atomic_write_json, atomic_write_text, read_json
from synthrelease.records.ledger import Ledger
from synthrelease.release import ReleaseRecord, approve, refuse, seal
from synthrelease.release.claim import claim_in_words
from synthrelease.release.extracts import audit_extract, names_a_place, record_extract, without_places
from synthrelease.release.pages import line
from synthrelease.release.run_records import named_parent
from synthrelease.release.statement.registry import registry_yaml
from synthrelease.release.statement.stating import state
from synthrelease.release.statement.text import statement_text

NOW = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)


def leftovers(folder: Path) -> list[str]:
    return [p.name for p in folder.iterdir()] if folder.exists() else []


def test_a_signed_run_is_sealed_with_everything_a_recipient_needs(signed: Path, tmp_path: Path) -> None:
    record = seal(signed, tmp_path / "out" / "chest-2026", NOW)
    pack = tmp_path / "out" / "chest-2026"
    files = {p.relative_to(pack).as_posix() for p in pack.rglob("*") if p.is_file()}
    evidence = ["policy.resolved", "plan", "training", "archive", "audit", "dp_claim"]
    assert files == {
        *("RELEASE.md", "TERMS.md", "STATEMENT.txt", "manifest-sha256.txt", "release.json"),
        *(f"archive/images/{number:04d}.dcm" for number in range(3)),
        *(f"evidence/{name}.json" for name in evidence),
        *("evidence/approvals.jsonl", "evidence/report-external.html", "evidence/dp_registry.yaml"),
    }
    assert record.files == len(files) - 2
    assert record.approvers == ("Ada Approver", "Ben Botham")
    assert record.expires_on == "2027-03-01T09:30:00Z"
    assert read_json(pack / "release.json")["root_digest"] == record.root_digest
    assert leftovers(tmp_path / "out") == ["chest-2026"]


def test_the_pack_tells_its_claim_in_words_in_figures_and_for_the_registry(
    signed: Path, tmp_path: Path, ledger: Ledger
) -> None:
    seal(signed, tmp_path / "pack", NOW, ledger=ledger)
    statement = state(signed, ledger, NOW, releasing=True)
    assert (tmp_path / "pack" / "STATEMENT.txt").read_text(encoding="utf-8") == statement_text(statement)
    evidence = tmp_path / "pack" / "evidence"
    assert read_json(evidence / "dp_claim.json") == json.loads(json.dumps(statement.to_json()))
    assert read_json(evidence / "dp_claim.json")["spending"]["runs"] == 1
    assert (evidence / "dp_registry.yaml").read_text(encoding="utf-8") == registry_yaml(statement)
    assert "publication_date: '2026-03-01'" in (evidence / "dp_registry.yaml").read_text(encoding="utf-8")
    assert "STATEMENT.txt" in (tmp_path / "pack" / "RELEASE.md").read_text(encoding="utf-8")


def test_a_pack_that_is_sealed_without_a_ledger_says_so(signed: Path, tmp_path: Path) -> None:
    seal(signed, tmp_path / "pack", NOW)
    assert "ledger was not at hand" in (tmp_path / "pack" / "STATEMENT.txt").read_text(encoding="utf-8")


def test_a_run_without_privacy_is_sealed_with_the_sentence_that_it_has_no_guarantee(
    signed_plain: Path, tmp_path: Path
) -> None:
    record = seal(signed_plain, tmp_path / "pack", NOW)
    assert record.claim.startswith("No formal guarantee")
    assert "There is no guarantee" in (tmp_path / "pack" / "STATEMENT.txt").read_text(encoding="utf-8")
    assert read_json(tmp_path / "pack" / "evidence" / "dp_claim.json")["guarantee"] is None
    assert not (tmp_path / "pack" / "evidence" / "dp_registry.yaml").exists()


def test_a_claim_that_its_mechanisms_do_not_bear_out_is_not_sealed(signed_overclaim: Path, tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match="its own mechanisms cost"):
        seal(signed_overclaim, tmp_path / "pack", NOW)
    assert leftovers(tmp_path) == ["runs"]


def test_the_sentence_of_the_claim_rounds_epsilon_up() -> None:
    said = claim_in_words({"privacy": {"mode": "private", "epsilon": 8.0001, "delta": 1e-5}})
    assert "epsilon 8.01 at delta 1e-05" in said


def test_an_artefact_of_the_trainer_that_slipped_into_the_archive_is_not_sealed(
    run: Path, tmp_path: Path, audit_of: Callable[..., None]
) -> None:
    content = b"sums of real images"
    (run / "archive" / "moments.npz").write_bytes(content)
    archive = read_json(run / "archive.json")
    files = {**archive["files"], "moments.npz": hashlib.sha256(content).hexdigest()}
    atomic_write_json(run / "archive.json", {**archive, "files": files, "archive_digest": digest_of(files)})
    audit_of(run)
    approve(run, "Ada Approver", "privacy officer", "I read the report.", NOW)
    approve(run, "Ben Botham", "custodian", "Agreed.", NOW)
    with pytest.raises(IntegrityError, match="nothing_internal_is_exported"):
        seal(run, tmp_path / "pack", NOW)
    assert leftovers(tmp_path) == ["runs"]


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="sha256sum is not installed")
def test_sha256sum_checks_the_manifest(signed: Path, tmp_path: Path) -> None:
    seal(signed, tmp_path / "pack", NOW)
    done = subprocess.run(["sha256sum", "-c", "--quiet", "manifest-sha256.txt"], cwd=tmp_path / "pack", check=False)
    assert done.returncode == 0


def test_nothing_forbidden_is_in_the_pack(signed: Path, tmp_path: Path) -> None:
    seal(signed, tmp_path / "pack", NOW)
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
    seal(signed, tmp_path / "pack", NOW)
    training = read_json(tmp_path / "pack" / "evidence" / "training.json")
    assert training["privacy"] == read_json(signed / "training.json")["privacy"]
    assert training["extract_of"]["digest"] == digest_of_file(signed / "training.json")
    audit = read_json(tmp_path / "pack" / "evidence" / "audit.json")
    assert audit["findings"][0]["statistic"]["value"] == 0.0123
    assert audit["findings"][0]["n"] == {"train": 1200, "holdout": 570, "synthetic": 1001}
    assert audit["findings"][0]["threshold"]["value"] == 0.05
    assert "details" not in audit["findings"][0]


def test_a_digest_of_the_cohort_does_not_leave() -> None:
    record = {"schema": "synthrelease.training/1", "digests": {"policy": "p" * 64, "cohort": "c" * 64}}
    extract = record_extract("training.json", record, "t" * 64)
    assert extract["parents"] == {"policy": "p" * 64}
    assert "c" * 64 not in json.dumps(extract)
    audit = {"findings": [], "digests": {"cohort": "c" * 64, "policy": "p" * 64}}
    assert audit_extract(audit, "a" * 64)["digests"] == {"cohort": "withheld", "policy": "p" * 64}


def test_a_training_record_may_name_its_policy_among_its_digests() -> None:
    assert named_parent({"parents": {"policy": "a"}, "digests": {"policy": "b"}}, "policy") == "a"
    assert named_parent({"digests": {"policy": "b"}}, "policy") == "b"
    assert named_parent({}, "policy") is None


@pytest.mark.parametrize("people", [(), ("Ada Approver",)])
def test_fewer_than_two_approvals_do_not_seal(run: Path, tmp_path: Path, people: tuple[str, ...]) -> None:
    for name in people:
        approve(run, name, "privacy officer", "fine", NOW)
    with pytest.raises(ApprovalError, match=f"there are {len(people)}") as caught:
        seal(run, tmp_path / "pack", NOW)
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
        seal(signed, tmp_path / "pack", NOW)
    assert caught.value.exit_code == code


def test_stale_approvals_do_not_seal(signed: Path, tmp_path: Path, audit_of: Callable[..., None]) -> None:
    audit_of(signed, seed=5)
    with pytest.raises(ApprovalError, match="stale"):
        seal(signed, tmp_path / "pack", NOW)


def test_expired_approvals_do_not_seal(signed: Path, tmp_path: Path) -> None:
    with pytest.raises(ApprovalError, match="expired"):
        seal(signed, tmp_path / "pack", NOW + timedelta(days=366))


def test_a_refusal_outweighs_two_approvals(signed: Path, tmp_path: Path) -> None:
    refuse(signed, "Cleo", "privacy officer", "Too close.", NOW)
    with pytest.raises(ApprovalError, match="refused"):
        seal(signed, tmp_path / "pack", NOW)


def test_the_statement_of_a_withdrawn_refusal_stays_in_the_house(
    run: Path, tmp_path: Path, audit_of: Callable[..., None]
) -> None:
    refuse(run, "Cleo", "privacy officer", "Pair 3 looks like our patient K.", NOW)
    audit_of(run, seed=8)
    approve(run, "Ada Approver", "privacy officer", "fine", NOW)
    approve(run, "Ben Botham", "custodian", "fine", NOW)
    seal(run, tmp_path / "pack", NOW)
    text = (tmp_path / "pack" / "evidence" / "approvals.jsonl").read_text(encoding="utf-8")
    assert "our patient K" not in text
    assert json.loads(text.splitlines()[0])["withheld"] is True


def test_an_archive_that_changed_after_the_audit_is_not_sealed(signed: Path, tmp_path: Path) -> None:
    (signed / "archive" / "images" / "0001.dcm").write_bytes(b"other")
    with pytest.raises(IntegrityError, match=r"images/0001\.dcm"):
        seal(signed, tmp_path / "pack", NOW)
    assert leftovers(tmp_path) == ["runs"]


def test_a_file_that_nobody_judged_is_not_sealed(signed: Path, tmp_path: Path) -> None:
    (signed / "archive" / "notes.txt").write_text("hello", encoding="utf-8")
    with pytest.raises(IntegrityError, match=r"notes\.txt"):
        seal(signed, tmp_path / "pack", NOW)


def test_a_link_in_the_archive_is_not_followed(signed: Path, tmp_path: Path) -> None:
    target = signed / "archive" / "images" / "0001.dcm"
    moved = tmp_path / "elsewhere.dcm"
    target.rename(moved)
    target.symlink_to(moved)
    with pytest.raises(IntegrityError, match=r"images/0001\.dcm"):
        seal(signed, tmp_path / "pack", NOW)


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
        seal(signed, tmp_path / "pack", NOW)


def test_a_report_of_another_audit_is_not_sealed(signed: Path, tmp_path: Path) -> None:
    path = signed / "report-external.html"
    atomic_write_text(path, path.read_text(encoding="utf-8").replace(digest_of_file(signed / "audit.json"), "0" * 64))
    with pytest.raises(IntegrityError, match="another audit"):
        seal(signed, tmp_path / "pack", NOW)


def test_a_path_in_a_report_stops_the_sealing(signed: Path, tmp_path: Path) -> None:
    path = signed / "report-external.html"
    atomic_write_text(path, path.read_text(encoding="utf-8").replace("figures", "/data/wards/ward-seven/chest/1.dcm"))
    with pytest.raises(IntegrityError, match=r"evidence/report-external\.html") as caught:
        seal(signed, tmp_path / "pack", NOW)
    assert "ward-seven" not in str(caught.value)
    assert leftovers(tmp_path) == ["runs"]


def test_a_release_is_never_overwritten(signed: Path, tmp_path: Path) -> None:
    seal(signed, tmp_path / "pack", NOW)
    before = digest_of_file(tmp_path / "pack" / "release.json")
    with pytest.raises(UsageError, match="never overwritten"):
        seal(signed, tmp_path / "pack", NOW + timedelta(days=1))
    assert digest_of_file(tmp_path / "pack" / "release.json") == before


def test_the_same_run_seals_to_the_same_bytes(signed: Path, tmp_path: Path) -> None:
    assert seal(signed, tmp_path / "a", NOW).root_digest == seal(signed, tmp_path / "b", NOW).root_digest


def test_the_ledger_hears_of_the_release_before_it_is_visible(signed: Path, tmp_path: Path) -> None:
    heard: list[tuple[str, bool]] = []

    def listen(record: ReleaseRecord) -> None:
        heard.append((record.root_digest, (tmp_path / "pack").exists()))

    record = seal(signed, tmp_path / "pack", NOW, on_released=listen)
    assert heard == [(record.root_digest, False)]


def test_an_error_in_the_middle_leaves_nothing(signed: Path, tmp_path: Path) -> None:
    def full_ledger(_: ReleaseRecord) -> None:
        raise RuntimeError("ledger")

    with pytest.raises(RuntimeError, match="ledger"):
        seal(signed, tmp_path / "out" / "pack", NOW, on_released=full_ledger)
    assert leftovers(tmp_path / "out") == []


def test_a_kill_in_the_middle_leaves_no_pack_and_is_swept_up(signed: Path, tmp_path: Path) -> None:
    program = (
        "import os, sys\nfrom datetime import UTC, datetime\nfrom pathlib import Path\nfrom synthrelease.release import seal\n"
        "seal(Path(sys.argv[1]), Path(sys.argv[2]), datetime(2026, 3, 1, 9, 30, tzinfo=UTC), on_released=lambda _: os._exit(9))"
    )
    target = tmp_path / "out" / "pack"
    done = subprocess.run([sys.executable, "-c", program, str(signed), str(target)], check=False, capture_output=True)
    assert done.returncode == 9
    assert not target.exists()
    assert leftovers(tmp_path / "out") != []
    seal(signed, target, NOW)
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

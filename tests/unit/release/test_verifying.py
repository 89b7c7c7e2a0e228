"""A pack that was touched does not verify, and says where."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from synthrelease.errors import ApprovalError, IntegrityError
from synthrelease.records.digests import digest_of_file, manifest_of
from synthrelease.release import ReleaseRecord, seal, verify
from synthrelease.release.chain import START
from synthrelease.release.pack import manifest_text, read_release, release_bytes

NOW = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)


@pytest.fixture
def pack(signed: Path, tmp_path: Path) -> Path:
    seal(signed, tmp_path / "pack", NOW)
    return tmp_path / "pack"


def reseal(pack: Path, **changes: Any) -> None:
    """Do what a forger would do: make manifest and root digest fit the changed files again."""
    files = {
        name: digest
        for name, digest in manifest_of(pack).items()
        if name not in ("manifest-sha256.txt", "release.json")
    }
    (pack / "manifest-sha256.txt").write_text(manifest_text(files), encoding="utf-8")
    old = read_release(pack)
    record = ReleaseRecord(
        **{
            **vars(old),
            "files": len(files),
            "manifest_digest": digest_of_file(pack / "manifest-sha256.txt"),
            **changes,
        }
    )
    (pack / "release.json").write_bytes(release_bytes(record))


def test_an_untouched_pack_verifies(pack: Path) -> None:
    root = read_release(pack).root_digest
    assert verify(pack, None, NOW).deposited is False
    result = verify(pack, root, NOW)
    assert result.deposited is True
    assert result.record.approvers == ("Ada Approver", "Ben Botham")
    assert verify(pack, root[:16].upper(), NOW).files == result.record.files


@pytest.mark.parametrize("name", ["STATEMENT.txt", "evidence/dp_claim.json", "evidence/dp_registry.yaml"])
def test_a_softened_statement_is_noticed(pack: Path, name: str) -> None:
    path = pack / name
    text = path.read_text(encoding="utf-8")
    assert "not a strong guarantee" in " ".join(text.split())
    path.write_text(text.replace("not a", "a"), encoding="utf-8")
    with pytest.raises(IntegrityError, match=f"changed: {name}") as caught:
        verify(pack, None, NOW)
    assert caught.value.exit_code == 6


@pytest.mark.parametrize("expect", ["0" * 64, "", "abc"])
def test_another_root_digest_than_the_expected_one_is_refused(pack: Path, expect: str) -> None:
    with pytest.raises(IntegrityError, match="not the one expected"):
        verify(pack, expect, NOW)


def test_one_flipped_byte_in_any_file_is_found_and_named(pack: Path) -> None:
    for path in sorted(p for p in pack.rglob("*") if p.is_file()):
        whole = path.read_bytes()
        name = path.relative_to(pack).as_posix()
        for place in (0, len(whole) // 2, len(whole) - 1):
            changed = bytearray(whole)
            changed[place] ^= 1
            path.write_bytes(bytes(changed))
            with pytest.raises(IntegrityError, match=name.replace(".", r"\.")) as caught:
                verify(pack, None, NOW)
            assert caught.value.exit_code == 6
        path.write_bytes(whole)
    verify(pack, None, NOW)


def test_every_byte_of_the_release_record_counts(pack: Path) -> None:
    path = pack / "release.json"
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 32]) + whole[place + 1 :])
        with pytest.raises(IntegrityError):
            read_release(pack)


def test_a_missing_file_is_named(pack: Path) -> None:
    (pack / "archive" / "images" / "0002.dcm").unlink()
    with pytest.raises(IntegrityError, match=r"missing: archive/images/0002\.dcm"):
        verify(pack, None, NOW)


@pytest.mark.parametrize("name", ["archive/extra.dcm", "note.txt", "evidence/\x1b[2Jx", "archive/release.json"])
def test_an_extra_file_is_named_without_its_control_characters(pack: Path, name: str) -> None:
    (pack / name).write_text("x", encoding="utf-8")
    with pytest.raises(IntegrityError, match="not part of the release") as caught:
        verify(pack, None, NOW)
    assert "\x1b" not in str(caught.value)


def test_a_link_is_not_a_file(pack: Path, tmp_path: Path) -> None:
    path = pack / "TERMS.md"
    path.rename(tmp_path / "terms")
    path.symlink_to(tmp_path / "terms")
    with pytest.raises(IntegrityError, match=r"a link instead of a file: TERMS\.md"):
        verify(pack, None, NOW)


def test_a_manifest_that_names_files_outside_of_the_pack_opens_none(pack: Path) -> None:
    manifest = pack / "manifest-sha256.txt"
    manifest.write_text(manifest.read_text(encoding="utf-8") + f"{'0' * 64}  ../../etc/passwd\n", encoding="utf-8")
    record = ReleaseRecord(**{**vars(read_release(pack)), "manifest_digest": digest_of_file(manifest)})
    (pack / "release.json").write_bytes(release_bytes(record))
    with pytest.raises(IntegrityError, match=r"missing: \.\./\.\./etc/passwd"):
        verify(pack, None, NOW)


def test_a_folder_that_is_no_pack_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match=r"release\.json is missing"):
        verify(tmp_path / "nothing", None, NOW)


def test_an_expired_release_is_refused(pack: Path) -> None:
    end = datetime(2027, 3, 1, 9, 30, tzinfo=UTC)
    verify(pack, None, end - timedelta(seconds=1))
    with pytest.raises(ApprovalError, match="expired") as caught:
        verify(pack, None, end)
    assert caught.value.exit_code == 7


def test_a_longer_life_than_the_approvals_give_is_noticed(pack: Path) -> None:
    reseal(pack, expires_on="2040-01-01T00:00:00Z")
    with pytest.raises(IntegrityError, match="dates of expiry"):
        verify(pack, None, NOW)


def _edit(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    values = json.loads(path.read_text(encoding="utf-8"))
    change(values)
    path.write_text(json.dumps(values), encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("audit.json", lambda v: v["extract_of"].update(digest=START)),
        ("audit.json", lambda v: v.update(verdict="fail")),
        ("audit.json", lambda v: v["digests"].update(archive=START)),
        ("archive.json", lambda v: v["files"].popitem()),
        ("archive.json", lambda v: v["parents"].update(training=START)),
        ("training.json", lambda v: v["parents"].update(policy=START)),
        ("policy.resolved.json", lambda v: v["extract_of"].update(digest=START)),
    ],
)
def test_records_that_contradict_each_other_are_noticed_even_when_resealed(
    pack: Path, name: str, change: Callable[[dict[str, Any]], None]
) -> None:
    _edit(pack / "evidence" / name, change)
    reseal(pack)
    with pytest.raises(IntegrityError, match=name.replace(".", r"\.")):
        verify(pack, None, NOW)


def test_a_resealed_pack_has_another_root_digest(pack: Path) -> None:
    root = read_release(pack).root_digest
    (pack / "TERMS.md").write_text("Do as you like.", encoding="utf-8")
    reseal(pack)
    verify(pack, None, NOW)
    with pytest.raises(IntegrityError, match="not the one expected"):
        verify(pack, root, NOW)


def test_a_pack_without_its_second_signature_is_refused(pack: Path) -> None:
    path = pack / "evidence" / "approvals.jsonl"
    path.write_text(path.read_text(encoding="utf-8").splitlines()[0] + "\n", encoding="utf-8")
    reseal(pack, approvers=("Ada Approver",))
    with pytest.raises(ApprovalError, match="two different people"):
        verify(pack, None, NOW)


def test_verifying_loads_no_deep_learning_and_no_dicom_library(pack: Path) -> None:
    program = (
        "import sys\nfrom datetime import UTC, datetime\nfrom pathlib import Path\nfrom synthrelease.release import verify\n"
        "verify(Path(sys.argv[1]), None, datetime(2026, 3, 1, 9, 30, tzinfo=UTC))\n"
        "print(sorted({'torch', 'opacus', 'highdicom', 'pydicom', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program, str(pack)], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"

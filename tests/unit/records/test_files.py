"""Requirements of writing: the old state or the new one, at any moment."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from synthrelease.errors import IntegrityError, UnsuitableData, UsageError
from synthrelease.records.digests import digest_of, manifest_of
from synthrelease.records.files import (
    PARTIAL,
    atomic_folder,
    atomic_write_json,
    atomic_write_text,
    canonical_json,
    read_json,
    sweep_partials,
)
from synthrelease.records.runs import find_run, new_run


def test_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "record.json"
    atomic_write_text(target, "old")

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UnsuitableData, match="No space left"):
        atomic_write_text(target, "new")
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["record.json"]


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "archive"
    with atomic_folder(target) as folder:
        (folder / "a").write_text("1")
        assert not target.exists()
    assert (target / "a").read_text() == "1"

    def fail_halfway() -> None:
        with atomic_folder(target) as folder:
            (folder / "a").write_text("2")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_halfway()
    assert (target / "a").read_text() == "1"
    with atomic_folder(target) as folder:
        (folder / "b").write_text("3")
    assert manifest_of(target).keys() == {"b"}
    assert [path.name for path in tmp_path.iterdir()] == ["archive"]


def test_a_killed_writer_leaves_the_old_folder(tmp_path: Path) -> None:
    target = tmp_path / "archive"
    with atomic_folder(target) as folder:
        (folder / "a").write_text("old")
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom synthrelease.records.files import atomic_folder\n"
        "with atomic_folder(Path(sys.argv[1])) as folder:\n"
        "    (folder / 'a').write_text('new')\n    print('ready', flush=True)\n    time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(target)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert (target / "a").read_text() == "old"
    assert any(path.name.startswith(PARTIAL) for path in tmp_path.iterdir())
    sweep_partials(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["archive"]


def test_canonical_json_is_one_byte_string_and_refuses_nan() -> None:
    assert canonical_json({"b": [1, 2.5], "a": "é"}) == '{"a":"é","b":[1,2.5]}'.encode()
    assert digest_of({"a": 1, "b": 2}) == digest_of({"b": 2, "a": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json(float("nan"))


def test_unreadable_records_are_integrity_errors(tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match="missing"):
        read_json(tmp_path / "audit.json")
    (tmp_path / "audit.json").write_text("{")
    with pytest.raises(IntegrityError, match="not readable"):
        read_json(tmp_path / "audit.json")
    atomic_write_json(tmp_path / "audit.json", {"a": 1})
    assert read_json(tmp_path / "audit.json") == {"a": 1}


def test_the_newest_run_is_found_when_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no run"):
        find_run(tmp_path, None)
    now = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    first = new_run(tmp_path, "dp_eps8", {}, now)
    os.utime(first.policy, (time.time() - 10, time.time() - 10))
    second = new_run(tmp_path, "dp_eps8", {}, now)
    assert (first.name, second.name) == ("dp_eps8-20260102-030405", "dp_eps8-20260102-030405-2")
    assert find_run(tmp_path, None).folder == second.folder
    assert find_run(tmp_path, first.name).folder == first.folder
    assert find_run(tmp_path, str(second.folder)).folder == second.folder
    with pytest.raises(UsageError, match="synthrelease train"):
        first.require(first.training, "train")
    (tmp_path / "other").mkdir()
    with pytest.raises(IntegrityError, match="not a run"):
        find_run(tmp_path, "other")

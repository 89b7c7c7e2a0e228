"""Killed at any moment, a writer goes on where it stopped: really killed, in a process of its own."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from synthrelease.archive.journal import Partial, partial_of
from synthrelease.archive.lock import only_writer
from synthrelease.archive.samples import shard_size
from synthrelease.archive.writer import Samples, held_samples, write_archive
from synthrelease.errors import UsageError
from synthrelease.records.digests import manifest_of
from synthrelease.records.manifest import problems
from tests.unit.archive.conftest import random_samples, small_settings

SHARD = shard_size(1)
SETTINGS = small_settings(6 * SHARD + 3)

SCRIPT = """
import os, sys, time
from pathlib import Path
sys.path.insert(0, os.getcwd())
from synthrelease.archive import writer
from synthrelease.archive.writer import Samples, held_samples, write_archive
from tests.unit.archive.conftest import random_samples, small_settings

if __name__ == "__main__":
    target, images, processes, pause, act = Path(sys.argv[1]), *map(int, sys.argv[2:4]), float(sys.argv[4]), sys.argv[5]
    settings = small_settings(images)
    held = held_samples(random_samples(settings), settings)
    def draw(shard):
        print("draw", shard, flush=True)
        time.sleep(pause)
        return held.draw(shard)
    def deadly(real):
        def call(*given):
            if act.startswith("before"):
                os.kill(os.getpid(), 9)
            real(*given)
            os.kill(os.getpid(), 9)
        return call
    name = act.partition(" ")[2]
    if name:
        setattr(writer, name, deadly(getattr(writer, name)))
    record = write_archive(target, Samples(held.digest, draw), settings, processes=processes)
    print("taken over", record.taken_over, flush=True)
"""


class Writer:
    """A writing process."""

    def __init__(self, folder: Path, *, processes: int = 1, pause: float = 0.0, act: str = "-") -> None:
        self.target = folder / "out" / "archive"
        script = folder / "writer.py"
        script.write_text(SCRIPT)
        words = [str(self.target), str(SETTINGS.images), str(processes), str(pause), act]
        self.process = subprocess.Popen(
            [sys.executable, str(script), *words], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[3]
        )

    def noted(self) -> list[Path]:
        return [path for path in self.target.parent.glob(".partial-archive-*/journal/*") if path.suffix == ""]

    def wait_for(self, shards: int) -> None:
        deadline = time.monotonic() + 120
        while len(self.noted()) < shards:
            assert self.process.poll() is None, "the writer ended by itself"
            assert time.monotonic() < deadline, "the writer wrote nothing"
            time.sleep(0.002)

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()

    def end(self) -> list[str]:
        said, _ = self.process.communicate(timeout=300)
        return said.splitlines()


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The same archive, never interrupted."""
    folder = tmp_path_factory.mktemp("straight")
    write_archive(folder / "archive", held_samples(random_samples(SETTINGS), SETTINGS), SETTINGS)
    return manifest_of(folder / "archive")


def here(target: Path) -> tuple[int, list[int]]:
    """Write the archive in this process: images taken over, shards drawn."""
    held = held_samples(random_samples(SETTINGS), SETTINGS)
    drawn: list[int] = []

    def draw(shard: int) -> object:
        drawn.append(shard)
        return held.draw(shard)

    return write_archive(target, Samples(held.digest, draw), SETTINGS).taken_over, drawn  # type: ignore[arg-type]


@pytest.mark.parametrize("processes", [1, 2])
def test_a_killed_writer_is_continued_and_gives_the_same_bytes(
    tmp_path: Path, straight: dict[str, str], processes: int
) -> None:
    writer = Writer(tmp_path, processes=processes, pause=0.05)
    writer.wait_for(2)
    writer.kill()
    assert not writer.target.exists()
    finished = {int(path.name) for path in writer.noted()}
    assert len(finished) >= 2
    taken_over, drawn = here(writer.target)
    assert taken_over == len(finished) * SHARD
    assert set(drawn) == set(range(7)) - finished
    assert manifest_of(writer.target) == straight
    assert [path.name for path in writer.target.parent.iterdir()] == ["archive"]


@pytest.mark.slow
def test_a_writer_killed_again_and_again_gives_the_same_bytes(tmp_path: Path, straight: dict[str, str]) -> None:
    """At random moments, with other numbers of processes, until one comes through."""
    rng = random.Random(7)
    for attempt in range(40):
        writer = Writer(tmp_path, processes=1 + attempt % 2, pause=0.02)
        if attempt < 6:
            writer.wait_for(min(attempt + 1, 6))
            time.sleep(rng.uniform(0, 0.1))
            writer.kill()
        else:
            writer.end()
        if writer.target.exists():
            break
        assert not [path for path in writer.target.parent.iterdir() if not path.name.startswith(".")]
    assert manifest_of(writer.target) == straight


@pytest.mark.parametrize("act", ["before atomic_write_json", "before put_in_place", "after put_in_place"])
@pytest.mark.parametrize("old", [False, True], ids=["no archive before", "an archive before"])
def test_a_kill_at_the_end_draws_nothing_again(tmp_path: Path, straight: dict[str, str], act: str, old: bool) -> None:
    before = {}
    target = tmp_path / "out" / "archive"
    if old:
        few = small_settings(2)
        write_archive(target, held_samples(random_samples(few), few), few)
        before = manifest_of(target)
    writer = Writer(tmp_path, act=act)
    writer.end()
    assert writer.process.returncode == -signal.SIGKILL
    if "after" in act:
        assert manifest_of(target) == straight
    else:
        assert (manifest_of(target) == before) if old else not target.exists()
    taken_over, again = here(target)
    assert (taken_over, again) == (SETTINGS.images, [])
    assert manifest_of(target) == straight
    assert [path.name for path in target.parent.iterdir()] == ["archive"]


def interrupted(target: Path, shards: int = 3) -> Partial:
    """An archive that failed after so many shards."""
    held = held_samples(random_samples(SETTINGS), SETTINGS)

    def draw(shard: int) -> object:
        if shard == shards:
            raise RuntimeError("stop")
        return held.draw(shard)

    with pytest.raises(RuntimeError, match="stop"):
        write_archive(target, Samples(held.digest, draw), SETTINGS)  # type: ignore[arg-type]
    found = list(target.parent.glob(".partial-archive-*"))
    assert len(found) == 1
    return Partial(found[0])


def test_a_finished_shard_whose_file_was_damaged_is_written_again(tmp_path: Path, straight: dict[str, str]) -> None:
    """What a power failure does: the journal is there, a file's bytes are not."""
    partial = interrupted(tmp_path / "archive")
    (partial.content / f"DICOM/P{SHARD + 5:06d}/S0000001/M0000001").write_bytes(b"")
    (partial.content / "DICOM/P000003/S0000001/I0000001").unlink()
    taken_over, drawn = here(tmp_path / "archive")
    assert (taken_over, drawn) == (SHARD, [0, 1, 3, 4, 5, 6])
    assert manifest_of(tmp_path / "archive") == straight


@pytest.mark.parametrize("damage", [b"", b"{}", b'{"digest": "0", "entry": {}}', b"\x00" * 4096])
def test_a_damaged_journal_entry_counts_for_nothing(tmp_path: Path, straight: dict[str, str], damage: bytes) -> None:
    partial = interrupted(tmp_path / "archive")
    (partial.journal / "0000001").write_bytes(damage)
    assert here(tmp_path / "archive")[1] == [1, 3, 4, 5, 6]
    assert manifest_of(tmp_path / "archive") == straight


def test_an_entry_that_was_forged_to_leave_files_out_counts_for_nothing(
    tmp_path: Path, straight: dict[str, str]
) -> None:
    from dataclasses import replace

    partial = interrupted(tmp_path / "archive")
    entry = partial.entry(1)
    assert entry is not None
    partial.note(replace(entry, manifest=entry.manifest.partition("\n")[2]))
    assert here(tmp_path / "archive")[1] == [1, 3, 4, 5, 6]
    assert manifest_of(tmp_path / "archive") == straight


def test_a_shard_that_was_being_written_is_overwritten(tmp_path: Path, straight: dict[str, str]) -> None:
    partial = interrupted(tmp_path / "archive")
    half = partial.content / f"DICOM/P{3 * SHARD + 1:06d}/S0000001"
    half.mkdir(parents=True)
    (half / "I0000001").write_bytes(b"half of an image, and longer than that" * 10_000)
    (partial.journal / "0000003.new").write_bytes(b"half an entry")
    here(tmp_path / "archive")
    assert manifest_of(tmp_path / "archive") == straight


def test_another_plan_starts_anew_and_sweeps_what_was_left(tmp_path: Path) -> None:
    partial = interrupted(tmp_path / "archive")
    bystander = tmp_path / ".partial-archive-b-0123456789abcdef"
    bystander.mkdir()
    few = small_settings(2)
    record = write_archive(tmp_path / "archive", held_samples(random_samples(few, seed=5), few), few)
    assert record.taken_over == 0
    assert not partial.folder.exists()
    assert list(problems(tmp_path / "archive")) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == [bystander.name, "archive"]


def test_a_plan_is_its_settings_its_samples_and_its_templates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    from synthrelease.archive.writer import _plan
    from synthrelease.dicom.release.templates import release_templates

    samples = held_samples(random_samples(SETTINGS), SETTINGS)
    templates = release_templates(SETTINGS)
    forms = dict(templates.forms)
    key = next(iter(forms))
    forms[key] = replace(forms[key], content=forms[key].content.replace(b"synthrelease", b"synthRelease"))
    plans = {
        _plan(samples, templates),
        _plan(Samples("another", samples.draw), templates),
        _plan(samples, release_templates(replace(SETTINGS, edition="another"))),
        _plan(samples, replace(templates, forms=forms)),
    }
    assert len({partial_of(tmp_path / "archive", plan).folder for plan in plans}) == 4


# --- one writer at a time -----------------------------------------------------------------------------------------


def test_two_writers_of_one_archive_exclude_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("synthrelease.archive.lock.PATIENCE_S", 0.1)
    writer = Writer(tmp_path, processes=2, pause=0.2)
    writer.wait_for(1)
    with pytest.raises(UsageError, match="another process is writing this archive"):
        here(writer.target)
    said = writer.end()
    assert said[-1] == "taken over 0"
    assert list(problems(writer.target)) == []


def test_the_lock_is_free_again_after_a_kill_and_leaves_nothing_behind(tmp_path: Path) -> None:
    writer = Writer(tmp_path, pause=0.05)
    writer.wait_for(1)
    writer.kill()
    with only_writer(writer.target):
        pass
    assert not list(writer.target.parent.glob("*.lock"))


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="follows child processes by /proc")
def test_no_process_outlives_a_killed_writer_and_none_can_write_beside_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("synthrelease.archive.lock.PATIENCE_S", 0.3)
    writer = Writer(tmp_path, processes=2, pause=0.05)
    writer.wait_for(1)
    children = [
        int(pid) for pid in Path(f"/proc/{writer.process.pid}/task/{writer.process.pid}/children").read_text().split()
    ]
    workers = [pid for pid in children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    assert len(workers) >= 2
    os.kill(workers[0], signal.SIGSTOP)  # an orphan that does not notice
    writer.kill()
    try:
        with pytest.raises(UsageError, match="another process"):
            here(writer.target)
    finally:
        os.kill(workers[0], signal.SIGCONT)
    deadline = time.monotonic() + 20
    while any(alive(pid) for pid in workers):
        assert time.monotonic() < deadline, "a writing process outlived its parent"
        time.sleep(0.05)
    monkeypatch.undo()
    here(writer.target)
    assert list(problems(writer.target)) == []


def test_a_worker_that_is_killed_ends_the_writing_and_loses_no_finished_shard(tmp_path: Path) -> None:
    writer = Writer(tmp_path, processes=2, pause=0.1)
    writer.wait_for(1)
    children = Path(f"/proc/{writer.process.pid}/task/{writer.process.pid}/children").read_text().split()
    workers = [int(pid) for pid in children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    os.kill(workers[0], signal.SIGKILL)
    writer.end()
    assert writer.process.returncode == 1
    assert here(writer.target)[0] >= SHARD

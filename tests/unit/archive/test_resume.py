"""Killed at any moment, a writer goes on where it stopped: really killed, in a process of its own."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from synthrelease.archive.journal import Partial, partial_of
from synthrelease.archive.lock import only_writer
from synthrelease.archive.samples import shard_size
from synthrelease.archive.writer import Samples, held_samples, write_archive
from synthrelease.errors import IntegrityError, UsageError
from synthrelease.records.digests import digest_of, manifest_of
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
    with only_writer(writer.target):  # its orphans may finish a shard after it; now they have ended too
        finished = {int(path.name) for path in writer.noted()}
    assert not writer.target.exists()
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


@pytest.mark.parametrize("damage", [b"", b"{}", b"[" * 9000, b'{"digest": "0", "entry": {}}', b"\x00" * 4096, b"\xff"])
def test_a_damaged_journal_entry_counts_for_nothing(tmp_path: Path, straight: dict[str, str], damage: bytes) -> None:
    partial = interrupted(tmp_path / "archive")
    (partial.journal / "0000001").write_bytes(damage)
    assert here(tmp_path / "archive")[1] == [1, 3, 4, 5, 6]
    assert manifest_of(tmp_path / "archive") == straight


Edit = Callable[[dict[str, Any]], Any]
FORGED: dict[str, Edit] = {
    "files left out": lambda e: e.update(manifest=e["manifest"].partition("\n")[2]),
    "a line cut short": lambda e: e.update(manifest=e["manifest"][:-9]),
    "a line of labels cut short": lambda e: e.update(rows=e["rows"][:-9]),
    "lines swapped": lambda e: e.update(manifest=swapped(e["manifest"])),
    "lines of labels swapped": lambda e: e.update(rows=swapped(e["rows"])),
    "another path": lambda e: e.update(manifest=e["manifest"].replace("DICOM/P", "../../P")),
    "no digest": lambda e: e.update(manifest="x" + e["manifest"][1:]),
    "not ASCII": lambda e: e.update(manifest=e["manifest"] + "\u00e9"),
    "another class": lambda e: e.update(rows=e["rows"].replace("normal", "glass", 1)),
    "another label": lambda e: e.update(rows=e["rows"].replace("normal", "nodule", 1)),
    "another count": lambda e: e.update(labels=[e["labels"][0] + 1, *e["labels"][1:]]),
    "more counts": lambda e: e.update(labels=[*e["labels"], 0]),
    "counts in words": lambda e: e.update(labels=["many"] * len(e["labels"])),
    "no counts": lambda e: e.update(labels=None),
    "another size": lambda e: e.update(size_bytes=e["size_bytes"] + 1),
    "a size in words": lambda e: e.update(size_bytes="big"),
    "another shard": lambda e: e.update(shard=2),
    "a number instead of lines": lambda e: e.update(manifest=7),
    "a field more": lambda e: e.update(note="hello"),
    "a field less": lambda e: e.pop("rows"),
}


def swapped(lines: str) -> str:
    first, second, *rest = lines.splitlines(keepends=True)
    return "".join([second, first, *rest])


def forge(partial: Partial, shard: int, edit: Edit) -> None:
    """Edit an entry and seal it again: its digest has no key."""
    path = partial.journal / f"{shard:07d}"
    entry = json.loads(path.read_text())["entry"]
    edit(entry)
    path.write_text(json.dumps({"digest": digest_of(entry), "entry": entry}))


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an archive that was interrupted after three shards."""
    folder = tmp_path_factory.mktemp("stopped")
    interrupted(folder / "archive")
    return folder


@pytest.fixture
def unfinished(stopped: Path, tmp_path: Path) -> Partial:
    """A copy of it, to be mutilated."""
    shutil.copytree(stopped, tmp_path, dirs_exist_ok=True)
    return Partial(next(tmp_path.glob(".partial-archive-*")))


def refused(partial: Partial) -> None:
    """Sampling refuses, says which folder to delete, and has put nothing in place."""
    with pytest.raises(IntegrityError, match="is not as a writer left it") as caught:
        here(partial.folder.parent / "archive")
    assert caught.value.exit_code == 6
    assert f"Delete the folder {partial.folder.name}" in caught.value.fix
    assert not (partial.folder.parent / "archive").exists()


@pytest.mark.parametrize("what", FORGED)
def test_an_entry_that_was_edited_and_sealed_again_is_refused(unfinished: Partial, what: str) -> None:
    forge(unfinished, 1, FORGED[what])
    refused(unfinished)


def test_a_forged_entry_is_refused_by_writing_processes_too(unfinished: Partial) -> None:
    forge(unfinished, 1, FORGED["another count"])
    held = held_samples(random_samples(SETTINGS), SETTINGS)
    with pytest.raises(IntegrityError, match="contradicts itself"):
        write_archive(unfinished.folder.parent / "archive", held, SETTINGS, processes=2)


def test_an_entry_that_is_edited_while_the_rest_is_written_is_refused(unfinished: Partial) -> None:
    held = held_samples(random_samples(SETTINGS), SETTINGS)

    def draw(shard: int) -> object:
        if shard == 6:
            forge(unfinished, 1, FORGED["more counts"])
        return held.draw(shard)

    with pytest.raises(IntegrityError, match="edited while it was written"):
        write_archive(unfinished.folder.parent / "archive", Samples(held.digest, draw), SETTINGS)  # type: ignore[arg-type]


def _swap_entries(partial: Partial) -> None:
    first, second = (partial.journal / name for name in ("0000000", "0000001"))
    content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(content)


def _link(path: Path) -> None:
    path.unlink()
    path.symlink_to("/etc/hostname")


def _folder_behind_link(partial: Partial) -> None:
    partial.content.rename(partial.folder.parent / "elsewhere")
    partial.content.symlink_to(partial.folder.parent / "elsewhere")


FOREIGN: dict[str, Callable[[Partial], Any]] = {
    "two entries changed places": _swap_entries,
    "an entry of no shard": lambda p: shutil.copy(p.journal / "0000001", p.journal / "0000007"),
    "a file in the journal": lambda p: (p.journal / "notes.txt").write_text("x"),
    "a file among the patients": lambda p: (p.content / "DICOM" / "P000001" / "S0000001" / "NOTES").write_text("x"),
    "an image too many": lambda p: (p.content / "DICOM" / "P000001" / "S0000001" / "I0000002").write_text("x"),
    "a file beside them": lambda p: (p.content / "patients.csv").write_text("name"),
    "a link instead of an image": lambda p: _link(p.content / "DICOM" / "P000001" / "S0000001" / "I0000001"),
    "a folder behind a link": _folder_behind_link,
    "an empty folder with a name": lambda p: (p.content / "DICOM" / "ABERNATHY").mkdir(),
}


@pytest.mark.parametrize("what", FOREIGN)
def test_what_no_writer_makes_is_refused_at_sampling(unfinished: Partial, what: str) -> None:
    FOREIGN[what](unfinished)
    refused(unfinished)


def test_what_a_refusal_says_to_do_helps(unfinished: Partial, straight: dict[str, str]) -> None:
    FOREIGN["a file beside them"](unfinished)
    refused(unfinished)
    shutil.rmtree(unfinished.folder)
    assert here(unfinished.folder.parent / "archive") == (0, list(range(7)))
    assert manifest_of(unfinished.folder.parent / "archive") == straight


def test_a_record_that_was_edited_is_refused(tmp_path: Path, straight: dict[str, str]) -> None:
    writer = Writer(tmp_path, act="after put_in_place")
    writer.end()
    record = next(writer.target.parent.glob(".partial-archive-*/record.json"))
    values = json.loads(record.read_text())
    values["labels"]["normal"] += 1
    record.write_text(json.dumps(values))
    with pytest.raises(IntegrityError, match="its record contradicts the archive"):
        here(writer.target)
    assert manifest_of(writer.target) == straight


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

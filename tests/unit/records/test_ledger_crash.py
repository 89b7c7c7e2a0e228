"""Killed in the middle of anything, or written by many at once: what was acknowledged is there, and the chain holds."""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import random
import signal
import threading
import time
from pathlib import Path

import pytest

from synthrelease.records import ledger_chain
from synthrelease.records.ledger import Event, Ledger
from synthrelease.records.ledger_lock import LOCK, folder_locked

FORK = multiprocessing.get_context("fork")


def _append_and_tell(path: Path, pipe: int) -> None:
    """Append for ever; write each entry's hash to the pipe once the ledger said that it is kept."""
    ledger = Ledger(path)
    while True:
        os.write(pipe, ledger.append(Event.RESERVED, f"run{os.getpid()}", {"mechanisms": []}).hash.encode())


def test_a_writer_killed_at_any_moment_loses_nothing_that_it_acknowledged(tmp_path: Path) -> None:
    path, rng = tmp_path / "chest.jsonl", random.Random(5)
    acknowledged: list[str] = []
    for _ in range(25):
        reading, writing = os.pipe()
        child = FORK.Process(target=_append_and_tell, args=(path, writing))
        child.start()
        os.close(writing)
        told = os.read(reading, 64)  # it is under way
        time.sleep(rng.uniform(0, 0.02))
        os.kill(child.pid or 0, signal.SIGKILL)
        child.join()
        while more := os.read(reading, 1 << 16):
            told += more
        os.close(reading)
        assert child.exitcode == -signal.SIGKILL
        whole = len(told) - len(told) % 64
        acknowledged += [told[i : i + 64].decode() for i in range(0, whole, 64)]
        Ledger(path).verify(expect=acknowledged[-1])
    ledger = Ledger(path)
    hashes = {entry.hash for entry in ledger.entries()}
    assert hashes.issuperset(acknowledged)
    # Each death may leave one entry that was kept and not acknowledged any more; it counts, like any other.
    assert len(hashes) - 1 - len(acknowledged) <= 25
    assert ledger.append(Event.RESERVED, "after", {}).sequence == len(hashes)


def _die_after(path: Path, written: int) -> None:
    """Append one entry whose line is cut by SIGKILL after so many bytes."""
    write = os.write

    def cut(descriptor: int, content: bytes) -> int:
        write(descriptor, content[:written])
        os.kill(os.getpid(), signal.SIGKILL)
        return 0

    ledger_chain.os.write = cut  # type: ignore[assignment]  # in the child alone
    Ledger(path).append(Event.RESERVED, "torn", {"mechanisms": []})


@pytest.fixture
def two(tmp_path: Path) -> Ledger:
    """A ledger of two reservations."""
    ledger = Ledger(tmp_path / "chest.jsonl", clock=lambda: "2026-01-01T00:00:00Z")
    ledger.append(Event.RESERVED, "one", {"mechanisms": []})
    ledger.append(Event.RESERVED, "two", {"mechanisms": []})
    return ledger


@pytest.mark.parametrize("written", [0, 1, 40, 200, -1])
def test_sigkill_within_a_line_leaves_the_ledger_as_it_was(two: Ledger, written: int) -> None:
    before = two.entries()
    child = FORK.Process(target=_die_after, args=(two.path, written))
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL
    torn = two.path.stat().st_size - len(two._whole_lines())
    assert torn == written if written >= 0 else torn > 200
    assert two.entries() == before
    third = two.append(Event.RESERVED, "three", {})
    assert two.path.read_bytes().endswith(b"\n")
    assert two.entries() == (*before, third)


def test_a_line_cut_at_any_byte_never_counts_and_never_blocks(two: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_chain.os, "fsync", lambda descriptor: None)
    content = two.path.read_bytes()
    start = content.rstrip(b"\n").rfind(b"\n") + 1
    before = two.entries()[:-1]
    for kept in range(start, len(content)):
        two.path.write_bytes(content[:kept])
        assert two.entries() == before
        again = two.append(Event.RESERVED, "again", {})
        assert two.entries() == (*before, again)


def test_a_file_cut_anywhere_is_a_shorter_ledger_that_a_deposited_head_betrays(two: Ledger) -> None:
    content, head = two.path.read_bytes(), two.head
    for kept in range(0, len(content) - 1, 7):
        two.path.write_bytes(content[:kept])
        assert head not in {entry.hash for entry in two.entries()}
        two.verify()


def _many(path: Path, name: str, count: int) -> None:
    for _ in range(count):
        Ledger(path).append(Event.RESERVED, name, {})


def test_processes_and_threads_that_append_at_once_make_one_chain(tmp_path: Path) -> None:
    path = tmp_path / "new" / "chest.jsonl"
    processes = [FORK.Process(target=_many, args=(path, f"process{i}", 8)) for i in range(4)]
    shared = Ledger(path)

    def add() -> None:
        for _ in range(8):
            shared.append(Event.RESERVED, "thread", {})

    for process in processes:
        process.start()
    threads = [threading.Thread(target=add) for _ in range(3)]
    for thread in threads:
        thread.start()
    for worker in (*processes, *threads):
        worker.join()
    assert [process.exitcode for process in processes] == [0] * 4
    runs = [entry.run for entry in shared.entries()]
    assert runs.count("thread") == 24
    assert len(runs) == 1 + 4 * 8 + 24


def test_a_ledger_may_be_held_twice_by_one_thread_and_by_two_ledgers_of_a_folder(tmp_path: Path) -> None:
    one, other = Ledger(tmp_path / "one.jsonl"), Ledger(tmp_path / "other.jsonl")
    with one.locked(), other.locked(), one.locked():
        other.append(Event.RESERVED, "run", {})
    assert len(other.charges()) == 1


def _is_held(folder: Path) -> bool:
    """Whether nobody else could take the lock now."""
    with (folder / LOCK).open("r+b") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def test_the_folder_is_held_until_the_outermost_block_ends(tmp_path: Path) -> None:
    with folder_locked(tmp_path):
        with folder_locked(tmp_path / "." / ".." / tmp_path.name):
            assert _is_held(tmp_path)
        assert _is_held(tmp_path)
    assert not _is_held(tmp_path)


def test_a_lock_file_that_is_replaced_while_one_waits_is_not_taken_for_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flock, waits = fcntl.flock, []

    def replaced_once(descriptor: int, operation: int) -> None:
        flock(descriptor, operation)
        if operation == fcntl.LOCK_EX and not waits:
            waits.append(descriptor)
            (tmp_path / LOCK).unlink()
            (tmp_path / LOCK).touch()

    monkeypatch.setattr(fcntl, "flock", replaced_once)
    with folder_locked(tmp_path):
        assert waits
        assert _is_held(tmp_path)


def test_a_holder_that_is_killed_lets_the_next_one_in(tmp_path: Path) -> None:
    def hold_and_wait(flag: object) -> None:
        with folder_locked(tmp_path):
            flag.set()  # type: ignore[attr-defined]
            time.sleep(60)

    held = FORK.Event()
    child = FORK.Process(target=hold_and_wait, args=(held,))
    child.start()
    assert held.wait(20)
    os.kill(child.pid or 0, signal.SIGKILL)
    child.join()
    with folder_locked(tmp_path):
        pass

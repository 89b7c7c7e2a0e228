"""Who writes: this process, or several of its own that end when it does."""

from __future__ import annotations

import multiprocessing
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from typing import Protocol, TypeVar

from synthrelease.archive.lock import HeldLock
from synthrelease.archive.shard import ShardWriter
from synthrelease.records.child_process import obey_parent

Task = TypeVar("Task")
Done = TypeVar("Done")


class Crew(Protocol):
    """Does tasks with the archive's writer."""

    def each(self, act: Callable[[ShardWriter, Task], Done], tasks: Iterable[Task]) -> Iterator[Done]:
        """The result of `act` for every task, in order; tasks are taken a few at a time, as they are needed."""
        ...


def most_at_once(processes: int) -> int:
    """How many tasks are under way at most, when the next one is asked for the oldest of so many is done."""
    return 1 if processes == 1 else 2 * processes + 1


@contextmanager
def crew(processes: int, writer: ShardWriter, lock: HeldLock) -> Iterator[Crew]:
    """So many writers, until the block ends.

    Args:
        processes: 1 for this process itself.
        writer: Of the archive.
        lock: Is held by all of them.

    Raises:
        BrokenProcessPool: One of them was ended from outside.
    """
    if processes == 1:
        yield _Alone(writer)
        return
    # Spawned, not forked: the caller may hold threads of a deep-learning library.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(processes, mp_context=context, initializer=_begin, initargs=(writer, lock))
    try:
        yield _Pool(pool, processes)
    finally:
        pool.shutdown(cancel_futures=True)


class _Alone:
    def __init__(self, writer: ShardWriter) -> None:
        self._writer = writer

    def each(self, act: Callable[[ShardWriter, Task], Done], tasks: Iterable[Task]) -> Iterator[Done]:
        return (act(self._writer, task) for task in tasks)


class _Pool:
    def __init__(self, pool: ProcessPoolExecutor, processes: int) -> None:
        self._pool = pool
        self._processes = processes

    def each(self, act: Callable[[ShardWriter, Task], Done], tasks: Iterable[Task]) -> Iterator[Done]:
        waiting: deque[Future[Done]] = deque()
        for task in tasks:
            waiting.append(self._pool.submit(_do, act, task))
            if len(waiting) == most_at_once(self._processes):
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


_writer: ShardWriter | None = None
_lock: HeldLock | None = None


def _begin(writer: ShardWriter, lock: HeldLock) -> None:
    global _writer, _lock
    _writer, _lock = writer, lock
    obey_parent()


def _do(act: Callable[[ShardWriter, Task], Done], task: Task) -> Done:
    assert _writer is not None
    return act(_writer, task)

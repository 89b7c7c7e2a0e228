"""Work spread over processes: the same answers in the same order as one after the other, and never many in hand."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from typing import TypeVar

from synthrelease.errors import UnsuitableData
from synthrelease.records.child_process import obey_parent

Task = TypeVar("Task")
Answer = TypeVar("Answer")

CHUNK = 32
"""Tasks that travel together."""

_PRELOADED = ("synthrelease.cohort.dicom_work", "synthrelease.cohort.shrinking", "synthrelease.cohort.table")

PATIENCE = 2.0
"""Seconds that a process takes to start, about."""


class Workers:
    """Some processes, started when they are first needed, ended with the `with` block.

    Args:
        processes: How many; None: one a processor that this process may use.
    """

    def __init__(self, processes: int | None = None) -> None:
        self.count = processes or available_processors()
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None

    def map(self, work: Callable[[Task], Answer], tasks: Iterable[Task], *, chunk: int = CHUNK) -> Iterator[Answer]:
        """``work(task)`` for every task, in order.

        This process works alone until it has done so for as long as others take to start: then they are worth it,
        whatever a task costs and however many there are.

        Args:
            work: Picklable, so a function of a module or an object of such a class.
            tasks: Picklable; not taken further ahead than the processes need.
            chunk: Tasks that travel together.

        Raises:
            UnsuitableData: A process was ended from outside.
        """
        rest = iter(tasks)
        began = time.monotonic()
        for task in rest:
            yield work(task)
            if self.count > 1 and (self._pool is not None or time.monotonic() - began > PATIENCE):
                break
        waiting: deque[Future[list[Answer]]] = deque()
        try:
            while part := list(islice(rest, chunk)):
                waiting.append(self._started().submit(_worked, work, part))
                if len(waiting) > 2 * self.count:
                    yield from waiting.popleft().result()
            while waiting:
                yield from waiting.popleft().result()
        except BrokenProcessPool as error:
            raise UnsuitableData(
                "a reading process was ended from outside, most often for lack of memory", fix="Use fewer processes."
            ) from error
        finally:
            for future in waiting:
                future.cancel()

    def _started(self) -> ProcessPoolExecutor:
        if self._pool is None:
            # Forked from a server that imports once and holds no threads, as the caller may: of a deep-learning library.
            context = multiprocessing.get_context("forkserver")
            context.set_forkserver_preload(["__main__", *_PRELOADED])
            self._pool = ProcessPoolExecutor(self.count, mp_context=context, initializer=obey_parent)
        return self._pool


def available_processors() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _worked(work: Callable[[Task], Answer], tasks: list[Task]) -> list[Answer]:
    return [work(task) for task in tasks]

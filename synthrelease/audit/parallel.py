"""Many files, all processors: the same answers in the same order as one after the other."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TypeVar

Answer = TypeVar("Answer")

ENOUGH = 600
"""Fewer files are read sooner than processes start."""


def over_files(
    ask: Callable[[Path], Answer], files: Sequence[Path], *, enough: int = ENOUGH, processes: int | None = None
) -> Iterator[Answer]:
    """``ask(file)`` for every file, in order.

    Args:
        ask: A function of a module, so that another process can import it.
        files: What to ask about.
        enough: From this number of files on several processes share the work.
        processes: How many; None: one a processor.
    """
    count = processes or os.cpu_count() or 1
    if count == 1 or len(files) < enough:
        yield from map(ask, files)
        return
    # A new interpreter and not a fork: the audit's numerical libraries hold threads.
    with ProcessPoolExecutor(count, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(ask, files, chunksize=64)

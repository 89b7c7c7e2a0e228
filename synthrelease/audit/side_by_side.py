"""Parts of one computation side by side: one thread a part, each computing with one thread.

Matrix products of the search are too small to be shared among threads, their number is not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch
from threadpoolctl import threadpool_limits

Part = TypeVar("Part")


def side_by_side(act: Callable[[Part], None], parts: Sequence[Part]) -> None:
    """``act(part)`` for every part, in any order, on as many threads as torch was given.

    The arithmetic of a part does not depend on how many threads there are, so neither do results.

    Args:
        act: Writes its result where no other part writes. parts: What to do.

    Raises:
        Exception: The first error of a part; parts not begun are left.
    """
    threads = torch.get_num_threads()
    try:
        with (
            threadpool_limits(1),
            ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool,
        ):
            try:
                for done in [pool.submit(act, part) for part in parts]:
                    done.result()
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
    finally:
        torch.set_num_threads(threads)  # the number of the products' own library is not kept by thread

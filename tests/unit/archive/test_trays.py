"""Shards travel through shared memory unchanged, in turns, and leave nothing behind.

That spawned processes see the same memory is shown by the writer's own tests, which compare archives by bytes.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from synthrelease.archive.crew import most_at_once
from synthrelease.archive.samples import contents_of, held_samples, shard_size
from synthrelease.archive.trays import trays
from tests.unit.archive.conftest import random_samples, small_settings


def same(one: Any, other: Any) -> bool:
    return (one.shard, one.labels) == (other.shard, other.labels) and all(
        np.array_equal(getattr(one, name), getattr(other, name)) for name in ("levels", "masks", "overlapping")
    )


@pytest.mark.parametrize("segments", [(), ("lung",), ("lung", "heart", "nodule")])
@pytest.mark.parametrize("side", [9, 16])
def test_what_is_put_in_comes_out(segments: tuple[str, ...], side: int) -> None:
    settings = small_settings(3 * shard_size(1) + 1, segments=segments, rows=side, columns=side)
    held = held_samples(random_samples(settings), settings)
    with trays(settings, 3) as shared:
        filled = [shared.fill(task, shard, held.draw(shard)) for task, shard in ((0, 3), (1, 0), (2, 2))]
        for each in filled:
            assert same(shared.contents(each), contents_of(each.shard, held.draw(each.shard), settings))
        # The fourth task takes the first one's tray, and no other's.
        fourth = shared.fill(3, 1, held.draw(1))
        assert fourth.tray == filled[0].tray
        assert same(shared.contents(fourth), contents_of(1, held.draw(1), settings))
        assert same(shared.contents(filled[1]), contents_of(0, held.draw(0), settings))


@pytest.mark.parametrize("memory", ["memory", "temporary file"])
def test_the_memory_has_no_name_and_is_given_back(memory: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    if memory == "temporary file":
        monkeypatch.delattr(os, "memfd_create", raising=False)
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    settings = small_settings(2)
    before = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else 0
    with trays(settings, 2) as shared:
        filled = shared.fill(0, 0, random_samples(settings))
        assert same(shared.contents(filled), contents_of(0, random_samples(settings), settings))
        assert list(tmp_path.iterdir()) == []
    del shared
    assert before == 0 or len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("processes", [1, 2, 5])
def test_there_is_a_tray_for_every_task_that_is_under_way(processes: int) -> None:
    """A tray is used again only after its shard was collected: tasks are asked for in that order."""
    from synthrelease.archive.crew import _Pool

    class Soon:
        def __init__(self, value: int) -> None:
            self.value = value

        def result(self) -> int:
            done.append(self.value)
            return self.value

    class Pool:
        def submit(self, _do: Callable[..., Any], _act: object, task: int) -> Soon:
            return Soon(task)

    done: list[int] = []
    count = most_at_once(processes)

    def tasks() -> Any:
        for task in range(40):
            assert task < count or task - count in done
            yield task

    if processes > 1:
        assert list(_Pool(Pool(), processes).each(lambda *_: None, tasks())) == list(range(40))  # type: ignore[arg-type]
    else:
        assert count == 1

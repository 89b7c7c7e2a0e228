"""Reading by several processes: one answer whatever their number, nothing piled up, and a clean end."""

from __future__ import annotations

import functools
import math
import operator
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from synthrelease.cohort import processes
from synthrelease.cohort.ingest import ingest
from synthrelease.cohort.processes import Workers, available_processors
from synthrelease.cohort.split import SplitDraw
from synthrelease.errors import UnsuitableData
from synthrelease.policy.schema import CohortSettings

Make = Callable[..., CohortSettings]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_answers_come_in_order(count: int) -> None:
    with Workers(count) as workers:
        assert list(workers.map(math.isqrt, range(200), chunk=7)) == [math.isqrt(number) for number in range(200)]
        assert list(workers.map(math.isqrt, range(5))) == [0, 1, 1, 1, 2]


def test_tasks_are_not_taken_further_ahead_than_the_processes_need() -> None:
    taken = 0

    def tasks() -> Iterator[int]:
        nonlocal taken
        for number in range(10_000):
            taken += 1
            yield number

    with Workers(2) as workers:
        answers = workers.map(math.isqrt, tasks(), chunk=10)
        for _ in range(25):
            next(answers)
        assert taken <= 25 + 10 * 8


def test_little_work_starts_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "PATIENCE", 5.0)
    with Workers(2) as workers:
        assert list(workers.map(math.isqrt, range(300))) == [math.isqrt(number) for number in range(300)]
        assert workers._pool is None


def test_a_process_that_is_ended_from_outside_ends_the_reading_with_a_reason() -> None:
    with Workers(2) as workers, pytest.raises(UnsuitableData, match="ended from outside"):  # noqa: PT012
        answers = workers.map(operator.call, [int, functools.partial(os._exit, 3)])
        assert next(answers) == 0
        next(answers)


def test_an_error_in_a_process_is_an_error_here() -> None:
    with Workers(2) as workers, pytest.raises(ValueError, match="nonneg"):
        list(workers.map(math.isqrt, [4, -1]))


def test_processors_are_those_that_this_process_may_use() -> None:
    assert 1 <= available_processors() <= (os.cpu_count() or 1)


@pytest.fixture(autouse=True)
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes are started after the first task."""
    monkeypatch.setattr(processes, "PATIENCE", 0.0)


def test_the_store_does_not_depend_on_the_number_of_processes(dicom: Any, settings: Make, tmp_path: Path) -> None:
    dicom.fill(40)
    dicom.add("X", label=None)
    dicom.add("Y", names=())
    (dicom.folder / "junk").write_bytes(b"junk")
    source, draw = dicom.finish(), SplitDraw(0.3, "00")
    stores = [
        ingest(settings(resolution=16), source, tmp_path / f"store{count}", split=draw, processes=count)
        for count in (1, 2, 3)
    ]
    assert len({store.manifest.digest for store in stores}) == 1
    assert stores[0].manifest == stores[1].manifest
    assert sum(stores[0].manifest.refused.values()) == 3
    for name in ("images.npy", "masks.npy", "ids.json", "refusals.jsonl"):
        assert len({(store.folder / name).read_bytes() for store in stores}) == 1


def test_a_table_is_read_by_processes_too(pictures: Any, settings: Make, tmp_path: Path) -> None:
    for index in range(30):
        pictures.add(f"{index}", ("normal", "sick")[index % 2])
    table = pictures.finish()
    one, two = (
        ingest(settings(), table, tmp_path / f"store{count}", split=SplitDraw(0.3, "00"), processes=count)
        for count in (1, 2)
    )
    assert one.manifest == two.manifest


SLOW = """
    import sys, time
    from pathlib import Path
    from synthrelease.cohort import processes
    from synthrelease.cohort.processes import Workers

    processes.PATIENCE = 0.0

    def slowly(number):
        time.sleep(0.05)
        Path(sys.argv[1], str(number)).touch()
        return number

    if __name__ == "__main__":
        with Workers(2) as workers:
            for answer in workers.map(slowly, range(100_000), chunk=2):
                print(answer, flush=True)
"""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_ctrl_c_and_a_kill_end_the_other_processes_as_well(how: signal.Signals, tmp_path: Path) -> None:
    script, marks = tmp_path / "slow.py", tmp_path / "marks"
    script.write_text(textwrap.dedent(SLOW))
    marks.mkdir()
    with subprocess.Popen(
        [sys.executable, str(script), str(marks)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        if how is signal.SIGINT:
            os.killpg(process.pid, how)  # as a terminal does
        else:
            process.kill()
        process.wait(20)
        errors = process.stderr.read()  # ends when every process that holds it has ended
    assert errors.count("Traceback") == (how is signal.SIGINT)
    time.sleep(0.3)
    before = len(list(marks.iterdir()))
    time.sleep(0.5)
    assert len(list(marks.iterdir())) == before

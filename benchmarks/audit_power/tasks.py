"""The work, cut into pieces that are done in any order, kept as they end, and not done twice."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.audit_power import again, beside, gate
from benchmarks.audit_power.peers import PEERS
from benchmarks.audit_power.worlds import SMALL, SMALL_WORLDS, cache_folder

ROOT = Path(__file__).resolve().parents[2]

PLANTS = 200
"""Of each transform, in one full world of each source."""

SCORED_WORLDS = 100
"""Clean worlds whose scores give the oracle threshold at 1 %."""

SOURCES = ("phantom", "pediatric")


@dataclass(frozen=True)
class Task:
    """One piece.

    Attributes:
        kind: alarm, recall, scored, or a peer's name. source: Of the world. number: Of the world.
        quick: A small version, for a look.
    """

    kind: str
    source: str
    number: int
    quick: bool = False

    def __str__(self) -> str:
        return f"{self.kind}/{self.source}/{self.number}" + ("/quick" if self.quick else "")


def plan(sources: Sequence[str] = SOURCES, *, quick: bool = False, peers: Sequence[str] = tuple(PEERS)) -> list[Task]:
    """What is to be done, the longest pieces first, then everything in turns, so that a stop leaves a part of each."""
    if quick:
        return [
            *(Task("recall", s, 0, True) for s in sources),
            *(Task("alarm", s, k, True) for s in sources for k in range(2)),
            *(Task("scored", s, k, True) for s in sources for k in range(2)),
        ]
    tasks = [Task("recall", s, 0) for s in sources]
    for k in range(SMALL_WORLDS):
        # Independent worlds first: the others, which overlap, tell less.
        tasks += [Task("alarm", s, k) for s in sources if s == "phantom"]
        tasks += [Task("alarm", s, k // 2) for s in sources if s != "phantom" and k % 2 == 0]
        if k % 2 == 0:
            tasks += [Task("scored", s, k // 2) for s in sources if k // 2 < SCORED_WORLDS]
        if k % 10 == 5:
            tasks += [Task(p, s, k // 10) for p in peers for s in sources if k // 10 < PEERS[p].worlds]
    tasks += [Task("alarm", s, k) for k in range(SMALL_WORLDS // 2, SMALL_WORLDS) for s in sources if s != "phantom"]
    return tasks


def done(task: Task) -> dict[str, Any]:
    """Do one piece."""
    if task.kind == "recall":
        if task.quick:
            return gate.recall(task.source, 0, 12, size=SMALL, singles=2, sets=1, only=gate.QUICK)
        return gate.recall(task.source, task.number, PLANTS)
    if task.kind == "alarm":
        return gate.alarm(task.source, task.number)
    if task.kind == "scored":
        if task.quick:
            return beside.scored(task.source, task.number, size=SMALL, leaks=True)
        return beside.scored(task.source, task.number)
    return beside.asked(task.source, task.number, task.kind)


def done_again(check: str, earlier: Mapping[str, Mapping[str, Any]], task: Task) -> dict[str, Any]:
    """One innocent world: a check anew, the others as an earlier run had them, see :mod:`.again`."""
    return again.alarm_again(task.source, task.number, check, earlier[str(task)])


def digest() -> str:
    """Of all that the figures depend on: another audit, another file of results."""
    seen = hashlib.sha256()
    folders = ("synthrelease/audit", "synthrelease/features", "audits", "benchmarks/audit_power")
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in {".py", ".yaml"} and "__pycache__" not in path.parts:
                seen.update(path.relative_to(ROOT).as_posix().encode() + b"\0" + path.read_bytes())
    return seen.hexdigest()[:16]


class Kept:
    """Results on disk, one line each."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.results: dict[str, dict[str, Any]] = {}
        if path.is_file():
            for line in path.read_text(encoding="utf-8").splitlines():
                try:
                    entry = json.loads(line)
                except ValueError:  # the last line of a run that was killed
                    continue
                self.results[entry["task"]] = entry["result"]

    @classmethod
    def of_this_code(cls) -> Kept:
        """The results of the code as it stands."""
        return cls(cache_folder() / f"audit_power-{digest()}.jsonl")

    def add(self, task: Task, result: Mapping[str, Any]) -> None:
        """Keep one more."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({"task": str(task), "result": result}) + "\n")
        self.results[str(task)] = dict(result)


def run(
    tasks: Sequence[Task],
    kept: Kept,
    *,
    minutes: float,
    processes: int,
    told: Callable[[Task, Mapping[str, Any]], None],
    do: Callable[[Task], dict[str, Any]] = done,
) -> int:
    """Do what is not kept yet.

    Args:
        tasks: In order. kept: Results so far, added to.
        minutes: No further piece is begun after these. processes: At a time.
        told: Called as each piece ends. do: Does a piece.

    Returns:
        Pieces left undone.
    """
    waiting: Iterator[Task] = iter([task for task in tasks if str(task) not in kept.results])
    until = time.monotonic() + 60.0 * minutes
    running: dict[Future[dict[str, Any]], Task] = {}
    with ProcessPoolExecutor(processes) as pool:
        while True:
            while len(running) < processes and time.monotonic() < until:
                task = next(waiting, None)
                if task is None:
                    break
                running[pool.submit(do, task)] = task
            if not running:
                break
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                task = running.pop(future)
                try:
                    result = future.result()
                except Exception as error:  # the other pieces stand for themselves; this one is undone
                    told(task, {"broke": f"{type(error).__name__}: {error}"})
                    continue
                kept.add(task, result)
                told(task, result)
    return sum(str(task) not in kept.results for task in tasks)

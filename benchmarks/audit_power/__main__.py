"""``python -m benchmarks.audit_power``: tables for people, then one line of JSON."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

# Single-threaded matrix products: the pieces themselves run side by side. Before numpy is loaded.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from rich.console import Console
from rich.markdown import Markdown

from benchmarks.audit_power import again, pictures, reference, tasks
from benchmarks.audit_power.peers import installed
from benchmarks.audit_power.worlds import radiographs
from synthrelease.errors import UnsuitableData

EVERY_SECONDS = 60.0
"""How often a run with --write puts down what it has so far."""


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = argparse.ArgumentParser(prog="python -m benchmarks.audit_power", description=__doc__)
    made.add_argument("--quick", action="store_true", help="a few small worlds: under a minute")
    made.add_argument("--data", choices=tasks.SOURCES, action="append", default=[], help="one kind of image only")
    made.add_argument("--minutes", type=float, default=25.0, help="begin no further piece after these (default: 25)")
    made.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="pieces at a time")
    made.add_argument(
        "--only", action="append", default=[], help="pieces of this kind only: alarm, recall, scored, ..."
    )
    made.add_argument(
        "--again",
        nargs=2,
        metavar=("CHECK", "FILE"),
        help="innocent worlds of this earlier file of results: CHECK anew, the others as they were",
    )
    made.add_argument("--write", action="store_true", help="write audits/reference/audit_power.json, .md and .png")
    return made


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, and write when asked to. What an earlier run of the same code did is not done again."""
    options = parser().parse_args(arguments)
    if options.write and (options.quick or options.data or options.only or options.again):
        parser().error("--write records the whole run: leave out --quick, --data, --only and --again")
    sources = options.data or available()
    plan = tasks.plan(sources, quick=options.quick)
    if options.again:
        options.only = ["alarm"]
    if options.only:
        plan = [task for task in plan if task.kind in options.only]
    kept = tasks.Kept(tasks.cache_folder() / "audit_power-quick.jsonl") if options.quick else tasks.Kept.of_this_code()
    if options.quick:
        kept.path.unlink(missing_ok=True)
        kept.results.clear()
    command = " ".join(["python -m benchmarks.audit_power", *(sys.argv[1:] if arguments is None else arguments)])
    began = written = time.monotonic()
    names = {str(task) for task in plan}
    print(f"{len(plan)} pieces, {len(names & set(kept.results))} done before; asked: {installed()}", file=sys.stderr)

    def told(task: tasks.Task, result: Mapping[str, Any]) -> None:
        nonlocal written
        facts = {key: result[key] for key in ("style", "failed", "broke", "not_run") if key in result}
        print(f"{time.monotonic() - began:5.0f} s  {task} {facts or ''}", file=sys.stderr, flush=True)
        if options.write and time.monotonic() - written > EVERY_SECONDS:
            undone = sum(name not in kept.results for name in names)
            reference.write(reference.result(kept.results, command=command, undone=undone), None)
            written = time.monotonic()

    if options.again:
        check, file = options.again
        earlier = tasks.Kept(Path(file)).results
        print(f"{again.same_but(check, earlier, kept.results)} worlds judged in full are the same", file=sys.stderr)
        undone = tasks.run(
            [task for task in plan if str(task) in earlier],
            kept,
            minutes=options.minutes,
            processes=options.processes,
            told=told,
            do=partial(tasks.done_again, check, earlier),
        )
    else:
        undone = tasks.run(plan, kept, minutes=options.minutes, processes=options.processes, told=told)
    record = reference.result(kept.results, command=command, undone=undone)
    if options.write:
        reference.write(record, pictures.sheet())
    Console(width=None if sys.stdout.isatty() else 220).print(Markdown(reference.page(record)))
    figures = record["figures"]
    print(
        json.dumps(
            {
                "family_wise_false_alarm_rate": figures["family_wise_false_alarm_rate"],
                "recall_at_1_percent": figures["recall_at_1_percent"],
                "goals": record["goals"],
            }
        )
    )


def available() -> list[str]:
    """Sources of images that this machine has."""
    try:
        radiographs()
    except UnsuitableData as error:
        print(f"phantoms only: {error}", file=sys.stderr)
        return ["phantom"]
    return list(tasks.SOURCES)


if __name__ == "__main__":
    main()

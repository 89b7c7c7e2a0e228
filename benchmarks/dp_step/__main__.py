"""``python -m benchmarks.dp_step``: tables for people, then one line of JSON."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence

from rich.console import Console

from benchmarks.dp_step import reference, tables
from benchmarks.dp_step.contenders import CONTENDERS
from benchmarks.dp_step.measuring import Effort
from benchmarks.dp_step.networks import NETWORKS
from benchmarks.dp_step.running import EVERY_DRAW, QUICK_DRAWS, STANDARD_DRAWS, configurations, measured, of_memory

QUICK_MINUTES, QUICK_ROUNDS = 2.0, 3

QUICK_SIZES = ("0.2M", "0.3M")


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = argparse.ArgumentParser(prog="python -m benchmarks.dp_step", description="Cost of a private training step.")
    made.add_argument("--quick", action="store_true", help="small networks, 32 px, 64 images: under a minute")
    made.add_argument("--all", action="store_true", help="every batch with 1 and with 4 images a patient")
    made.add_argument("--network", action="append", choices=list(NETWORKS), default=[])
    made.add_argument("--size", action="append", choices=["0.2M", "0.3M", "2M"], default=[])
    made.add_argument("--resolution", action="append", type=int, choices=[32, 64], default=[])
    made.add_argument("--batch", action="append", type=int, choices=[64, 128, 256], default=[], help="images in a step")
    made.add_argument(
        "--contender", action="append", choices=list(CONTENDERS), default=[], help="beside plain and ours"
    )
    made.add_argument("--threads", type=int, default=1, help="of torch; with one, ratios are of CPU time (default: 1)")
    made.add_argument("--minutes", type=float, default=10.0, help="no further configuration after these (default: 10)")
    made.add_argument("--limit", type=float, default=5.0, help="seconds; a longer step is not repeated (default: 5)")
    made.add_argument("--no-memory", action="store_true", help="times only")
    made.add_argument("--write", action="store_true", help="write audits/reference/dp_step.json and .md")
    return made


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, and write when asked to."""
    options = parser().parse_args(arguments)
    part = options.quick or options.network or options.size or options.resolution or options.batch or options.contender
    if options.write and (part or options.no_memory):
        parser().error("--write records the whole run: leave out --quick, --no-memory and every choice of a part")
    draws = QUICK_DRAWS if options.quick else EVERY_DRAW if options.all else STANDARD_DRAWS
    chosen = configurations(
        draws,
        networks=options.network,
        sizes=options.size or (QUICK_SIZES if options.quick else ()),
        resolutions=options.resolution or ((32,) if options.quick else ()),
        batches=options.batch,
    )
    if not chosen:
        parser().error("no configuration fits all the choices")
    asked = options.contender or [name for name, each in CONTENDERS.items() if each.standard]
    names = tuple(name for name in CONTENDERS if name in {"plain", "ours", *asked})
    minutes = min(options.minutes, QUICK_MINUTES) if options.quick else options.minutes
    # A third of the time for the rounds of small steps: large ones take two rounds in any case.
    effort = Effort(
        threads=options.threads,
        rounds=QUICK_ROUNDS if options.quick else Effort.rounds,
        seconds=20.0 * minutes / len(chosen),
        limit=options.limit,
        altogether=60.0 * minutes,
    )

    console = Console(width=None if sys.stdout.isatty() else 150)
    console.print(f"{len(chosen)} configurations, {options.threads} thread(s), {reference.processor()}")
    began, rows = time.perf_counter(), []
    weighed = set() if options.no_memory else of_memory(chosen[:1] if options.quick else chosen)
    for row in measured(chosen, names, effort, weighed):
        rows.append(row)
        c = row.configuration
        print(
            f"{time.perf_counter() - began:5.0f} s  {c.network} {c.size} {c.resolution} px {c.patients} x {c.images}: "
            f"overhead {tables.shown(row.overhead('ours'))}, {tables.shown(row.speedup)} times faster than "
            f"{row.fastest_opacus or 'opacus'}",
            file=sys.stderr,
        )
    clock = "CPU" if rows[0].clock == "cpu" else "wall"
    console.print(tables.terminal(tables.times(rows), f"{clock} time, as a multiple of the plain step"))
    if any(row.memory for row in rows):
        console.print(tables.terminal(tables.memory(rows), tables.MEMORY))
    for line in tables.skips(rows):
        console.print(line, highlight=False)
    command = " ".join(["python -m benchmarks.dp_step", *(sys.argv[1:] if arguments is None else arguments)])
    found = reference.result(rows, command=command, threads=options.threads)
    if options.write:
        reference.write(rows, found)
    print(json.dumps(found["figures"] | {key: value for key, value in found.items() if key != "figures"}))


if __name__ == "__main__":
    main()

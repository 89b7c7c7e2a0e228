"""``python -m benchmarks.drai``: the ablation table for people, then one line of JSON."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence

os.environ.setdefault("OMP_NUM_THREADS", "1")

from rich.console import Console
from rich.markdown import Markdown

from benchmarks.drai import pace, reference
from benchmarks.drai.ways import WAYS


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = argparse.ArgumentParser(prog="python -m benchmarks.drai", description=__doc__)
    made.add_argument("--quick", action="store_true", help="a few steps: under a minute; shows that it runs, no more")
    made.add_argument(
        "--only",
        choices=[way.name for way in WAYS],
        action="append",
        default=[],
        help="these rows only; may be repeated",
    )
    made.add_argument("--fresh", action="store_true", help="measure again what the same code has measured before")
    made.add_argument("--cohort", choices=reference.COHORTS, default="phantoms", help="on which images")
    made.add_argument(
        "--seeds",
        type=int,
        default=reference.TABLE_SEEDS,
        metavar="N",
        help="the first N seeds only; 0: measure nothing",
    )
    made.add_argument("--pace", action="store_true", help="measure steps a second in place of the tables")
    made.add_argument(
        "--write",
        action="store_true",
        help="write audits/reference/drai.json, .md and .png: what this code has measured so far on any cohort",
    )
    return made


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, and write when asked to."""
    options = parser().parse_args(arguments)
    if options.write and options.quick:
        parser().error("--write records measured runs: leave out --quick")
    command = " ".join(["python -m benchmarks.drai", *(sys.argv[1:] if arguments is None else arguments)])
    began = time.monotonic()

    def note(text: str) -> None:
        print(f"{time.monotonic() - began:5.0f} s  {text}", file=sys.stderr, flush=True)

    if options.pace:
        print(json.dumps(pace.measured(note)))
        return
    wanted = reference.Wanted(options.cohort, tuple(options.only), options.seeds, options.quick, options.fresh)
    found = {options.cohort: reference.rows(wanted, note)}
    if options.write:
        found = reference.measured_so_far()
    record = reference.result(found, command=command, pace=None if options.quick else pace.kept())
    if options.write:
        reference.write(record)
    Console(width=None if sys.stdout.isatty() else 200).print(Markdown(reference.page(record)))
    print(json.dumps({"goals": record["goals"]}))


if __name__ == "__main__":
    main()

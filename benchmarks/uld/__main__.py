"""``python -m benchmarks.uld``: tables for people, then one line of JSON."""

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

from benchmarks.uld import reference


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = argparse.ArgumentParser(prog="python -m benchmarks.uld", description=__doc__)
    made.add_argument(
        "--quick", action="store_true", help="small sets: under a minute; figures show that it runs, no more"
    )
    made.add_argument(
        "--short", action="store_true", help="one seed a fit and 64 px alone: a third of the time, and the page says so"
    )
    made.add_argument("--only", choices=reference.PARTS, action="append", default=[], help="these parts only")
    made.add_argument("--fresh", action="store_true", help="measure again what the same code has measured before")
    made.add_argument(
        "--write",
        action="store_true",
        help="write audits/reference/uld.json, .md and .png; a part left out by --only counts as missed",
    )
    made.add_argument("--keep", action="store_true", help="parts left out by --only stay as they were recorded")
    return made


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, and write when asked to."""
    options = parser().parse_args(arguments)
    if options.write and options.quick:
        parser().error("--write records figures, and those of --quick are none: leave one of the two out")
    names = tuple(name for name in reference.PARTS if not options.only or name in options.only)
    command = " ".join(["python -m benchmarks.uld", *(sys.argv[1:] if arguments is None else arguments)])
    began = time.monotonic()

    def note(text: str) -> None:
        print(f"{time.monotonic() - began:5.0f} s  {text}", file=sys.stderr, flush=True)

    figures = {
        name: reference.measured(name, quick=options.quick, short=options.short, fresh=options.fresh, note=note)
        for name in names
    }
    kept = reference.recorded() if options.keep else {}
    record = reference.result(kept | figures, command=command)
    if options.write:
        note("pictures")
        reference.write(record, reference.pictures(names, quick=False))
    Console(width=None if sys.stdout.isatty() else 200).print(Markdown(reference.page(record)))
    print(json.dumps({"goals": record["goals"]}))


if __name__ == "__main__":
    main()

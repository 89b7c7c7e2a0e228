"""``python -m benchmarks.um``: what superpixels allow, Dice by way and number of masks, pace; then one line of JSON.

``--jobs`` measures whole jobs by the product's own stages instead, plain and private; everything else stays as recorded.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

from rich.console import Console
from rich.markdown import Markdown

from benchmarks.um import jobs, measuring, reference, throughput


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = argparse.ArgumentParser(prog="python -m benchmarks.um", description=__doc__)
    made.add_argument("--quick", action="store_true", help="a few steps: under a minute; shows that it runs, no more")
    made.add_argument("--cohort", metavar="NAME", action="append", default=[], help="this one only")
    made.add_argument("--masks", type=int, action="append", default=[], metavar="N", help="this number of masks only")
    made.add_argument("--seeds", type=int, default=len(reference.SEEDS), metavar="N", help="the first N seeds only")
    made.add_argument(
        "--write",
        action="store_true",
        help="write audits/reference/um.json, .md, pictures: all measured so far",
    )
    made.add_argument("--keep", action="store_true", help="numbers of masks that no row is kept of stay as recorded")
    made.add_argument("--jobs", action="store_true", help="whole jobs alone, plain and private: an hour of one core")
    return made


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, and write when asked to."""
    options = parser().parse_args(arguments)
    if options.write and options.quick:
        parser().error("--write records measured runs: leave out --quick")
    if options.jobs and (options.quick or options.cohort or options.masks):
        parser().error("--jobs measures whole jobs alone, and has no quick way: leave out the other options")
    if unknown := set(options.cohort) - set(measuring.COHORTS):
        parser().error(f"no cohort {', '.join(sorted(unknown))}; there are {', '.join(measuring.COHORTS)}")
    command = " ".join(["python -m benchmarks.um", *(sys.argv[1:] if arguments is None else arguments)])
    began = time.monotonic()

    def note(text: str) -> None:
        print(f"{time.monotonic() - began:5.0f} s  {text}", file=sys.stderr, flush=True)

    if options.jobs:
        told, kept = jobs.measured(note), reference.recorded()
        record = reference.result({}, kept["bounds"], kept["pace"], command, kept, told[0])
        if options.write:
            reference.write(record, {"jobs": told[1]})
        show(record)
        return
    effort = measuring.QUICK if options.quick else measuring.WHOLE
    cohorts = options.cohort or (["chests"] if options.quick else list(measuring.COHORTS))
    masks = options.masks or ([8] if options.quick else list(reference.MASKS))
    bounds = {cohort: measuring.bounds(cohort, effort) for cohort in cohorts}
    note(f"bounds: {bounds}")
    found = reference.rows(
        cohorts, masks, reference.SEEDS[: 1 if options.quick else options.seeds], note, quick=options.quick
    )
    if options.write:
        found = reference.measured_so_far()
    pace = throughput.measured(note, quick=options.quick)
    # Whole jobs are no part of this: they stay.
    kept = reference.recorded() if options.keep else {"gains": {}, "jobs": reference.recorded()["jobs"]}
    record = reference.result(found, bounds, pace, command, kept)
    if options.write:
        reference.write(record, {cohort: reference.picture(cohort, effort, note) for cohort in cohorts})
    show(record)


def show(record: Mapping[str, Any]) -> None:
    """Tables for people, then one line of JSON."""
    Console(width=None if sys.stdout.isatty() else 200).print(Markdown(reference.page(record)))
    print(json.dumps({"goals": record["goals"]}))


if __name__ == "__main__":
    main()

"""``python -m benchmarks.pggan_lco``: tables for people, then one line of JSON.

Trains through the product's own stages and keeps the runs in ``build/pggan_lco``; one that was trained by the same code
and policy is measured again without training.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from rich.console import Console
from rich.markdown import Markdown

from benchmarks.pggan_lco import reference
from synthrelease.records.files import atomic_write_bytes


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = argparse.ArgumentParser(prog="python -m benchmarks.pggan_lco", description=__doc__)
    made.add_argument("--quick", action="store_true", help="few patients and steps: figures show that it runs, no more")
    made.add_argument("--only", choices=reference.PARTS, action="append", default=[], help="these parts only")
    made.add_argument("--fresh", action="store_true", help="measure again what the same code has measured before")
    made.add_argument(
        "--write",
        action="store_true",
        help="write audits/reference/pggan_lco.json, .md and .png; a part left out by --only counts as missed",
    )
    made.add_argument("--keep", action="store_true", help="parts left out by --only stay as they were recorded")
    return made


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, and write when asked to."""
    options = parser().parse_args(arguments)
    if options.write and options.quick:
        parser().error("--write records what was measured in full: leave out --quick")
    torch.set_num_threads(1)
    names = tuple(name for name in reference.PARTS if not options.only or name in options.only)
    command = " ".join(["python -m benchmarks.pggan_lco", *(sys.argv[1:] if arguments is None else arguments)])
    began = time.monotonic()

    def note(text: str) -> None:
        print(f"{time.monotonic() - began:5.0f} s  {text}", file=sys.stderr, flush=True)

    found = {name: reference.measured(name, quick=options.quick, fresh=options.fresh, note=note) for name in names}
    figures = {name: each for name, (each, _) in found.items()}
    sheets = {name: drawn for name, (_, drawn) in found.items() if drawn}
    kept = reference.recorded() if options.keep else {}
    record = reference.result(kept | figures, command=command)
    if options.write:
        reference.write(record, sheets)
    else:
        for name, drawn in sheets.items():
            looked_at = reference.ROOT / "build" / f"{reference.NAME}_{name}.png"
            atomic_write_bytes(looked_at, reference.contact_sheet(name, drawn))
            note(f"contact sheet in {looked_at}")
    Console(width=None if sys.stdout.isatty() else 200).print(Markdown(reference.page(record)))
    print(json.dumps({"goals": record["goals"]}))


if __name__ == "__main__":
    main()

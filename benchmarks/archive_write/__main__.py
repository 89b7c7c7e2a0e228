"""``python -m benchmarks.archive_write``: tables for people, then one line of JSON."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.archive_write import reference
from benchmarks.archive_write.measuring import duel, identity, peak_mb, several


@dataclass(frozen=True)
class Effort:
    """How much is written.

    Attributes:
        sides: Image sizes, with the pairs that we write a round.
        plain: Pairs that plain highdicom writes a round.
        rounds: Of both.
        repeats: Random contents a form.
        memory: Images of the smaller archive; the larger has four times as many.
        processes: Pairs written by several processes.
    """

    sides: dict[int, int]
    plain: int
    rounds: int
    repeats: int
    memory: int
    processes: int


FULL = Effort({64: 2000, 128: 2000, 256: 1000, 512: 300}, 40, 5, 20, 2000, 12000)
QUICK = Effort({128: 500}, 10, 3, 2, 200, 1000)


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = argparse.ArgumentParser(prog="python -m benchmarks.archive_write", description="Cost of writing an archive.")
    made.add_argument("--quick", action="store_true", help="128 px and few images: half a minute")
    made.add_argument("--write", action="store_true", help="write audits/reference/archive_write.json and .md")
    made.add_argument("--folder", type=Path, help="where to write (default: the system's folder for temporary files)")
    return made


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, and write when asked to."""
    options = parser().parse_args(arguments)
    if options.write and options.quick:
        parser().error("--write records the whole run: leave out --quick")
    effort = QUICK if options.quick else FULL
    side = reference.HEADLINE
    with tempfile.TemporaryDirectory(dir=options.folder) as made:
        home = Path(made)
        duels = []
        for size, images in effort.sides.items():
            duels.append(duel(home / str(size), size, images, effort.rounds, effort.plain))
            print(f"{size} px: {duels[-1].ours.cpu:.0f} pairs/s, {duels[-1].speedup:.0f} times plain", file=sys.stderr)
        counts = sorted({1, 2, os.cpu_count() or 1})
        found = reference.Found(
            duels=duels,
            processes={count: several(home, side, effort.processes, count) for count in counts},
            identity=identity(home, 32, effort.repeats),
            memory={images: peak_mb(home, side, images) for images in (effort.memory, 4 * effort.memory)},
        )
    console = Console(width=None if sys.stdout.isatty() else 120)
    for title, rows in (
        ("pairs a CPU second (a second of the clock)", reference.duel_rows(found)),
        ("ours, several processes", reference.process_rows(found)),
        ("memory of the writer", reference.memory_rows(found)),
    ):
        console.print(_table(title, rows))
    command = " ".join(["python -m benchmarks.archive_write", *(sys.argv[1:] if arguments is None else arguments)])
    told = reference.result(found, command=command)
    if options.write:
        reference.write(found, told)
    print(json.dumps(told["figures"] | {key: value for key, value in told.items() if key != "figures"}))


def _table(title: str, rows: Sequence[tuple[str, ...]]) -> Table:
    table = Table(*rows[0], title=title)
    for row in rows[1:]:
        table.add_row(*row)
    return table


if __name__ == "__main__":
    main()

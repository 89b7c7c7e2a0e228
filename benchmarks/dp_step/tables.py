"""Rows as tables: for a terminal and for the reference page."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from benchmarks.dp_step.contenders import CONTENDERS
from benchmarks.dp_step.measuring import Peak
from benchmarks.dp_step.rows import Row

Cells = list[list[str]]


def shown(value: float | None, digits: int = 2) -> str:
    """A figure, or a dash."""
    return "-" if value is None else f"{value:.{digits}f}"


def of(row: Row) -> list[str]:
    """The cells that name a configuration."""
    c = row.configuration
    size = f"{row.timing.parameters / 1e6:.2f}M" if row.timing.parameters else c.size
    return [f"{c.network} {size}", f"{c.resolution}", f"{c.patients} x {c.images}"]


def times(rows: Sequence[Row]) -> Cells:
    """Plain milliseconds, every contender as a multiple of it, and how much of our step is noise; the head comes first."""
    others = [n for n in CONTENDERS if n != "plain" and any(n in row.timing.times for row in rows)]
    head = ["network", "px", "patients x images", "plain ms", *others, "noise in ours", "fastest opacus / ours"]
    body = []
    for row in rows:
        plain = row.timing.times.get("plain")
        clock = sorted(plain.cpu if row.clock == "cpu" else plain.wall) if plain else []
        body.append(
            [
                *of(row),
                shown(1e3 * clock[len(clock) // 2] if clock else None, 0),
                *(shown(row.overhead(name)) for name in others),
                "-" if row.noise_share is None else f"{row.noise_share:.0%}",
                shown(row.speedup),
            ]
        )
    return [head, *body]


def megabytes(peak: Peak | None) -> str:
    """The peak of a step, and in brackets that of the first one where it is higher."""
    if peak is None:
        return "-"
    return f"{peak.step:.0f}" + (f" ({peak.first:.0f})" if peak.first > 1.1 * peak.step + 1.0 else "")


MEMORY = "Peak memory of a step above what is resident between steps, MB (in brackets: of the first step, where higher)"


def memory(rows: Sequence[Row]) -> Cells:
    """Peaks by contender; the head comes first, alone when memory was not measured."""
    weighed = [row for row in rows if row.memory]
    names = [n for n in CONTENDERS if any(n in row.memory for row in weighed)]
    return [
        ["network", "px", "patients x images", *names],
        *([*of(row), *(megabytes(row.memory.get(name)) for name in names)] for row in weighed),
    ]


def skips(rows: Sequence[Row]) -> list[str]:
    """Whatever was not measured, and why: a line a reason."""
    places: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        c, skipped = row.configuration, row.timing.skipped
        if not row.timing.times and len(set(skipped.values())) == 1:
            skipped = {"all contenders": next(iter(skipped.values()))}
        for name, reason in skipped.items():
            places.setdefault((name, reason), []).append(
                f"{c.network} {c.size} {c.resolution} px {c.patients} x {c.images}"
            )
    return [f"not measured: {name}: {reason} ({'; '.join(at)})" for (name, reason), at in places.items()]


def terminal(cells: Cells, title: str) -> Table:
    """A table for the terminal."""
    table = Table(title=title, title_justify="left")
    for index, name in enumerate(cells[0]):
        table.add_column(name, justify="left" if index == 0 else "right")
    for line in cells[1:]:
        table.add_row(*line)
    return table


def markdown(cells: Cells) -> list[str]:
    """A table for a page."""
    head, *body = cells
    return [f"| {' | '.join(line)} |" for line in (head, ["---"] * len(head), *body)]

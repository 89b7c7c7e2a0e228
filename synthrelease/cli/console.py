"""The one object that prints: answers to standard output, progress to standard error."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import click

PLAIN_EVERY_SECONDS = 10.0


class Console:
    """Prints a verb's answer and shows progress.

    Args:
        as_json: The answer is one JSON document, for machines.
        quiet: No progress and no notes; answers and errors only.
    """

    def __init__(self, *, as_json: bool = False, quiet: bool = False) -> None:
        self.as_json = as_json
        self._quiet = quiet
        self._live = sys.stderr.isatty() and not quiet
        self._name = ""
        self._total: int | None = None
        self._began = self._shown = 0.0
        self._width = 0

    def answer(self, text: str, value: Any) -> None:
        """Print the verb's answer: ``text`` for people, or ``value`` as JSON."""
        self._clear()
        click.echo(json.dumps(value, indent=2, sort_keys=True) if self.as_json else text)

    def stage(self, name: str, total: int | None = None) -> None:
        self._clear()
        self._name, self._total = name, total
        self._began = time.monotonic()
        self._shown = self._began
        if not self._quiet and not self._live:
            click.echo(f"{name}" + (f" ({total})" if total else ""), err=True)
        elif self._live:
            self._draw(name)

    def step(self, done: int, facts: str = "") -> None:
        now = time.monotonic()
        wait = 0.1 if self._live else PLAIN_EVERY_SECONDS
        last = self._total is not None and done >= self._total
        if self._quiet or (now - self._shown < wait and not (last and self._live)):
            return
        self._shown = now
        line = f"{self._name} {done}" + (f"/{self._total}" if self._total else "")
        if self._total and 0 < done < self._total:
            line += f", {_span((now - self._began) / done * (self._total - done))} left"
        if facts:
            line += f", {facts}"
        if self._live:
            self._draw(line)
        else:
            click.echo(line, err=True)

    def note(self, text: str) -> None:
        self._clear()
        if not self._quiet:
            click.echo(text, err=True)

    def _draw(self, line: str) -> None:
        click.echo("\r" + line.ljust(self._width)[:200], nl=False, err=True)
        self._width = len(line)

    def _clear(self) -> None:
        if self._live and self._width:
            click.echo("\r" + " " * self._width + "\r", nl=False, err=True)
            self._width = 0


def _span(seconds: float) -> str:
    """
    >>> _span(75)
    '1 min 15 s'
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"

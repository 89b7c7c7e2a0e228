"""The audit as plain text for a terminal."""

from __future__ import annotations

import io
import unicodedata
from collections.abc import Mapping
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from synthrelease.records.findings import Verdict
from synthrelease.report.figures import Figures
from synthrelease.report.inputs import Edition
from synthrelease.report.questions import row
from synthrelease.report.words import DECISIONS

_STYLES = {"pass": "green", "fail": "bold red", "open": "yellow", "none": "dim"}


def audit_text(audit: Mapping[str, Any], *, width: int = 110, colour: bool = False) -> str:
    """The recommendation and one line per finding.

    Args:
        audit: audit.json.
        width: Columns of the terminal.
        colour: Whether to add colour; every verdict is a word either way.
    """
    figures = Figures(Edition.INTERNAL)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, expand=False)
    for name, fixed in (
        ("Verdict", True),
        ("Check", False),
        ("Value", True),
        ("Interval", True),
        ("Limit", True),
        ("Holdout", True),
    ):
        table.add_column(name, no_wrap=fixed, overflow="fold")
    for finding in audit["findings"]:
        entry = row(finding, figures)
        holdout = (finding.get("baseline") or {}).get("holdout")
        optional = "" if entry.required else " (not required)"
        table.add_row(
            Text(f"{entry.word.sign} {entry.word.text}", style=_STYLES[entry.word.style]),
            Text(f"{_flat(entry.id)}{optional}\n{_flat(entry.question)}"),
            Text(entry.value),
            Text(entry.interval),
            Text(entry.threshold),
            Text(figures.number(holdout)),
        )
    out = Console(
        file=io.StringIO(),
        width=width,
        force_terminal=colour,
        no_color=not colour,
        legacy_windows=False,
        emoji=False,
        highlight=False,
    )
    title, sentence = DECISIONS[Verdict(audit["verdict"])]
    out.print(Text(title, style="bold"))
    out.print(Text(sentence))
    out.print(Text(_flat(str(audit["reason"]))))
    out.print(table)
    assert isinstance(out.file, io.StringIO)
    return "\n".join(part.rstrip() for part in out.file.getvalue().splitlines()) + "\n"


def _flat(text: str) -> str:
    """One line without characters that a terminal would act upon."""
    return "".join(" " if unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp") else c for c in text)

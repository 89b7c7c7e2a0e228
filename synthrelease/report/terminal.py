"""The audit as plain text for a terminal: required checks first, in groups; the others a line each."""

from __future__ import annotations

import io
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from synthrelease.records.findings import Criterion, Verdict
from synthrelease.report.figures import Figures
from synthrelease.report.inputs import Edition
from synthrelease.report.power_sheet import history_words, power_sheet
from synthrelease.report.questions import Row, row
from synthrelease.report.words import CRITERIA, DECISIONS

_STYLES = {"pass": "green", "fail": "bold red", "open": "yellow", "none": "dim"}
_TITLES = {criterion: title for criterion, (title, _) in CRITERIA.items()}
_TITLES |= {Criterion.CONFORMANCE: "DICOM conformance", Criterion.FIDELITY: "Fidelity"}


def audit_text(audit: Mapping[str, Any], *, width: int = 110, colour: bool = False) -> str:
    """The recommendation, the required checks by question, the others a line each, and the audit's power.

    Args:
        audit: audit.json.
        width: Columns of the terminal.
        colour: Whether to add colour; every verdict is a word either way.
    """
    figures = Figures(Edition.INTERNAL)
    entries = [(Criterion(f["criterion"]), row(f, figures), f) for f in audit["findings"]]
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
    for line, style in ((title, "bold"), (sentence, ""), (_flat(str(audit["reason"])), "")):
        out.print(Text(line, style=style))
    for remark in audit.get("remarks") or ():
        out.print(Text(f"! {_flat(str(remark))}"))
    if history := history_words(audit):
        out.print(Text(history))
    required = [entry for entry in entries if entry[1].required]
    if required:
        out.print(_required_table(required, figures))
    further = [entry for entry in entries if not entry[1].required]
    if further:
        out.print(Text("Not required for the verdict", style="bold"))
        out.print(_further_table(further))
    if sheet := power_sheet(audit.get("power"), figures):
        out.print(Text("What an audit of this size can see", style="bold"))
        for power in sheet.rows:
            out.print(Text(_flat(f"  {power.leak}: {power.smallest} ({power.remark})")))
        for line in sheet.add:
            out.print(Text(_flat(f"  + {line}")))
    assert isinstance(out.file, io.StringIO)
    return "\n".join(part.rstrip() for part in out.file.getvalue().splitlines()) + "\n"


def _required_table(entries: Sequence[tuple[Criterion, Row, Mapping[str, Any]]], figures: Figures) -> Table:
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
    for criterion in _TITLES:
        chosen = [(entry, finding) for kind, entry, finding in entries if kind is criterion]
        if chosen:
            table.add_row("", Text(_TITLES[criterion], style="bold"))
        for entry, finding in chosen:
            undecided = finding["verdict"] != Verdict.PASS
            reason = f"\n{_flat(entry.reason)}" if undecided else ""
            table.add_row(
                _badge(entry),
                Text(f"{_flat(entry.id)}\n{_flat(entry.question)}{reason}"),
                Text(entry.value),
                Text(entry.interval),
                Text(entry.threshold),
                Text(figures.number((finding.get("baseline") or {}).get("holdout"))),
            )
    return table


def _further_table(entries: Sequence[tuple[Criterion, Row, Mapping[str, Any]]]) -> Table:
    table = Table(box=None, pad_edge=False, expand=False, show_header=False)
    for fixed in (True, False, True, True, True):
        table.add_column(no_wrap=fixed, overflow="fold")
    for criterion in _TITLES:
        for kind, entry, _ in entries:
            if kind is criterion:
                table.add_row(
                    _badge(entry),
                    Text(f"{_flat(entry.id)} (not required)"),
                    Text(entry.value),
                    Text(entry.interval),
                    Text(f"limit {entry.threshold}"),
                )
    return table


def _badge(entry: Row) -> Text:
    return Text(f"{entry.word.sign} {entry.word.text}", style=_STYLES[entry.word.style])


def _flat(text: str) -> str:
    """One line without characters that a terminal would act upon."""
    return "".join(" " if unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp") else c for c in text)

"""What an audit saw of planted leaks, as plain text for a terminal."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

SHARES = ("1 image", "0.1 %", "1 %", "10 %")


def self_test_text(record: Mapping[str, Any], *, width: int = 110) -> str:
    """One line a leak: whether the copy checks failed the archive at each amount, and which did at the largest.

    Args:
        record: self-test.json. width: Columns of the terminal.
    """
    rows = list(record["rows"])
    leaks = [row for row in rows if not row["control"]]
    names = list(dict.fromkeys(row["transform"] for row in leaks))
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for head in ("Planted leak", *SHARES, "Answered for by", "Caught by"):
        table.add_column(head, overflow="fold")
    for name in names:
        own = [row for row in leaks if row["transform"] == name]
        by_share = {share: row for row in own for share in str(row["share"]).split(", ")}
        cells = [_cell(by_share.get(share)) for share in SHARES]
        largest = max(own, key=lambda row: int(row["planted"]))
        table.add_row(name, *cells, ", ".join(own[0].get("covered") or ()) or "–", ", ".join(largest["by"]) or "–")
    innocent = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for head in ("Innocent archive", "Verdict", "Accused by"):
        innocent.add_column(head, overflow="fold")
    for row in rows:
        if row["control"]:
            innocent.add_row(str(row["transform"]), str(row["verdict"]), ", ".join(row["by"]) or "–")
    out = Console(file=io.StringIO(), width=width, no_color=True, emoji=False, highlight=False, legacy_windows=False)
    out.print("Self-test: copies of the archive with known leaks planted, judged blind", markup=False)
    if names:
        out.print(table)
    if innocent.row_count:
        out.print(innocent)
    if left_out := record.get("nothing_to_plant"):
        out.print(f"Not planted, since one side has no masks or no attributes: {', '.join(left_out)}", markup=False)
    sign = "✓" if record["verdict"] == "pass" else "?"
    out.print(f"{sign} {record['verdict']}: {record['reason']}", markup=False)
    assert isinstance(out.file, io.StringIO)
    return "\n".join(part.rstrip() for part in out.file.getvalue().splitlines()) + "\n"


def _cell(row: Mapping[str, Any] | None) -> str:
    if row is None:
        return "–"
    return f"{'caught' if row['caught'] else 'missed'} ({row['planted']})"

"""What ``approve`` and ``refuse`` share: find the run, sign, and tell the digest that pins the signature."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from synthrelease.cli.console import Console

if TYPE_CHECKING:
    from synthrelease.release.approvals import Approval

Act = Callable[[Path, str, str, str, datetime], "Approval"]


def sign(act: Act, run_name: str | None, home: Path, by: str, role: str, statement: str, console: Console) -> int:
    """Let ``act`` write the signature and print what to note down."""
    from synthrelease.records.runs import find_run

    run = find_run(home, run_name)
    approval = act(run.folder, by, role, statement, datetime.now(UTC))
    text = (
        f"{approval.event.value} by {approval.by} ({approval.role}): run {run.name}\n"
        f"audit  {approval.digests.audit}\nhead   {approval.head}\n"
        "Write the head digest into the ticket or the minutes: it pins what was signed."
    )
    value = {
        "event": approval.event.value,
        "run": run.name,
        "by": approval.by,
        "role": approval.role,
        "digests": approval.digests.to_json(),
        "head": approval.head,
    }
    console.answer(text, value)
    return 0

"""What verbs answer: a training, an archive, an audit and a whole run, for people and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from synthrelease.cli.console import Console
from synthrelease.cli.plan_summary import plan_answer as plan_answer

if TYPE_CHECKING:
    from synthrelease.records.runs import Run

EXIT_OF_VERDICT = {"pass": 0, "fail": 3, "inconclusive": 4}


def training_answer(console: Console, run: Run) -> int:
    """Print what training.json says."""
    record = run.read(run.training, "train")
    console.answer(
        f"trained run {run.name}\n  {_claim(record)}\n  next: synthrelease sample",
        {"run": str(run.folder), "training": record},
    )
    return 0


def _claim(training: dict[str, Any]) -> str:
    privacy = training["privacy"]
    if privacy["epsilon"] is None:
        return "epsilon: none, this run makes no privacy claim"
    return f"epsilon {privacy['epsilon']:.3f} at delta {privacy['delta']:g} per patient ({privacy['accountant']})"


def audit_answer(console: Console, run: Run) -> int:
    """Print the audit as a table; the exit code is the verdict's."""
    import sys

    from synthrelease.report.terminal import audit_text

    record = run.read(run.audit, "audit")
    text = audit_text(record, width=_width(), colour=sys.stdout.isatty() and not _colourless())
    places = f"  audit   {run.audit}\n  report  {run.report('internal')}\n          {run.report('external')}"
    console.answer(f"{text.rstrip()}\n\n{places}", {"run": str(run.folder), "audit": record})
    return EXIT_OF_VERDICT[record["verdict"]]


def self_test_answer(console: Console, run: Run) -> int:
    """Print what the audit found of planted leaks; 0 when all was as it should be, 4 otherwise."""
    from synthrelease.records.files import read_json
    from synthrelease.report.self_test_table import self_test_text

    record = read_json(run.self_test)
    text = self_test_text(record, width=_width())
    console.answer(f"{text.rstrip()}\n\n  self-test  {run.self_test}", {"run": str(run.folder), "self_test": record})
    return EXIT_OF_VERDICT[record["verdict"]]


def _width() -> int:
    import shutil

    return min(150, max(100, shutil.get_terminal_size((120, 40)).columns))


def _colourless() -> bool:
    import os

    return bool(os.environ.get("NO_COLOR"))


def run_answer(console: Console, run: Run) -> int:
    """Print the end of a whole run: the audit's table, then verdict, epsilon and where everything lies."""
    training, audit = run.read(run.training, "train"), run.read(run.audit, "audit")
    if console.as_json:
        value = {
            "run": str(run.folder),
            "verdict": audit["verdict"],
            "fidelity": audit["fidelity"],
            "epsilon": training["privacy"]["epsilon"],
            "delta": training["privacy"]["delta"],
            "archive": str(run.archive),
            "report": str(run.report("internal")),
        }
        console.answer("", value)
        return EXIT_OF_VERDICT[audit["verdict"]]
    code = audit_answer(console, run)
    console.answer(
        f"\nverdict  {audit['verdict']} (fidelity: {audit['fidelity']})\n"
        f"privacy  {_claim(training)}\n"
        f"archive  {run.archive}\n"
        f"report   {run.report('internal')}",
        None,
    )
    return code

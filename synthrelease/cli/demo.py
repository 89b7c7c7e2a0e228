"""``synthrelease demo``: the whole job on simulated patients."""

from __future__ import annotations

from pathlib import Path

import click

from synthrelease.cli import options
from synthrelease.cli.console import Console


@click.command("demo", short_help="The whole job on simulated patients.")
@options.out
@options.threads
@options.speech
def command(home: Path, threads: int | None, as_json: bool, quiet: bool) -> int:
    """Simulate a hospital, train privately, sample, audit and report, in a few minutes.

    Every demo starts with a ledger of its own: its patients are simulated, so nothing is spent. Exit code 0 when the
    job ran to its end; the verdict is printed and stands in audit.json.
    """
    from synthrelease.cli.summaries import run_answer
    from synthrelease.workflow import Desk, audit_run, begin, sample_run, train_run

    console = Console(as_json=as_json, quiet=quiet)
    desk = Desk(home, home / "demo-ledgers", console, threads)
    run = begin(desk, "quickstart", None, resume=False, stem="demo")
    desk = desk.with_ledgers(run.folder / "ledger")
    train_run(desk, run, resume=False)
    sample_run(desk, run)
    audit_run(desk, run)
    run_answer(console, run)
    return 0

"""``synthrelease run``: train, sample and audit in one go."""

from __future__ import annotations

from pathlib import Path

import click

from synthrelease.cli import options
from synthrelease.cli.console import Console


@click.command("run", short_help="Train, sample and audit in one go.")
@options.training
def command(
    policy_name: str,
    cohort: str | None,
    home: Path,
    ledger_home: Path | None,
    resume: bool,
    threads: int | None,
    dry_run: bool,
    as_json: bool,
    quiet: bool,
) -> int:
    """Train, sample and audit; the exit code is the audit's."""
    from synthrelease.cli.summaries import plan_answer, run_answer

    console = Console(as_json=as_json, quiet=quiet)
    if dry_run:
        return plan_answer(console, policy_name, cohort, home, ledger_home)
    from synthrelease.workflow import Desk, audit_run, begin, sample_run, train_run

    desk = Desk(home, ledger_home or home / "ledgers", console, threads)
    run = begin(desk, policy_name, cohort, resume=resume)
    train_run(desk, run, resume=resume)
    sample_run(desk, run)
    audit_run(desk, run)
    return run_answer(console, run)

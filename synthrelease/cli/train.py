"""``synthrelease train``: train the generator that a policy asks for."""

from __future__ import annotations

from pathlib import Path

import click

from synthrelease.cli import options
from synthrelease.cli.console import Console


@click.command("train", short_help="Train the generator that a policy asks for.")
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
    """Read the private archive, reserve the budget in the ledger, and train.

    Writes runs/NAME/ with the policy, the plan, training.json and a checkpoint. A run that was interrupted goes on
    with --resume and costs what it would have cost uninterrupted.
    """
    from synthrelease.cli.summaries import plan_answer, training_answer

    console = Console(as_json=as_json, quiet=quiet)
    if dry_run:
        return plan_answer(console, policy_name, cohort, home, ledger_home)
    from synthrelease.workflow import Desk, begin, train_run

    desk = Desk(home, ledger_home or home / "ledgers", console, threads)
    run = begin(desk, policy_name, cohort, resume=resume)
    train_run(desk, run, resume=resume)
    return training_answer(console, run)

"""``synthrelease plan``: what a run would do, cost and promise."""

from __future__ import annotations

from pathlib import Path

import click

from synthrelease.cli import options
from synthrelease.cli.console import Console


@click.command("plan", short_help="Tell what a run would do, cost and promise.")
@click.argument("policy_argument", metavar="[POLICY]", required=False)
@options.policy(required=False)
@options.cohort
@options.out
@options.ledger
@click.option("--cross-check", is_flag=True, help="Ask a second accountant too (PRV of Opacus); some seconds more.")
@options.speech
def command(
    policy_argument: str | None,
    policy_name: str | None,
    cohort: str | None,
    home: Path,
    ledger_home: Path | None,
    cross_check: bool,
    as_json: bool,
    quiet: bool,
) -> int:
    """Tell how the budget is split, noise, steps, epsilon and what it means, the ledger, and what the audit can see.

    Reads the policy and the ledger, no image, and writes nothing. Exit code 5 when the ledger would refuse the run.
    """
    from synthrelease.cli.plan_summary import plan_answer
    from synthrelease.errors import UsageError

    name = policy_argument or policy_name
    if name is None:
        raise UsageError("no policy named", fix="Name one: `synthrelease plan policies/dp_eps8.yaml`.")
    return plan_answer(Console(as_json=as_json, quiet=quiet), name, cohort, home, ledger_home, cross_check=cross_check)

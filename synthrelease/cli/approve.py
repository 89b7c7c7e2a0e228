"""``synthrelease approve``: a named person signs what an audit says."""

from __future__ import annotations

from pathlib import Path

import click

from synthrelease.cli import options
from synthrelease.cli.console import Console


@click.command("approve", short_help="Sign what an audit says about a run.")
@options.run
@options.out
@click.option("--by", required=True, help="Your name. It is asserted, not proven.")
@click.option("--role", default="privacy officer", show_default=True, help="In which role you sign.")
@click.option("--statement", required=True, help="What you declare, one line; it goes into the release pack.")
@click.option("--again", is_flag=True, help="Replace your own approval of this audit; your last words count.")
@options.speech
def command(
    run_name: str | None, home: Path, by: str, role: str, statement: str, again: bool, as_json: bool, quiet: bool
) -> int:
    """Approve a run whose audit passed.

    Two different people must approve, neither of them the operator. The approval names the digests of the audit, the
    archive and the training it looked at, and is stale as soon as one of them changes.
    """
    from functools import partial

    from synthrelease.cli.signing import sign
    from synthrelease.release.approvals import approve

    return sign(
        partial(approve, again=again), run_name, home, by, role, statement, Console(as_json=as_json, quiet=quiet)
    )

"""``synthrelease refuse``: a named person says no."""

from __future__ import annotations

from pathlib import Path

import click

from synthrelease.cli import options
from synthrelease.cli.console import Console


@click.command("refuse", short_help="Record a refusal; it blocks until a new audit.")
@options.run
@options.out
@click.option("--by", required=True, help="Your name. It is asserted, not proven.")
@click.option("--role", default="privacy officer", show_default=True, help="In which role you refuse.")
@click.option("--statement", required=True, help="Why, one line.")
@options.speech
def command(run_name: str | None, home: Path, by: str, role: str, statement: str, as_json: bool, quiet: bool) -> int:
    """Refuse a run, whatever its audit says. No number of approvals outvotes it; a new audit clears it."""
    from synthrelease.cli.signing import sign
    from synthrelease.release.approvals import refuse

    return sign(refuse, run_name, home, by, role, statement, Console(as_json=as_json, quiet=quiet))

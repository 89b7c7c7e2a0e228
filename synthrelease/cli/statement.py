"""``synthrelease statement``: the differential-privacy claim of a trained run, in full."""

from __future__ import annotations

from pathlib import Path

import click

from synthrelease.cli import options
from synthrelease.cli.console import Console


@click.command("statement", short_help="Write the privacy claim of a run.")
@options.run
@options.out
@options.ledger
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "registry"]),
    default="text",
    show_default=True,
    help="text: for people; json: the same facts; registry: YAML for the OpenDP deployments registry.",
)
@click.option("--region", metavar="TEXT", help="With registry: region that the data describe, or whose law applies.")
@click.option(
    "--output", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Write there, not to the screen."
)
@options.speech
def command(
    run_name: str | None,
    home: Path,
    ledger_home: Path | None,
    form: str,
    region: str | None,
    output: Path | None,
    as_json: bool,
    quiet: bool,
) -> int:
    """Write what a trained run guarantees to one patient, what it does not, and how that was found.

    Every figure is recomputed from training.json and the cohort's ledger; records that disagree are refused with exit
    code 6. A run without privacy is told to have no guarantee, and has no registry record.
    """
    import json
    from datetime import UTC, datetime

    from synthrelease.errors import UsageError
    from synthrelease.policy.loader import policy_from
    from synthrelease.records.files import atomic_write_text
    from synthrelease.records.ledger import Ledger
    from synthrelease.records.runs import find_run
    from synthrelease.release.statement.registry import registry_yaml
    from synthrelease.release.statement.stating import state
    from synthrelease.release.statement.text import statement_text

    console = Console(as_json=as_json, quiet=quiet)
    if region is not None and form != "registry":
        raise UsageError("--region goes with --format registry", fix="Leave it out: the other forms name no region.")
    if as_json and output is None and form != "json":
        if form == "registry":
            raise UsageError("--json prints JSON, --format registry YAML", fix="Leave one of them out.")
        form = "json"
    run = find_run(home, run_name)
    cohort = policy_from(run.read(run.policy, "train")).cohort.name
    ledger = Ledger(_ledgers(run.folder, home, ledger_home) / f"{cohort}.jsonl")
    statement = state(run.folder, ledger, datetime.now(UTC))
    if form == "registry":
        text = registry_yaml(statement, **({} if region is None else {"region": region}))
    elif form == "json":
        text = json.dumps(statement.to_json(), indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"
    else:
        text = statement_text(statement)
    if output is None:
        click.echo(text, nl=False)
        return 0
    atomic_write_text(output, text)
    console.answer(f"statement of run {run.name} in {output}", {"run": run.name, "form": form, "file": str(output)})
    return 0


def _ledgers(run: Path, home: Path, named: Path | None) -> Path:
    """The folder of ledgers: the one named, the run's own, the home's, or the one beside a run that lies elsewhere."""
    own, beside = run / "ledger", run.parent / "ledgers"
    if named is not None:
        return named
    if own.is_dir():
        return own
    return home / "ledgers" if (home / "ledgers").is_dir() else beside

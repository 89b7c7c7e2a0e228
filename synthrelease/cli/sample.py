"""``synthrelease sample``: write the synthetic archive of a trained run."""

from __future__ import annotations

from pathlib import Path

import click

from synthrelease.cli import options
from synthrelease.cli.console import Console


@click.command("sample", short_help="Write the synthetic DICOM archive of a run.")
@options.run
@options.out
@options.threads
@options.dry_run
@options.speech
def command(run_name: str | None, home: Path, threads: int | None, dry_run: bool, as_json: bool, quiet: bool) -> int:
    """Draw the images, masks and labels that the policy asks for and write them as DICOM.

    Reads the checkpoint only. The same run sampled twice is the same archive, byte by byte.
    """
    from synthrelease.cli.summaries import archive_answer
    from synthrelease.records.runs import find_run

    console = Console(as_json=as_json, quiet=quiet)
    run = find_run(home, run_name)
    if dry_run:
        policy = run.read(run.policy, "train")
        run.require(run.training, "train")
        images = policy["archive"]["images"]
        console.answer(
            f"would write {images} images of run {run.name} to {run.archive}", {"run": run.name, "images": images}
        )
        return 0
    from synthrelease.workflow import Desk, sample_run

    sample_run(Desk(home, home / "ledgers", console, threads), run)
    return archive_answer(console, run)

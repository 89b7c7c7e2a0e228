"""``synthrelease audit``: judge a run, or any synthetic folder against a real one."""

from __future__ import annotations

from pathlib import Path

import click

from synthrelease.cli import options
from synthrelease.cli.console import Console


@click.command("audit", short_help="Audit a run, or any synthetic folder.")
@options.run
@options.out
@click.option("--real", metavar="DIR", help="Without a run: folder of the images that the generator was trained on.")
@click.option("--holdout", metavar="DIR", help="Without a run: folder of like patients that it never saw.")
@click.option("--synthetic", metavar="DIR", help="Without a run: folder of the synthetic archive.")
@click.option(
    "--policy", "policy_name", metavar="FILE", help="Without a run: how to read the folders (classes, window, size)."
)
@click.option("--profile", metavar="FILE", help="Without a run: audit profile; default: standard.")
@click.option(
    "--self-test", is_flag=True, help="Judge copies of the archive with known leaks planted, not the archive itself."
)
@options.threads
@options.speech
def command(
    run_name: str | None,
    home: Path,
    real: str | None,
    holdout: str | None,
    synthetic: str | None,
    policy_name: str | None,
    profile: str | None,
    self_test: bool,
    threads: int | None,
    as_json: bool,
    quiet: bool,
) -> int:
    """Audit the newest run (or --run), or with --real and --synthetic any two folders that any tool made.

    A trained run without an archive is sampled first. Folders are only read, and hashed before and after. An audit that
    was killed goes on where it was when it is started again.

    Exit code 0 when every required check passed, 3 when one failed, 4 when one could not decide. Writes audit.json and
    the report in an internal and an external edition. What each check asks: `synthrelease explain`.

    With --self-test the audit is tried out: known leaks from real training patients are planted in copies of the
    archive (one image, 0.1 %, 1 %, 10 %) and the copies are judged blind. Writes self-test.json; exit code 0 when every
    leak that a check answers for was found and no innocent archive failed, 4 otherwise.
    """
    from synthrelease.cli.summaries import audit_answer, self_test_answer
    from synthrelease.errors import UsageError

    console = Console(as_json=as_json, quiet=quiet)
    alone = real is not None or synthetic is not None
    if alone and (real is None or synthetic is None or run_name is not None):
        raise UsageError("--real and --synthetic go together, without --run", fix="Give both folders, or a run.")
    if not alone and (holdout is not None or policy_name is not None or profile is not None):
        raise UsageError(
            "--holdout, --policy and --profile go with --real and --synthetic",
            fix="A run is judged by the policy and the profile that were frozen when it was trained.",
        )
    from synthrelease.workflow import (
        Desk,
        judge_matter,
        matter_of_folders,
        matter_of_run,
        sample_run,
        self_test_matter,
    )

    desk = Desk(home, home / "ledgers", console, threads)
    if real is not None and synthetic is not None:
        held = Path(holdout) if holdout else None
        matter = matter_of_folders(desk, Path(real), held, Path(synthetic), policy_name, profile)
    else:
        from synthrelease.records.runs import find_run

        run = find_run(home, run_name)
        if run.training.exists() and not run.archive_record.exists():
            console.note("the run has no archive yet: sampling it first")
            sample_run(desk, run)
        matter = matter_of_run(desk, run)
    if self_test:
        self_test_matter(desk, matter)
        return self_test_answer(console, matter.run)
    judge_matter(desk, matter)
    return audit_answer(console, matter.run)
